// The application as a service, whatever it is asked over: it keeps every call, and fails on demand.

import { until } from '../patience.js';
import { METHODS } from './channels.js';

/** Why a call has no answer: a status of gRPC, and what stands for it over HTTP. */
export class Refusal extends Error {
  static STATUSES = { UNAUTHENTICATED: 401, INVALID_ARGUMENT: 422, RESOURCE_EXHAUSTED: 429, UNAVAILABLE: 503 };

  /** `headers` are for HTTP alone. */
  constructor(code, headers = {}) {
    super(`refused: ${code}`);
    Object.assign(this, { code, headers, status: Refusal.STATUSES[code] ?? 500 });
  }
}

/** What a fault gives that has dealt with the request itself. */
export const DONE = Symbol('done');

/** A fault: the call is refused; with `after`, when the command has run already. */
export function refuse(code, { after = false, headers } = {}) {
  return async (run) => {
    if (after) await run();
    throw new Refusal(code, headers);
  };
}

/** A fault: there is no answer, ever. With `after` the command runs all the same. */
export function hang({ after = false } = {}) {
  return async (run) => {
    if (after) await run();
    return new Promise(() => {});
  };
}

export class Service {
  /**
   * Every call in the order in which it came: `{ kind, method, metadata, message, ran }`. Its kind is `connect`, `disconnect`,
   * or the command; `ran` says whether the application's code was reached.
   */
  calls = [];
  #faults = [];

  constructor(methods = METHODS) {
    this.methods = methods;
  }

  /** The next calls of a kind, so many, meet a fault: it gets a function that runs the command and gives the answer. */
  meet(kind, fault, times = 1) {
    this.#faults.push(...Array(times).fill({ kind, fault }));
  }

  /** The next call of a kind waits before it runs, until the function that this gives is called. */
  hold(kind) {
    let release;
    const released = new Promise((resolve) => (release = resolve));
    this.meet(kind, (run) => released.then(run));
    return release;
  }

  /** What a call is answered with; fails with a `Refusal`. What else is known of it, and what it came with, is in `more`. */
  async answer(method, metadata, message, more = {}) {
    const kind = message.command ?? method;
    const call = { kind, method, metadata, message, ran: false, ...more };
    this.calls.push(call);
    const run = () => {
      call.ran = true;
      return this.methods[method](message, metadata);
    };
    const at = this.#faults.findIndex((planned) => planned.kind === kind);
    const [planned] = at === -1 ? [] : this.#faults.splice(at, 1);
    return planned ? planned.fault(run, call) : run();
  }

  /** The calls of a kind, in order. */
  of(kind) {
    return this.calls.filter((call) => call.kind === kind);
  }

  /** Waits until there have been so many calls of a kind; gives them. */
  async called(kind, times = 1) {
    await until(() => this.of(kind).length >= times, `the application is asked ${times} times to ${kind}`);
    return this.of(kind);
  }
}
