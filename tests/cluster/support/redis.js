// A redis-server of a test's own.

import { connect } from 'node:net';
import { BEGINNING, PATIENCE, until, within } from '../../clients/support/patience.js';
import { EngineServer } from './engine.js';

const REDIS = process.env.REDIS_BIN ?? 'redis-server';

/** How long a replica may take until it has everything, in ms: a primary that begins anew sends all it has. */
export const REPLICATION = 60_000;

/** The connection ended before the reply. */
class Cut extends Error {}

export class Redis extends EngineServer {
  name = 'Redis';

  get binary() {
    return REDIS;
  }

  /** The flags for a node that reaches it at a port. */
  flags(port) {
    return { 'redis-url': `redis://127.0.0.1:${port}` };
  }

  /** A durable one syncs each write to disk before it answers; any has what it had at the last `SAVE`. */
  commandLine() {
    const where = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.dir];
    const keeps = this.durable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
    const replicas = ['--repl-diskless-sync-delay', '0']; // no others to wait for
    return [this.binary, ...where, '--save', '', ...keeps, ...replicas, ...(this.more.flags ?? [])];
  }

  /** Keeps what it has in a file, for `restartWithSaved`. */
  save() {
    return this.command('SAVE');
  }

  /** Ends it at once, and starts it with what it had at the last `save`. */
  async restartWithSaved() {
    await this.kill();
    await this.restart();
  }

  /** Loses everything while it runs on. */
  empty() {
    return this.command('FLUSHALL');
  }

  async answers() {
    if (!this.running) throw new Error('redis-server ended');
    return this.#ask(['PING']).catch(() => null);
  }

  /** Becomes a replica of another one, and has what that has. */
  async replicates(primary) {
    await until(() => this.isReplicaOf(primary), 'the replica has everything', REPLICATION);
  }

  /** Whether it has what another one has; it becomes its replica if it isn't. */
  async isReplicaOf({ port }) {
    try {
      // each time: a Sentinel may tell it something else at first
      await this.command('REPLICAOF', '127.0.0.1', String(port));
      const info = await this.command('INFO', 'replication');
      return info.includes(`master_port:${port}`) && info.includes('master_link_status:up');
    } catch {
      return false;
    }
  }

  /** What the names of a partition's keys begin with. */
  async keyOf(cluster, partition) {
    const keys = await this.command('KEYS', `${cluster}:{${partition}.*}:meta`);
    return keys.split('\r\n').at(-1).replace(/:meta$/, '');
  }

  /**
   * One command on a connection of its own; gives the reply as it came. It is repeated when the connection ends first:
   * a server that becomes a replica, or another's primary, ends all it has.
   */
  async command(...words) {
    for (const end = performance.now() + PATIENCE; ;) {
      try {
        return await this.#ask(words);
      } catch (error) {
        if (!(error instanceof Cut) || !this.running || performance.now() > end) throw error;
      }
    }
  }

  #ask(words) {
    const socket = connect(this.port, '127.0.0.1').setEncoding('latin1');
    const bulk = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('');
    const replied = new Promise((resolve, reject) => {
      let reply = '';
      const fail = (Kind, why) => reject(new Kind(`${words.join(' ')}: ${why}`));
      socket.on('data', (text) => {
        reply += text;
        if (endOf(reply, 0) === -1) return;
        if (reply.startsWith('-')) fail(Error, reply.trim());
        else resolve(reply.trim());
      });
      socket.once('error', ({ code }) => fail(code === 'ECONNREFUSED' ? Error : Cut, code));
      socket.once('close', () => fail(Cut, 'the connection was closed'));
    });
    socket.write(`*${words.length}\r\n${bulk}`);
    return within(replied, `Redis' reply to ${words.join(' ')}`).finally(() => socket.destroy());
  }
}

/** Where the reply ends that begins at a place of a text; -1 if it isn't complete. */
function endOf(text, at) {
  const line = text.indexOf('\r\n', at) + 2;
  if (line === 1) return -1;
  const [kind, count] = [text[at], Number(text.slice(at + 1, line - 2))];
  if (kind === '$') return count === -1 ? line : line + count + 2 <= text.length ? line + count + 2 : -1;
  if (kind !== '*') return line;
  let end = line;
  for (let n = 0; n < count && end !== -1; n += 1) end = endOf(text, end);
  return end;
}
