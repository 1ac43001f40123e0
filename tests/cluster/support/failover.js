// Another server takes the place of Redis.

import assert from 'node:assert/strict';
import { pass } from '../../clients/support/patience.js';
import { GONE, TTL } from './cluster.js';
import { Redis } from './redis.js';

/** Long enough for all nodes to be back when Redis is, on any machine: who isn't may have had more. */
export const LONG = { 'engine-timeout': '10s', 'node-lease': '5s' };

/** All nodes have what was lost, and put it back; nobody who stays was told to have left. */
export async function nothingIsLost(c, watchers, load) {
  await pass(500);
  await load.end();
  await pass(GONE + TTL);
  await c.check(watchers);
  for (const watcher of watchers) {
    load.isIn(watcher);
    assert.deepEqual(watcher.leaves.filter((id) => !id.startsWith('guest')), []);
    const epochs = new Set(watcher.publications.map(([epoch]) => epoch));
    assert.equal(epochs.size, 1, 'the history goes on');
  }
  const metrics = await Promise.all(c.nodes.map((node) => node.http.metrics()));
  assert.ok(metrics.some((of) => of.get('broker_engine_restored_logs_total') > 0), 'the nodes have put logs back');
  for (const of of metrics) assert.equal(of.get('broker_cluster_forks_total'), 0);
}

/** Nodes that look for Redis under a name that leads to a `primary`, and a `replica` of it. */
export async function byName(c) {
  const primary = c.redis;
  const replica = await Redis.start();
  c.cleanup(() => replica.end());
  await replica.replicates(primary);
  const behind = [await c.addBehindTunnel(), await c.addBehindTunnel(), await c.addBehindTunnel()];
  const tunnels = behind.map(([, tunnel]) => tunnel);
  const leadTo = ({ port }) => {
    for (const tunnel of tunnels) {
      tunnel.target = port;
      tunnel.reset();
    }
  };
  return { primary, replica, leadTo };
}
