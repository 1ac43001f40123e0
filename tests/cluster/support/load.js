// Clients that come and go and publish all the time, at whatever node is healthy.

import assert from 'node:assert/strict';
import { pass } from '../../clients/support/patience.js';
import { ROOM } from './cluster.js';

/** Time between two requests to a node, in ms. */
const PAUSE = 10;

let loads = 0;

export class Load {
  /** Which one it is: each publication says so. */
  number = (loads += 1);
  /** The numbers that were answered 201, and all others that were sent. */
  taken = new Set();
  doubtful = new Set();
  /** Whether a member may still come: one was put, and that was refused or not answered. */
  isRefused = false;
  #next = 0;
  #goes = true;
  #work = [];

  /** Begins to publish numbers at each of the nodes, and to put members there and take them out; ends with the test. */
  static on(c, nodes = c.nodes) {
    const load = new Load();
    c.cleanup(() => (load.#goes = false));
    load.#work = nodes.flatMap((node, at) => [load.#publish(node), load.#comeAndGo(node, at)]);
    return load;
  }

  async #publish(node) {
    while (this.#goes) {
      const number = (this.#next += 1);
      // sent and not answered, it may have come or not
      this.doubtful.add(number);
      try {
        await node.http.publish(ROOM, { load: this.number, number });
        this.doubtful.delete(number);
        this.taken.add(number);
      } catch {
        await pass(PAUSE);
      }
      await pass(PAUSE);
    }
  }

  async #comeAndGo(node, at) {
    for (let n = 0; this.#goes; n += 1) {
      const { status } = await node.put(`guest ${at}`, { info: { n } }).catch(() => ({}));
      if (status !== 200 && status !== 201) this.isRefused = true;
      await pass(PAUSE);
      if (n % 3 === 2) await node.kick(`guest ${at}`).catch(() => {});
    }
  }

  /** Ends when all requests are answered. */
  async end() {
    this.#goes = false;
    await Promise.all(this.#work);
    assert.ok(this.taken.size > 0, 'publications were taken');
  }

  /** These are the numbers somebody was told: all that were taken, once each, and of the doubtful ones at most once. */
  wasTold(numbers, to) {
    const told = new Set();
    const doubled = numbers.filter((number) => told.size === told.add(number).size);
    assert.deepEqual(doubled, [], `told twice: ${to}`);
    const missing = [...this.taken].filter((number) => !told.has(number));
    assert.deepEqual(missing, [], `of ${this.taken.size} not told: ${to}`);
    for (const number of told) assert.ok(this.taken.has(number) || this.doubtful.has(number), `${number}: ${to}`);
  }

  /** A watcher was told all publications. */
  isIn(watcher) {
    const numbers = watcher.publications.map(([, , message]) => message.number).filter((number) => number);
    this.wasTold(numbers, watcher.node.broker.origin);
  }
}
