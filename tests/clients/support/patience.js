// Waiting, with an end. Nothing in the suite waits without one.

import { setTimeout as sleep } from 'node:timers/promises';

/**
 * How long anything that should happen "now" may take, in ms; generous, for busy machines. Still less than
 * what it must not be mistaken for: a handshake's timeout is 10 s, a member's TTL 15, if nothing else is said.
 */
export const PATIENCE = 8000;

/** How much longer a broker knows a stream that nobody uses, in ms: with an engine, other nodes might. */
export const FORGETTING = Number(process.env.FORGETTING ?? 0);

/** How long whoever begins may take, in ms: a broker, or a connection to it. Nothing depends on that. */
export const BEGINNING = 20_000;

/** How much later than due something may be seen, in ms: a busy machine. */
export const LATE = 2500;

/** Lets wall-clock time pass. Only for what is about time itself: a TTL, an interval, a silence. */
export const pass = (ms) => sleep(ms);

/** Settles like `promise`, or fails with a sentence after `ms`. */
export async function within(promise, what, ms = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}, without success`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until `ask` gives something truthy, and returns that. */
export async function until(ask, what, ms = PATIENCE) {
  const end = performance.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > end) throw new Error(`waited ${ms} ms until ${what}, without success`);
    await sleep(10);
  }
}

/** An inbox: whatever comes is kept until someone takes it. */
export class Inbox {
  #items = [];
  #takers = [];
  #ended = null;

  /** What came and was not taken yet. */
  get rest() {
    return [...this.#items];
  }

  put(item) {
    const at = this.#takers.findIndex((taker) => taker.wants(item));
    if (at === -1) this.#items.push(item);
    else this.#takers.splice(at, 1)[0].give(item);
  }

  /** Nothing more will come; `why` goes into the error of everyone who still waits. */
  end(why) {
    this.#ended = why;
    for (const taker of this.#takers.splice(0)) taker.fail(why);
  }

  /** The first item that matches, come or coming. It is taken out; the others stay. */
  take(wants, what, ms = PATIENCE) {
    const at = this.#items.findIndex(wants);
    if (at !== -1) return Promise.resolve(this.#items.splice(at, 1)[0]);
    return new Promise((resolve, reject) => {
      const complain = (why) => {
        const rest = this.#items.slice(-5).map((item) => JSON.stringify(item)?.slice(0, 300));
        reject(new Error(`${why} for ${what}; not taken so far: ${rest.join(' ') || 'nothing'}`));
      };
      if (this.#ended) {
        complain(`${this.#ended}, so waiting is useless`);
        return;
      }
      const taker = { wants };
      const timer = setTimeout(() => {
        this.#takers.splice(this.#takers.indexOf(taker), 1);
        complain(`waited ${ms} ms`);
      }, ms);
      taker.give = (item) => {
        clearTimeout(timer);
        resolve(item);
      };
      taker.fail = (why) => {
        clearTimeout(timer);
        complain(`${why} while waiting`);
      };
      this.#takers.push(taker);
    });
  }
}
