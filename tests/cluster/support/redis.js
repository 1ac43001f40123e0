// A redis-server of a test's own.

import { connect } from 'node:net';
import { within } from '../../clients/support/patience.js';
import { EngineServer } from './engine.js';

const REDIS = process.env.REDIS_BIN ?? 'redis-server';

export class Redis extends EngineServer {
  name = 'Redis';

  /** The flags for a node that reaches it at a port. */
  flags(port) {
    return { 'redis-url': `redis://127.0.0.1:${port}` };
  }

  /** A durable one syncs each write to disk before it answers; any has what it had at the last `SAVE`. */
  commandLine() {
    const where = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.dir];
    const keeps = this.durable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
    return [REDIS, ...where, '--save', '', ...keeps];
  }

  async answers() {
    if (!this.running) throw new Error('redis-server ended');
    return this.command('PING').catch(() => null);
  }

  /** One command on a connection of its own; gives the reply as it came. */
  command(...words) {
    const socket = connect(this.port, '127.0.0.1');
    const bulk = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('');
    const replied = new Promise((resolve, reject) => {
      let reply = '';
      socket.setEncoding('utf8').on('data', (text) => (reply += text));
      socket.once('error', reject);
      socket.once('close', () => {
        if (reply.startsWith('-')) reject(new Error(`${words.join(' ')}: ${reply.trim()}`));
        else resolve(reply.replace(/\+OK\r\n$/, '').trim());
      });
    });
    socket.write(`*${words.length}\r\n${bulk}*1\r\n$4\r\nQUIT\r\n`);
    return within(replied, `Redis' reply to ${words.join(' ')}`).finally(() => socket.destroy());
  }
}
