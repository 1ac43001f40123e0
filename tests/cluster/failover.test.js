// Another server takes the place of Redis: a replica that lacks the newest writes, or one that takes none.

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { GONE, ROOM, TTL, cluster } from './support/cluster.js';
import { LONG, byName, nothingIsLost } from './support/failover.js';
import { Load } from './support/load.js';
import { RedisPair } from './support/sentinel.js';

cluster('a Sentinel makes a replica the primary that lacks the newest writes: nobody leaves, nothing is lost', LONG, async (c, a, b, d) => {
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  await c.members(b, ['bob']);
  const load = Load.on(c);
  await pass(300);
  await c.engine.leaveBehind();
  await pass(300);
  await d.http.publish(ROOM, 'only the old primary has it');
  await d.put('lamp');
  await c.engine.failOver();
  await Promise.all(c.nodes.map((node) => until(
    () => node.http.publish(ROOM, 'after').then(() => true, () => false),
    'publications are taken again',
    15_000,
  )));
  await nothingIsLost(c, watchers, load);
  for (const id of ['ann', 'bob', 'lamp']) assert.ok((await a.http.ids(ROOM)).includes(id), id);
  for (const { publications } of watchers) {
    assert.ok(publications.some(([, , message]) => message === 'only the old primary has it'));
  }
}, { engines: [RedisPair] });

cluster('a name that leads to a replica: changes are refused, nobody leaves, until it leads to the primary', { 'engine-timeout': '1s' }, async (c) => {
  const { primary, replica, leadTo } = await byName(c);
  const [a] = c.nodes;
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  leadTo(replica);
  const { status } = await a.http.post('/_broadcast', { stream: ROOM, data: '"refused"' });
  assert.equal(status, 503);
  await Promise.all(c.nodes.map((node) => node.isHealthy(503)));
  await pass(GONE + TTL);
  for (const { broker } of c.nodes) assert.match(broker.log, /is a replica/);
  leadTo(primary);
  await until(() => a.http.publish(ROOM, 'after').then(() => true, () => false), 'publications are taken again');
  await pass(GONE + TTL);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, []);
}, { nodes: 0 });
