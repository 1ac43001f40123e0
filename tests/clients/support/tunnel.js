// A TCP proxy before the broker, which can stop passing things on without a word: a tunnel, a lift,
// a phone that changes networks. What is written into it is taken in and kept, as networks do.

import { connect, createServer } from 'node:net';
import { once } from 'node:events';

export class Tunnel {
  #pairs = new Set();
  #shut = false;

  /** Listens on a port of its own and passes everything on to the broker. */
  static async to(broker) {
    const tunnel = new Tunnel(broker);
    tunnel.server.listen(0, '127.0.0.1');
    await once(tunnel.server, 'listening');
    return tunnel;
  }

  constructor(broker) {
    this.server = createServer((near) => {
      if (this.#shut) {
        near.on('error', () => {}).resetAndDestroy();
        return;
      }
      const far = connect(broker.port, '127.0.0.1');
      const pair = { near, far };
      this.#pairs.add(pair);
      for (const [from, to] of [[near, far], [far, near]]) {
        from.setNoDelay(true);
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => {
          if (!pair.lost) to.destroy();
          this.#pairs.delete(pair);
        });
      }
    });
  }

  url(path = '/cable') {
    return `ws://127.0.0.1:${this.server.address().port}${path}`;
  }

  /** From now on nothing of what is under way or will be sent on open connections arrives. */
  lose() {
    for (const pair of this.#pairs) {
      pair.lost = true;
      pair.near.unpipe(pair.far);
      pair.far.unpipe(pair.near);
      pair.far.on('data', () => {}); // taken in, and gone
    }
  }

  /** The client's side notices: its connections are reset. The broker's side is as silent as before. */
  reset() {
    for (const { near } of this.#pairs) near.resetAndDestroy();
  }

  /** From now on whoever comes is turned away, until it is open again. */
  shut() {
    this.#shut = true;
  }

  open() {
    this.#shut = false;
  }

  close() {
    this.server.close();
    for (const { near, far } of this.#pairs) [near, far].forEach((socket) => socket.destroy());
  }
}
