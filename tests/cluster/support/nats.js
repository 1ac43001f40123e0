// A nats-server with JetStream, of a test's own.

import { connect } from 'node:net';
import { once } from 'node:events';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { EngineServer } from './engine.js';

const NATS = process.env.NATS_BIN ?? 'nats-server';

export class Nats extends EngineServer {
  name = 'NATS';

  /** The flags for a node that reaches it at a port. */
  flags(port) {
    const storage = this.durable || this.saves ? 'file' : 'memory';
    return { 'nats-servers': `nats://127.0.0.1:${port}`, 'nats-storage': storage };
  }

  commandLine() {
    return [NATS, '-a', '127.0.0.1', '-p', String(this.port), '-js', '-sd', join(this.dir, 'data')];
  }

  /** Keeps what it has in files, for `restartWithSaved`. */
  save() {
    rmSync(join(this.dir, 'saved'), { recursive: true, force: true });
    cpSync(join(this.dir, 'data'), join(this.dir, 'saved'), { recursive: true });
  }

  /** Ends it at once, and starts it with what it had at the last `save`. */
  async restartWithSaved() {
    await this.kill();
    rmSync(join(this.dir, 'data'), { recursive: true });
    cpSync(join(this.dir, 'saved'), join(this.dir, 'data'), { recursive: true });
    await this.restart();
  }

  /** Loses everything while it runs on. */
  async empty() {
    const { streams } = await this.ask('STREAM.NAMES', {});
    for (const stream of streams ?? []) await this.ask(`STREAM.PURGE.${stream}`, {});
  }

  /** Has JetStream do something, on a connection of its own; gives the answer. */
  async ask(call, request) {
    const socket = connect(this.port, '127.0.0.1');
    const body = JSON.stringify(request);
    try {
      socket.write('CONNECT {"verbose":false}\r\nSUB answer 1\r\n');
      socket.write(`PUB $JS.API.${call} answer ${Buffer.byteLength(body)}\r\n${body}\r\n`);
      let text = '';
      for await (const more of socket.setEncoding('utf8')) {
        text += more;
        const answer = /^MSG answer 1 \d+\r\n(.*)\r\n/m.exec(text);
        if (answer) return JSON.parse(answer[1]);
      }
      throw new Error(`no answer to ${call}: ${text}`);
    } finally {
      socket.destroy();
    }
  }

  /** Whether it says what it is, which it does at once. */
  async answers() {
    if (!this.running) throw new Error('nats-server ended');
    const socket = connect(this.port, '127.0.0.1');
    try {
      const [text] = await once(socket, 'data');
      return text.toString().startsWith('INFO');
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }
}
