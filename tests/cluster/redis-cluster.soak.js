// One fault of a Redis Cluster after the other, at random, under load:
// SEED=1 ROUNDS=50 node --test redis-cluster.soak.js

import assert from 'node:assert/strict';
import { pass } from '../clients/support/patience.js';
import { randomness } from '../clients/support/replay.js';
import { Load } from './support/load.js';
import { GONE, TTL, cluster } from './support/cluster.js';
import { RedisCluster } from './support/redis-cluster.js';

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const ROUNDS = Number(process.env.ROUNDS ?? 20);

/** Long enough for all nodes to be at a new master, on any machine. */
const FLAGS = { 'engine-timeout': '20s', 'node-lease': '10s', 'history-limit': 100_000, 'history-ttl': '1h' };

/** What may happen: `harm` does it to a master and a partition. */
const FAULTS = {
  async 'a replica takes over'(redis, at) {
    await redis.failOver(at);
    await redis.rejoin(at);
  },
  async 'a replica takes over that is behind'(redis, at) {
    await redis.failOver(at, { lags: true });
    await redis.rejoin(at);
  },
  'a replica takes over by hand': (redis, at) => redis.failOverByHand(at),
  'a slot moves': async (redis, at, partition) => redis.move(await redis.place(partition)),
  'a master is emptied': (redis, at) => redis.masters[at].ask('FLUSHALL'),
  'subscriptions are cut': (redis, at) => redis.masters[at].ask('CLIENT KILL TYPE pubsub'),
  async 'a master stands still for a moment'(redis, at) {
    redis.masters[at].pause();
    await pass(500);
    redis.masters[at].resume();
  },
};

cluster(`any faults of a Redis Cluster, SEED=${SEED}`, FLAGS, async (c) => {
  const random = randomness(SEED);
  for (let round = 1; round <= ROUNDS; round += 1) {
    const names = Object.keys(FAULTS);
    const what = names[random(names.length)];
    const [at, partition] = [random(3), random(64)];
    const title = `round ${round} of SEED=${SEED}: ${what}, master ${at}, partition ${partition}`;
    console.log(`${new Date().toISOString()} ${title}`);
    try {
      const watchers = await c.watchers();
      const load = Load.on(c);
      await pass(300);
      await FAULTS[what](c.engine, at, partition);
      await pass(1000);
      await load.end();
      await pass(GONE + TTL);
      await c.check(watchers);
      for (const watcher of watchers) {
        load.isIn(watcher);
        assert.equal(new Set(watcher.publications.map(([epoch]) => epoch)).size, 1, 'the history goes on');
        watcher.socket.terminate();
      }
    } catch (error) {
      throw new Error(`${title}: ${error.stack}`);
    }
  }
}, { engines: [RedisCluster], timeout: ROUNDS * 60_000 });
