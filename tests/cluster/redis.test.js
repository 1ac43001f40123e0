// A Redis that refuses, is slow or cuts off who is slow: as long as nothing can be appended, changes are refused and nobody
// leaves, and no client hears what others don't; afterwards all goes on by itself.

import assert from 'node:assert/strict';
import { pass } from '../clients/support/patience.js';
import { randomness } from '../clients/support/replay.js';
import { LEASE, ROOM, cluster } from './support/cluster.js';
import { Load } from './support/load.js';
import { refuses } from './support/refusals.js';

refuses('has no memory left');
refuses('permits no appends any more');
refuses('takes no clients any more');

cluster('Redis cuts off who reads too slowly, under load: nothing is lost, nothing comes twice', { 'engine-timeout': '10s', 'node-lease': '3s' }, async (c, a) => {
  await c.redis.command('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 64kb 32kb 1');
  const watchers = await c.watchers();
  await c.members(a, ['stays']);
  const load = Load.on(c);
  for (let n = 0; n < 5; n += 1) {
    await pass(300);
    await c.nodes[n % 3].http.publish(ROOM, { large: 'x'.repeat(200_000), n }, { transient: true });
  }
  await load.end();
  await c.check(watchers);
  for (const watcher of watchers) {
    load.isIn(watcher);
    assert.ok(!watcher.leaves.includes('stays'));
    assert.deepEqual(watcher.told.filter(({ message }) => message.large).map(({ message }) => message.n), [0, 1, 2, 3, 4]);
  }
  const faults = await Promise.all(c.nodes.map(async (node) => (await node.http.metrics()).get('broker_engine_reconnects_total')));
  assert.ok(faults.every((count) => count > 0), `connections were cut: ${faults}`);
});

cluster('Redis is half a second away, now and then: all comes later, nothing is refused', { 'node-lease': '5s' }, async (c) => {
  const random = randomness(7);
  const [a, b, d] = await Promise.all([1, 2, 3].map(async () => {
    const [node, tunnel] = await c.addBehindTunnel();
    tunnel.delay = () => (random(100) < 30 ? 500 : random(50));
    return node;
  }));
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  await c.members(b, ['bob']);
  const load = Load.on(c);
  await pass(3000);
  await load.end();
  assert.ok(!load.isRefused && load.doubtful.size === 0, 'nothing was refused');
  await c.check(watchers);
  for (const watcher of watchers) {
    load.isIn(watcher);
    assert.deepEqual(watcher.leaves.filter((id) => !id.startsWith('guest')), []);
  }
  for (const { broker } of c.nodes) assert.doesNotMatch(broker.log, /counts as dead|believed this one dead/);
  for (const node of [a, b, d]) assert.equal((await node.http.metrics()).get('broker_engine_reconnects_total'), 0);
}, { nodes: 0 });

cluster('a node that hardly gets to run is late, and nobody else is', { 'node-lease': '5s', 'engine-timeout': '10s' }, async (c, a, b, d) => {
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  await c.members(b, ['bob']);
  const load = Load.on(c, [b, d]);
  const other = watchers[1];
  const end = performance.now() + 3000;
  for (let n = 0; performance.now() < end; n += 1) {
    a.broker.kill('SIGSTOP');
    const since = performance.now();
    await d.http.publish(ROOM, { beside: n });
    await other.hearsPublication({ beside: n });
    assert.ok(performance.now() - since < LEASE + 1500, 'the others go on');
    await pass(Math.max(0, since + 270 - performance.now()));
    a.broker.kill('SIGCONT');
    await pass(30);
  }
  await load.end();
  await c.check(watchers);
  for (const watcher of watchers) {
    load.isIn(watcher);
    assert.deepEqual(watcher.leaves.filter((id) => !id.startsWith('guest')), []);
  }
  assert.equal((await a.http.metrics()).get('broker_cluster_exclusions_total'), 0, 'it was never believed dead');
});
