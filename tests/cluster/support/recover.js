// What must hold when an engine loses data under load.

import assert from 'node:assert/strict';
import { pass } from '../../clients/support/patience.js';
import { GONE, TTL } from './cluster.js';
import { Load } from './load.js';

/** The engine loses data again and again: nobody who is connected leaves, nothing is lost, histories go on. */
export async function recover(c, a, lose) {
  const b = c.nodes.at(-1);
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  await c.members(b, ['bob']);
  const load = Load.on(c);
  for (let n = 0; n < 3; n += 1) {
    await pass(500);
    await lose(c.engine);
  }
  await pass(1000);
  await load.end();
  await pass(GONE + TTL + 500);
  await c.check(watchers);
  for (const watcher of watchers) {
    load.isIn(watcher);
    assert.deepEqual(watcher.leaves.filter((id) => !id.startsWith('guest')), []);
    const epochs = new Set(watcher.publications.map(([epoch]) => epoch));
    assert.equal(epochs.size, 1, 'the history goes on');
  }
  const metrics = await Promise.all(c.nodes.map((node) => node.http.metrics()));
  const restored = metrics.map((of) => of.get('broker_engine_restored_logs_total'));
  assert.ok(restored.some((logs) => logs > 0), 'the nodes have put logs back');
  for (const of of metrics) assert.equal(of.get('broker_cluster_forks_total'), 0);
  for (const node of c.nodes) await node.isHealthy();
}
