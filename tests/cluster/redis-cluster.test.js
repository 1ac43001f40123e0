// Nodes on a Redis Cluster, whose masters fail and whose slots move.

import assert from 'node:assert/strict';
import { pass } from '../clients/support/patience.js';
import { Load } from './support/load.js';
import { GONE, ROOM, TTL, cluster } from './support/cluster.js';
import { RedisCluster } from './support/redis-cluster.js';

/** Long enough for nobody to be refused while a replica takes over, and for all nodes to be at the new master. */
const FLAGS = { 'engine-timeout': '15s', 'node-lease': '5s' };

const OPTIONS = { engines: [RedisCluster] };

/** Under load, something happens to the partition with the room, and to the one with the nodes' beats. */
async function goesOn(c, act) {
  const watchers = await c.watchers();
  await c.members(c.nodes[0], ['ann']);
  await c.members(c.nodes[1], ['bob']);
  const load = Load.on(c);
  await pass(300);
  for (const partition of [c.engine.partition(ROOM), 0]) {
    await act(partition);
    await pass(500);
  }
  await pass(1000);
  await load.end();
  await pass(GONE + TTL + 500);
  await c.check(watchers);
  for (const watcher of watchers) {
    load.isIn(watcher);
    assert.deepEqual(watcher.leaves.filter((id) => !id.startsWith('guest')), []);
    assert.equal(new Set(watcher.publications.map(([epoch]) => epoch)).size, 1, 'the history goes on');
  }
  for (const node of c.nodes) await node.isHealthy();
}

cluster('in a Redis Cluster, replicas that are behind take over under load: nobody leaves, nothing is lost', FLAGS, async (c) => {
  const done = new Set();
  await goesOn(c, async (partition) => {
    const [at] = await c.engine.place(partition);
    if (done.has(at)) return;
    done.add(at);
    await c.engine.failOver(at, { lags: true });
  });
  const metrics = await Promise.all(c.nodes.map((node) => node.http.metrics()));
  const restored = metrics.map((of) => of.get('broker_engine_restored_logs_total'));
  assert.ok(restored.some((logs) => logs > 0), 'the nodes have put logs back');
}, OPTIONS);

cluster('in a Redis Cluster, slots move under load: nobody leaves, nothing is lost', FLAGS, async (c) => {
  await goesOn(c, async (partition) => c.engine.move(await c.engine.place(partition)));
  const metrics = await Promise.all(c.nodes.map((node) => node.http.metrics()));
  for (const of of metrics) assert.equal(of.get('broker_engine_restored_logs_total'), 0);
}, OPTIONS);
