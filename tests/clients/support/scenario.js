// A test with a broker of its own. What a scenario opens it closes, whatever happens; when it fails,
// it shows what the broker wrote.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Broker } from './broker.js';
import { Http } from './http.js';
import { Inbox, until } from './patience.js';
import { Socket } from './socket.js';
import { Wire } from './wire.js';

const VISITOR = fileURLToPath(new URL('./visitor.js', import.meta.url));

/**
 * Declares a test. `flags` and `system` are the broker's (see `Broker.start`); `flags` may be a function
 * that gets the `Scenario` and gives them. `run` gets the `Scenario`.
 * At the end the broker must still run (unless the test stopped it), stop when asked, with exit
 * code 0, and must not have panicked.
 */
export function scenario(name, flags, run, { timeout = 60_000, ...system } = {}) {
  test(name, { timeout }, async (t) => {
    const s = new Scenario(t);
    try {
      s.broker = await s.start(typeof flags === 'function' ? await flags(s) : flags, system);
      s.http = new Http(s.broker.origin, undefined, s.broker.ca);
      await run(s);
      await s.end();
    } catch (error) {
      for (const broker of s.brokers) t.diagnostic(broker.log);
      throw error;
    } finally {
      s.abandon();
    }
  });
}

/** A broker with clients of it. */
export class Scenario {
  #closers = [];
  #isOver = false;
  brokers = [];

  constructor(t) {
    this.t = t;
  }

  /** Starts a (further) broker; `port` among the flags takes over that port. */
  async start(flags = {}, system = {}) {
    this.goesOn();
    const broker = await Broker.start(flags, system);
    this.brokers.push(broker);
    if (this.#isOver) broker.kill('SIGKILL');
    this.goesOn();
    return broker;
  }

  /** Fails if the scenario is over: what it had begun, and nobody waits for, begins nothing more. */
  goesOn() {
    if (this.#isOver) throw new Error('the test is over');
  }

  /** `close` runs when the scenario ends, the last first. */
  cleanup(close) {
    this.#closers.push(close);
  }

  /** Ends what was opened since `mark`: an earlier `opened`. */
  close(mark = 0) {
    for (const close of this.#closers.splice(mark).reverse()) close();
  }

  /** How much is open that ends with the scenario. */
  get opened() {
    return this.#closers.length;
  }

  /** A WebSocket, open, its welcome not awaited; of another `kind` for another protocol. */
  async open(path = '/cable', { kind = Socket, ...options } = {}) {
    const socket = await kind.open(this.broker.url(path), { ca: this.broker.ca, ...options });
    this.cleanup(() => socket.terminate());
    return socket;
  }

  /** A WebSocket that has been welcomed. */
  async socket(path, options) {
    return (await this.open(path, options)).welcome();
  }

  /** Opens a connection as soon as there is room for it: who has gone makes some a little later. */
  roomFor(open) {
    return until(() => open().catch(() => null), 'there is room again');
  }

  /** A WebSocket that follows a stream: `[socket, identifier]`. */
  async subscriber(stream, more) {
    const socket = await this.socket();
    return [socket, await socket.subscribe(stream, more)];
  }

  /** A WebSocket whose member is present: `[socket, identifier]`. */
  async member(stream, id, info = {}) {
    const [socket, identifier] = await this.subscriber(stream);
    socket.join(identifier, id, info);
    await socket.settle(identifier);
    assert.equal(socket.unheard.filter((f) => f.message?.type === 'error').length, 0, 'joins');
    for (const { message } of socket.unheard) await socket.hearsPresence(identifier, message.type);
    return [socket, identifier];
  }

  /** A TCP connection to say anything over. */
  async wire(options) {
    const wire = await Wire.connect(this.broker, options);
    this.cleanup(() => wire.destroy());
    return wire;
  }

  /** A WebSocket over which frames can be broken. */
  async upgraded(more, headers, request) {
    const wire = await Wire.upgrade(this.broker, more, headers, request);
    this.cleanup(() => wire.destroy());
    return wire;
  }

  /** A client that is a process of its own, present in a stream: it can be killed or frozen. */
  async visitor(stream, id) {
    const child = spawn(process.execPath, [VISITOR, this.broker.url(), stream, id], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.cleanup(() => child.kill('SIGKILL'));
    const lines = new Inbox();
    child.stdout.setEncoding('utf8').on('data', (text) => lines.put(text));
    child.once('exit', () => lines.end('the visitor exited'));
    await lines.take((text) => text.includes('present'), 'the visitor to be present');
    return child;
  }

  /** Waits until the broker's metrics say so, and gives them. */
  async metrics(says, what, ms = undefined) {
    let last;
    try {
      return await until(async () => {
        last = await this.http.metrics();
        return says(last) && last;
      }, what, ms);
    } catch (error) {
      const values = last?.names.map((name) => `${name} ${last.get(name)}`).join('\n');
      throw new Error(`${error.message}\n${values}`);
    }
  }

  /**
   * Waits until the broker's metrics are these: by name, or by name and labels as Prometheus writes them.
   * With metrics from `since`, the differences to those. A scrape is no snapshot, and what is counted may
   * be counted after it was seen, so whatever has to be so at the same time is to be asked at the same time.
   */
  async counts(expected, { since, ms } = {}) {
    const wrong = (metrics) =>
      Object.entries(expected)
        .map(([name, count]) => [name, count, metrics.get(name) - (since?.get(name) ?? 0)])
        .filter(([, count, told]) => told !== count)
        .map(([name, count, told]) => `${name} is ${told}, not ${count}`);
    let last;
    try {
      return await until(async () => {
        last = await this.http.metrics();
        return wrong(last).length === 0 && last;
      }, 'the metrics say so', ms);
    } catch (error) {
      throw new Error(`${error.message}: ${last ? wrong(last).join(', ') : 'there are none'}`);
    }
  }

  /** Waits until that many sockets are open, as the broker sees it. */
  async connections(count) {
    return this.counts({ broker_connections: count });
  }

  /** Waits until that many handshakes have failed for a reason. */
  async failures(reason, count) {
    return this.counts({ [`broker_handshake_failures_total{reason="${reason}"}`]: count });
  }

  /** The orderly end of a scenario that went well. */
  async end() {
    this.close();
    for (const broker of this.brokers) {
      if (broker.awaited) continue; // the test itself was about its end
      assert.ok(broker.running, 'the broker is still running at the end');
      assert.deepEqual(await broker.stop(), { code: 0, signal: null }, 'how the broker ended');
    }
    for (const broker of this.brokers) assert.ok(!broker.panicked, 'the broker panicked');
  }

  /** The end in any case. */
  abandon() {
    this.#isOver = true;
    this.close();
    for (const broker of this.brokers) broker.kill('SIGKILL');
  }
}
