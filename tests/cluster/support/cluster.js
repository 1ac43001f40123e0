// A test with several nodes on one engine. Each node is a `Scenario` of the clients' tests, so that whatever
// these have for a broker works at a node.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Broker, freePort } from '../../clients/support/broker.js';
import { Http } from '../../clients/support/http.js';
import { LATE, until } from '../../clients/support/patience.js';
import { Scenario } from '../../clients/support/scenario.js';
import { same } from '../../clients/support/socket.js';
import { Nats } from './nats.js';
import { Redis } from './redis.js';
import { EngineTunnel } from './tunnel.js';
import { Watcher, assertAlike } from './watcher.js';

/** The stream that most tests are about. */
export const ROOM = 'room';

/** For tests that are about no engine in particular. */
export const EACH = [Redis, Nats];

/** Lease and presence TTL of the nodes unless a test says otherwise, in ms. */
export const LEASE = 1000;
export const TTL = 1000;

/** How long after its last beat a node is gone at the latest, in ms: beats come five times a lease. */
export const GONE = LEASE + LEASE / 5;

/**
 * How long a node that has died is there at the least, in ms: a lease begins when the next beat is due, and on a busy
 * machine that beat may be late already.
 */
export const THERE = LEASE / 2;

/** How much earlier than due a timer may seem to fire, in ms: several processes, several clocks. */
export const EARLY = 60;

/** How often a node's process has begun again because a log was lost. */
export const LOST = 'broker_cluster_divergences_total';

const DEFAULTS = { 'node-lease': `${LEASE}ms`, 'presence-ttl': `${TTL}ms` };

/**
 * Declares a test for each of the `engines`, with one and that many `nodes` of its own. The `flags` are those of each node.
 * `run` gets the `Cluster`. A `durable` engine keeps its data over restarts, one that `saves` what it had at the last
 * `save`; `env` and `flags` are more of what it is started with. At the end each node must still run (unless the test
 * stopped it), stop when asked, with exit code 0, and must not have panicked. Resolves when they have run.
 */
export function cluster(name, flags, run, { engines = [Redis], ...options } = {}) {
  return Promise.all(engines.map((Engine) => {
    const where = engines.length > 1 ? ` (${Engine.name})` : '';
    return declare(name + where, flags, run, { Engine, ...options });
  }));
}

function declare(name, flags, run, { Engine, nodes = 3, timeout = 60_000, ...keeps }) {
  return test(name, { timeout }, async (t) => {
    const c = new Cluster(t, flags);
    try {
      c.engine = await Engine.start(keeps);
      await Promise.all(Array.from({ length: nodes }, () => c.add()));
      await run(c, ...c.nodes);
      await c.end();
    } catch (error) {
      for (const node of c.nodes) for (const broker of node.brokers) t.diagnostic(broker.log);
      throw error;
    } finally {
      c.abandon();
    }
  });
}

/** A node: a broker that can go and come again at the same port, and its clients. */
export class Node extends Scenario {
  constructor(t, flags, system) {
    super(t);
    this.flags = flags;
    this.system = system;
  }

  /** Starts its process and waits until it is healthy. */
  async begin() {
    this.broker = await this.start(this.flags, this.system);
    this.flags.port = this.broker.port; // where its clients look for it
    this.http = new Http(this.broker.origin);
    return this;
  }

  /** Starts its process; it isn't healthy yet. */
  async spawn() {
    this.flags.port ??= await freePort();
    this.goesOn();
    this.broker = new Broker({ host: '127.0.0.1', ...this.flags }, this.system);
    this.brokers.push(this.broker);
    this.http = new Http(this.broker.origin);
    return this;
  }

  /** Ends its process as a crash does. */
  async kill() {
    this.broker.kill('SIGKILL');
    await this.broker.exited();
  }

  /** Stops its process as a deployment does. */
  async stop() {
    assert.deepEqual(await this.broker.stop(), { code: 0, signal: null }, 'how the node ended');
  }

  /** Waits until `/health` has this status. */
  isHealthy(status = 200, ms = undefined) {
    return until(async () => (await this.broker.health()) === status, `/health says ${status}`, ms);
  }

  /** Waits until its process has begun again so many times because a log was lost, and is healthy. */
  async hasBegunAgain(times = 1) {
    const count = async () => (await this.http.metrics().catch(() => new Map())).get(LOST);
    await until(async () => (await count()) === times, 'it has begun again');
    await this.isHealthy();
  }

  /** A watcher of a stream that has its first list. */
  watcher(stream = ROOM) {
    return Watcher.enter(this, stream);
  }

  /** Puts a member by HTTP; gives the answer. */
  put(id, body = {}, stream = ROOM) {
    const headers = { 'content-type': 'application/json' };
    const path = `/api/presence/${encodeURIComponent(stream)}/${encodeURIComponent(id)}`;
    return this.http.request(path, { method: 'PUT', headers, body: JSON.stringify(body) });
  }

  /** Takes a member out by HTTP; gives the answer. */
  kick(id, stream = ROOM) {
    const path = `/api/presence/${encodeURIComponent(stream)}/${encodeURIComponent(id)}`;
    return this.http.request(path, { method: 'DELETE' });
  }
}

/** What a test has: an engine, its nodes, and what concerns all of them. */
class Cluster {
  nodes = [];
  #closers = [];
  #marks = 0;
  #isOver = false;

  constructor(t, flags) {
    this.t = t;
    this.flags = { ...DEFAULTS, 'cluster-name': `test-${process.pid}`, ...flags };
  }

  /** The engine, in tests that are about Redis. */
  get redis() {
    return this.engine;
  }

  /** `close` runs when the test ends. */
  cleanup(close) {
    this.#closers.push(close);
  }

  /** Another node, not started. `system` is what it runs in, see `Broker.start`. */
  newNode(port = this.engine.port, system = {}) {
    if (this.#isOver) throw new Error('the test is over');
    const node = new Node(this.t, { ...this.flags, ...this.engine.flags(port) }, system);
    this.nodes.push(node);
    return node;
  }

  /** Starts another node. */
  add() {
    return this.newNode().begin();
  }

  /** Starts another node whose connections to the engine can be cut: `[node, tunnel]`. */
  async addBehindTunnel() {
    const tunnel = await EngineTunnel.to(this.engine);
    this.cleanup(() => tunnel.close());
    return [await this.newNode(tunnel.port).begin(), tunnel];
  }

  /** A watcher of a stream at each of the nodes. */
  async watchers(nodes = this.nodes, stream = ROOM) {
    return Promise.all(nodes.map((node) => node.watcher(stream)));
  }

  /** Waits until every one of the nodes lists these members, in any order. */
  async lists(ids, { stream = ROOM, nodes = this.nodes, ms = undefined } = {}) {
    let seen;
    try {
      await until(async () => {
        seen = await Promise.all(nodes.map((node) => node.http.ids(stream)));
        return seen.every((list) => same([...list].sort(), [...ids].sort()));
      }, `all nodes list ${ids}`, ms);
    } catch (error) {
      throw new Error(`${error.message}: they list ${JSON.stringify(seen)}`);
    }
  }

  /** Members of the room with a client each at a node: `[socket, identifier]` by id. */
  async members(node, ids) {
    const members = {};
    for (const id of ids) members[id] = await node.member(ROOM, id);
    return members;
  }

  /**
   * Waits until all these watchers have been told everything, and checks it: the list and the events of each are
   * the list it asks for, and `alike` of them were told the same in the same order.
   */
  async check(watchers, at = watchers.find((watcher) => watcher.isOpen).node, alike = watchers) {
    const mark = { mark: (this.#marks += 1) };
    await at.http.publish(watchers[0].stream, mark);
    await Promise.all(watchers.map((watcher) => watcher.hearsPublication(mark)));
    await Promise.all(watchers.map((watcher) => watcher.isRight()));
    assertAlike(alike);
    const lists = watchers.map((watcher) => watcher.members);
    for (const list of lists.slice(1)) assert.deepEqual(list, lists[0], 'the lists of two nodes');
  }

  /** The orderly end of a test that went well. */
  async end() {
    await Promise.all(this.nodes.map((node) => node.end()));
    this.#close();
  }

  #close() {
    for (const close of this.#closers.splice(0)) close();
  }

  /** The end in any case. */
  abandon() {
    this.#isOver = true;
    this.#close();
    for (const node of this.nodes) node.abandon();
    this.engine?.end();
  }
}

/**
 * Each of the watchers hears the leaves of these members, once each, between `from` and `to` ms after `since`.
 */
export async function leaveBetween(watchers, ids, since, from, to) {
  await Promise.all(watchers.map(async (watcher) => {
    for (const id of ids) {
      const waits = Math.max(0, since + to + LATE - performance.now());
      await watcher.hearsLeave(id, waits);
      const waited = Math.round(performance.now() - since);
      const what = `${watcher.node.broker.origin} told of the leave of ${id} after ${waited} ms`;
      assert.ok(waited >= from - EARLY, `${what}, before ${from}`);
      assert.ok(waited <= to + LATE, `${what}, after ${to}`);
    }
  }));
}
