// Nodes with a secret, in a Redis in which somebody else writes, too.

import assert from 'node:assert/strict';
import { pass } from '../clients/support/patience.js';
import { GONE, TTL, cluster } from './support/cluster.js';
import { Intruder } from './support/intruder.js';
import { Load } from './support/load.js';

const SECRET = { 'cluster-secret': 'a secret of thirty-three letters' };

const forged = 'broker_cluster_refused_batches_total{reason="forged"}';

cluster('somebody appends garbage and forged batches all the time: nobody sees anything of it', SECRET, async (c, a, b) => {
  const watchers = await c.watchers();
  const intruder = Intruder.on(c);
  await c.members(a, ['ann']);
  await c.members(b, ['bob']);
  const load = Load.on(c);
  await pass(1500);
  const late = await c.add();
  assert.equal((await late.put('cid')).status, 201);
  await pass(1500);
  await load.end();
  await pass(GONE + TTL + 500);
  await c.check(watchers);
  await intruder.end();
    for (const watcher of watchers) {
    const ids = watcher.members.map(({ id }) => id).filter((id) => !id.startsWith('guest'));
    assert.deepEqual(ids.sort(), ['ann', 'bob', 'cid']);
    load.isIn(watcher);
    assert.deepEqual(watcher.leaves.filter((id) => !id.startsWith('guest')), []);
  }
  for (const node of c.nodes) {
    await node.isHealthy();
    const metrics = await node.http.metrics();
    assert.ok(metrics.get(forged) > 500, `${metrics.get(forged)} of ${intruder.count} were noticed`);
    assert.equal(metrics.get('broker_cluster_forks_total'), 0);
    const lines = node.broker.log.split('\n').filter((line) => line.includes('batch skipped'));
    assert.ok(lines.length > 0 && lines.length < 5, lines.join('\n'));
  }
});
