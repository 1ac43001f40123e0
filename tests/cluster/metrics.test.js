// What nodes tell of each other, and of the log.

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { GONE, ROOM, cluster } from './support/cluster.js';

const departures = (cause) => `broker_cluster_departures_total{cause="${cause}"}`;

cluster('nodes count who is there, who stops, who dies, and how often they were believed dead', {}, async (c, a, b, d) => {
  await Promise.all(c.nodes.map((node) => node.counts({ broker_cluster_members: 3, broker_engine_connected: 1 })));
  await a.stop();
  for (const node of [b, d]) {
    await node.counts({ broker_cluster_members: 2, [departures('stopped')]: 1, [departures('dead')]: 0 });
  }
  await a.begin();
  await Promise.all(c.nodes.map((node) => node.counts({ broker_cluster_members: 3 })));
  await d.broker.pause();
  await pass(GONE);
  for (const node of [a, b]) await node.counts({ broker_cluster_members: 2, [departures('dead')]: 1 });
  d.broker.kill('SIGCONT');
  await Promise.all(c.nodes.map((node) => node.counts({ broker_cluster_members: 3 })));
  await d.counts({ broker_cluster_exclusions_total: 1, [departures('dead')]: 0 });
  for (const node of [a, b]) await node.counts({ broker_cluster_exclusions_total: 0 });
});

cluster('changes are counted where they are appended, and are in the log of all', {}, async (c, a, b) => {
  const before = await Promise.all(c.nodes.map((node) => node.http.metrics()));
  const information = 'x'.repeat(2000);
  for (let n = 0; n < 20; n += 1) await a.put(`m${n}`, { info: { information } });
  await c.lists(Array.from({ length: 20 }, (_, n) => `m${n}`), { stream: ROOM });
  const after = await Promise.all(c.nodes.map((node) => node.http.metrics()));
  const grown = (name) => after.map((metrics, at) => metrics.get(name) - before[at].get(name));
  const [sent, others] = grown('broker_engine_batch_bytes_sum');
  assert.ok(sent > 40_000, `${sent} bytes were appended by the node that was asked`);
  assert.ok(others < 5_000, `${others} by the other one`);
  for (const bytes of grown('broker_engine_log_bytes')) assert.ok(bytes > 40_000, `the log has ${bytes} bytes more`);
  for (const metrics of after) {
    const [sum, count] = ['sum', 'count'].map((end) => metrics.get(`broker_engine_tail_lag_seconds_${end}`));
    assert.ok(count > 0 && sum / count < 0.5, `batches are applied ${sum / count} s late`);
  }
}, { nodes: 2 });

cluster('a snapshot is counted by the node that wrote it, and noticed by the other', {}, async (c, a) => {
  const all = () => Promise.all(c.nodes.map((node) => node.http.metrics()));
  const before = await all();
  const information = 'x'.repeat(2000);
  for (let n = 0; n < 150; n += 1) await a.put('ann', { info: { information, n } }); // over 256 KiB
  const noticed = 'broker_engine_snapshot_time_seconds';
  const after = await until(async () => {
    const metrics = await all();
    return metrics.every((node, at) => node.get(noticed) > before[at].get(noticed)) && metrics;
  }, 'both nodes notice a snapshot');
  const values = (name) => after.map((metrics) => metrics.get(name)).sort((one, other) => one - other);
  assert.deepEqual(values('broker_engine_snapshot_seconds_count'), [0, 1]);
  assert.ok(values('broker_engine_snapshot_bytes')[1] > 2000, 'the size of the one who wrote it');
  assert.deepEqual(values('broker_engine_snapshot_failures_total'), [0, 0]);
  await Promise.all(c.nodes.map((node) => node.metrics(
    (metrics) => metrics.get('broker_engine_log_bytes') < 100_000,
    'the log is short again',
  )));
}, { nodes: 2 });
