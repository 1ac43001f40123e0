// A nats-server with JetStream, of a test's own.

import { connect } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { EngineServer } from './engine.js';

const NATS = process.env.NATS_BIN ?? 'nats-server';

export class Nats extends EngineServer {
  name = 'NATS';

  /** The flags for a node that reaches it at a port. */
  flags(port) {
    const storage = this.durable ? 'file' : 'memory';
    return { 'nats-servers': `nats://127.0.0.1:${port}`, 'nats-storage': storage };
  }

  commandLine() {
    return [NATS, '-a', '127.0.0.1', '-p', String(this.port), '-js', '-sd', join(this.dir, 'data')];
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
