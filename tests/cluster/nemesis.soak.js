// One fault after the other, at random, under load: SEED=1 ROUNDS=50 node --test nemesis.soak.js

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { randomness } from '../clients/support/replay.js';
import { Load } from './support/load.js';
import { CableRoamer } from './support/roamer.js';
import { GONE, ROOM, cluster } from './support/cluster.js';

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const ROUNDS = Number(process.env.ROUNDS ?? 30);

/** Long enough to come back on a busy machine. */
const TTL = 3000;
const FLAGS = { 'presence-ttl': `${TTL}ms`, 'history-limit': 100_000, 'history-ttl': '1h', 'engine-timeout': '2s' };

/**
 * What may happen: `harm` does it to a node, for about a time. `ends` says that the node's connections end with it,
 * `mayLeave` that its members leave when it takes long.
 */
const FAULTS = {
  'a node is killed': { ends: true, async harm({ node }, ms) {
    await node.kill();
    await pass(ms);
    await node.begin();
  } },
  'a node stops': { ends: true, async harm({ node }, ms) {
    await node.stop();
    await pass(ms);
    await node.begin();
  } },
  'a node is paused': { mayLeave: true, async harm({ node }, ms) {
    await node.broker.pause();
    await pass(ms);
    node.broker.kill('SIGCONT');
  } },
  'a node is cut off without a word': { mayLeave: true, async harm({ tunnel }, ms) {
    tunnel.lose();
    tunnel.shut();
    await pass(ms);
    tunnel.open();
  } },
  'a node is cut off by a reset': { mayLeave: true, async harm({ tunnel }, ms) {
    tunnel.shut();
    tunnel.reset();
    await pass(ms);
    tunnel.open();
  } },
  'Redis stands still': { async harm({ redis }, ms) {
    redis.pause();
    await pass(ms);
    redis.resume();
  } },
  'Redis restarts': { async harm({ redis }, ms) {
    await redis.kill();
    await pass(ms);
    await redis.restart();
  } },
  'Redis cuts subscriptions': { harm: ({ redis }) => redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub') },
  'Redis cuts connections': { harm: ({ redis }) => redis.command('CLIENT', 'KILL', 'TYPE', 'normal') },
  'Redis forgets scripts': { harm: ({ redis }) => redis.command('SCRIPT', 'FLUSH') },
};

cluster(`any faults, SEED=${SEED}`, FLAGS, async (c) => {
  const random = randomness(SEED);
  const behind = [await c.addBehindTunnel(), await c.addBehindTunnel(), await c.addBehindTunnel()];
  const nodes = behind.map(([node]) => node);
  const turned = nodes.map((_, at) => [...nodes.slice(at), ...nodes.slice(0, at)]);
  const stays = await Promise.all(turned.map((order, at) => CableRoamer.enter(c, order, `stays ${at}`)));
  const ids = stays.map(({ id }) => id);
  const taken = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    const names = Object.keys(FAULTS);
    const what = names[random(names.length)];
    const { harm, ends, mayLeave } = FAULTS[what];
    const [node, tunnel] = behind[random(3)];
    const ms = [50, 300, 900, 1500, 3000, 5500][random(6)];
    const title = `round ${round} of SEED=${SEED}: ${what} (${node.broker.origin}) for ${ms} ms`;
    console.log(`${new Date().toISOString()} ${title}`);
    try {
      const watchers = await c.watchers();
      const load = Load.on(c, nodes);
      await pass(200);
      await harm({ node, tunnel, redis: c.redis }, ms);
      await Promise.all(nodes.map((one) => one.isHealthy()));
      await pass(300);
      await load.end();
      const survivors = watchers.filter((watcher) => !(ends && watcher.node === node));
      const others = watchers.filter((watcher) => watcher.node !== node);
      const kick = () => Promise.all(nodes.map((_, at) => nodes[0].kick(`guest ${at}`)));
      await kick();
      if (load.isRefused) {
        // what was refused may still come, but not for ever
        await until(async () => (await kick()).every(({ status }) => status === 404), 'the guests have gone');
        await pass(3000);
        await kick();
      }
      await c.lists(ids, { ms: GONE + TTL + 8000 });
      await c.check(survivors, others[0].node, others);
      for (const watcher of survivors) load.isIn(watcher);
      const isLate = mayLeave && ms >= 900;
      for (const watcher of isLate ? [] : survivors) {
        assert.deepEqual(watcher.leaves.filter((id) => ids.includes(id)), [], 'nobody leaves');
      }
      for (const watcher of isLate ? others : []) {
        const at = (id) => watcher.events.filter((event) => event.id === id).map(({ type }) => type).join();
        for (const id of ids) assert.match(at(id), /^$|^leave,join$/, id);
      }
      for (const { socket } of watchers) socket.terminate();
      taken.push(load);
    } catch (error) {
      throw new Error(`${title}: ${error.stack}`);
    }
  }
  await nodes[0].http.publish(ROOM, { end: true });
  await until(() => stays.every(({ publications }) => publications.at(-1)?.message.end), 'the last is told');
  for (const roamer of stays) {
    roamer.isGapless();
    for (const load of taken) {
      const numbers = roamer.publications.filter(({ message }) => message.load === load.number);
      load.wasTold(numbers.map(({ message }) => message.number), roamer.id);
    }
  }
}, { nodes: 0, durable: true, timeout: ROUNDS * 30_000 });
