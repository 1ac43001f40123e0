// A TCP proxy before the engine. It can fall silent, also for one of the two connections that a node has to Redis, be slow,
// and lead elsewhere, as a name does.

import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a node says on each of its connections to Redis, and on no other. */
const KINDS = {
  /** It appends, and reads what it wasn't told. */
  asking: /EVAL|XRANGE|HMGET/,
  /** It is told what the log gets. */
  subscribed: /SUBSCRIBE/,
};

export class EngineTunnel {
  #pairs = new Set();
  #isShut = false;
  /** What new connections are lost by saying. */
  #lost = [];

  /** How much later what is said arrives, in ms; asked for each piece, which still come in order. */
  delay = () => 0;

  /** Listens on a port of its own and passes everything on to the engine. */
  static async to(engine) {
    const tunnel = new EngineTunnel(engine.port);
    tunnel.server.listen(0, '127.0.0.1');
    await once(tunnel.server, 'listening');
    tunnel.port = tunnel.server.address().port;
    return tunnel;
  }

  constructor(target) {
    /** The port where it leads; connections stay where they are. */
    this.target = target;
    this.server = createServer((near) => {
      if (this.#isShut) near.on('error', () => {}).resetAndDestroy();
      else this.#connect(near);
    });
  }

  #connect(near) {
    const far = connect(this.target, '127.0.0.1');
    const pair = { near, far, said: '', isLost: false };
    this.#pairs.add(pair);
    this.#pass(pair, near, far, (bytes) => this.#hear(pair, bytes));
    this.#pass(pair, far, near, () => {});
  }

  #pass(pair, from, to, hear) {
    let before = Promise.resolve();
    const give = (bytes) => {
      if (pair.isLost || to.destroyed || to.write(bytes)) return;
      from.pause();
      to.once('drain', () => from.resume());
    };
    from.setNoDelay(true);
    from.on('data', (bytes) => {
      hear(bytes);
      const due = performance.now() + this.delay();
      before = before.then(async () => {
        const wait = due - performance.now();
        if (wait > 0) await sleep(wait);
        give(bytes);
      });
    });
    from.on('error', () => to.destroy());
    from.on('close', () => {
      if (!pair.isLost) before.then(() => to.destroy());
      this.#pairs.delete(pair);
    });
  }

  #hear(pair, bytes) {
    if (pair.said.length < 10_000) pair.said += bytes.toString('latin1');
    if (this.#lost.some((kind) => kind.test(pair.said))) pair.isLost = true;
  }

  /**
   * From now on nothing of what is under way or will be said arrives: on open connections, or on all of a kind, `asking` or
   * `subscribed`, until it is open again.
   */
  lose(kind) {
    if (kind) this.#lost.push(KINDS[kind]);
    for (const pair of this.#pairs) {
      if (!kind || KINDS[kind].test(pair.said)) pair.isLost = true;
    }
  }

  /** The node notices: its connections are reset. The engine's side is as silent as before. */
  reset() {
    for (const { near } of this.#pairs) near.resetAndDestroy();
  }

  /** From now on who comes is turned away, until it is open again. */
  shut() {
    this.#isShut = true;
  }

  open() {
    this.#isShut = false;
    this.#lost = [];
  }

  close() {
    this.server.close();
    for (const { near, far } of this.#pairs) [near, far].forEach((socket) => socket.destroy());
  }
}
