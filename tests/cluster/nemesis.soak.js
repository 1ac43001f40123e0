// One fault after the other, at random, under load, on one engine after the other:
//
//   SECONDS=3600 node --test nemesis.soak.js
//   SEED=1 ENGINE=Redis ROUNDS=50 node --test nemesis.soak.js

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { randomness } from '../clients/support/replay.js';
import { ROOM, cluster, leaveBetween } from './support/cluster.js';
import { FAULTS } from './support/faults.js';
import { Load } from './support/load.js';
import { Nats } from './support/nats.js';
import { Redis } from './support/redis.js';
import { CableRoamer } from './support/roamer.js';
import { RedisPair } from './support/sentinel.js';

const ENGINES = { Redis, Nats, RedisPair };

/** For how long there is to be another episode; one on each engine, if nothing is said. */
const SECONDS = Number(process.env.SECONDS ?? 0);
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Of an episode. */
const ROUNDS = Number(process.env.ROUNDS ?? 15);
const NAMES = process.env.ENGINE ? [process.env.ENGINE] : Object.keys(ENGINES);

/** Long enough for all nodes to be back when the engine is, and for clients to come back, on a busy machine. */
const LEASE = 3000;
const TTL = 3000;
const GONE = LEASE + LEASE / 5;
/** How long after an outage nodes may be on their way back to the engine. */
const RETURN = 2000;

const FLAGS = {
  'node-lease': `${LEASE}ms`,
  'presence-ttl': `${TTL}ms`,
  'history-limit': 100_000,
  'history-ttl': '1h',
  'engine-timeout': '2s', // and a lost connection is noticed within the lease
};

const sum = async (nodes, name) => {
  const all = await Promise.all(nodes.map((node) => node.http.metrics()));
  return all.reduce((total, metrics) => total + metrics.get(name), 0);
};

/** An episode: a cluster and its faults. */
class Episode {
  /** All loads so far. */
  #loads = [];
  #forks = 0;

  constructor(c, seed) {
    this.c = c;
    this.random = randomness(seed);
    this.faults = FAULTS[c.engine.constructor.name];
  }

  async begin() {
    const isBehind = this.c.engine.constructor !== RedisPair;
    const add = () => (isBehind ? this.c.addBehindTunnel() : this.c.add().then((node) => [node]));
    this.behind = [await add(), await add(), await add()];
    this.nodes = this.behind.map(([node]) => node);
    const turned = this.nodes.map((_, at) => [...this.nodes.slice(at), ...this.nodes.slice(0, at)]);
    this.stays = await Promise.all(turned.map((order, at) => CableRoamer.enter(this.c, order, `stays ${at}`)));
    this.ids = this.stays.map(({ id }) => id);
  }

  /** What happens next: `[what, fault, node, tunnel, ms]`. */
  next() {
    const names = Object.keys(this.faults);
    const what = names[this.random(names.length)];
    const [node, tunnel] = this.behind[this.random(3)];
    const ms = [50, 300, 900, 1500, 3000, 5500][this.random(6)];
    return { what, fault: this.faults[what], node, tunnel, ms };
  }

  async round({ fault, node, tunnel, ms }, number) {
    const { c, nodes, ids } = this;
    await Promise.all(nodes.map((one) => one.isHealthy()));
    const watchers = await c.watchers(nodes);
    const others = watchers.filter((watcher) => watcher.node !== node);
    const ghosts = [`ghost ${number} a`, `ghost ${number} b`];
    const sockets = Object.values(await c.members(node, ghosts)).map(([socket]) => socket);
    await Promise.all(others.flatMap((watcher) => ghosts.map((id) => watcher.hears('join', id))));
    const load = Load.on(c, nodes);
    await pass(200);
    const restored = await sum(nodes, 'broker_engine_restored_logs_total');
    // the clients of ghosts end with the fault, and nobody hears of them for longer than they may stay
    const since = performance.now();
    if (!fault.ends) for (const socket of sockets) socket.terminate();
    const left = leaveBetween(others, ghosts, since, TTL, ms + RETURN + GONE + TTL + 1000);
    left.catch(() => {}); // awaited below
    await fault.harm({ node, tunnel, engine: c.engine }, ms);
    await Promise.all(nodes.map((one) => one.isHealthy(200, GONE + 8000)));
    await pass(300);
    await load.end();
    await left;
    const survivors = watchers.filter((watcher) => !(fault.ends && watcher.node === node));
    await this.#empty(load);
    await c.lists(ids, { ms: GONE + TTL + 8000 });
    const hasForked = await this.#hasForked();
    // a busy machine may keep it waiting for longer
    const isTaken = () => others[0].node.http.publish(ROOM, { ready: true }).then(() => true, () => false);
    await until(isTaken, 'publications are taken');
    await c.check(survivors, others[0].node, others);
    for (const watcher of survivors) load.isIn(watcher);
    const isLate = fault.mayLeave && ms >= LEASE / 2;
    for (const watcher of isLate ? [] : survivors) {
      assert.deepEqual(watcher.leaves.filter((id) => ids.includes(id)), [], 'nobody leaves');
    }
    for (const watcher of isLate ? others : []) {
      const at = (id) => watcher.events.filter((event) => event.id === id).map(({ type }) => type).join();
      for (const id of ids) assert.match(at(id), /^$|^leave,join$/, id);
    }
    for (const watcher of hasForked ? [] : survivors) {
      assert.equal(new Set(watcher.publications.map(([epoch]) => epoch)).size, 1, 'the history goes on');
    }
    if (fault.loses && ms < LEASE) {
      const isPutBack = async () => (await sum(nodes, 'broker_engine_restored_logs_total')) > restored;
      await until(isPutBack, 'the nodes put back what was lost'); // they count it when they look next
    }
    for (const { socket } of watchers) socket.terminate();
    this.#loads.push(load);
  }

  /** Takes the guests out. What was refused may still come, but not for ever. */
  async #empty(load) {
    const kick = () => Promise.all(this.nodes.map((_, at) => this.nodes[0].kick(`guest ${at}`)));
    await kick();
    if (!load.isRefused) return;
    await until(async () => (await kick()).every(({ status }) => status === 404), 'the guests have gone');
    await pass(3000);
    await kick();
  }

  /** Whether histories have begun again: a node was missing for its lease when data was lost. */
  async #hasForked() {
    const forks = await sum(this.nodes, 'broker_cluster_forks_total');
    const hasForked = forks !== this.#forks;
    if (hasForked && forks > 0) console.log('  histories have begun again');
    this.#forks = forks;
    this.hasForked ||= hasForked && forks > 0;
    return hasForked;
  }

  /** Who was there all the time was told everything, once and without a gap. */
  async end() {
    await this.nodes[0].http.publish(ROOM, { end: true });
    await until(() => this.stays.every(({ publications }) => publications.at(-1)?.message.end), 'the last is told');
    if (this.hasForked) return;
    for (const roamer of this.stays) {
      roamer.isGapless();
      for (const load of this.#loads) {
        const numbers = roamer.publications.filter(({ message }) => message.load === load.number);
        load.wasTold(numbers.map(({ message }) => message.number), roamer.id);
      }
    }
  }
}

function episode(name, seed) {
  const again = `SEED=${seed} ENGINE=${name} ROUNDS=${ROUNDS}`;
  return cluster(`any faults: ${again}`, FLAGS, async (c) => {
    const it = new Episode(c, seed);
    await it.begin();
    for (let number = 1; number <= ROUNDS; number += 1) {
      const next = it.next();
      const title = `${again}, round ${number}: ${next.what} (${next.node.broker.origin}) for ${next.ms} ms`;
      console.log(`${new Date().toISOString()} ${title}`);
      try {
        await it.round(next, number);
      } catch (error) {
        throw new Error(`${title}: ${error.stack}`);
      }
    }
    await it.end();
  }, { engines: [ENGINES[name]], nodes: 0, durable: true, timeout: ROUNDS * 60_000 });
}

const end = performance.now() + SECONDS * 1000;
for (let number = 0; number < NAMES.length || performance.now() < end; number += 1) {
  await episode(NAMES[number % NAMES.length], SEED + number);
}
