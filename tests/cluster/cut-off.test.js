// A node that is cut off from the engine while the others aren't: to them it is as one that was killed, and when it is
// back, its living connections join again.

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { Load } from './support/load.js';
import { EACH, GONE, ROOM, THERE, TTL, cluster, leaveBetween } from './support/cluster.js';

const QUICK = { 'engine-timeout': '1s' };

/** Ways to lose a connection, and not to get another one. */
const CUTS = {
  'without a word'(tunnel) {
    tunnel.lose();
    tunnel.shut();
  },
  'by a reset'(tunnel) {
    tunnel.shut();
    tunnel.reset();
  },
};

/** Ways to lose one of the two connections to Redis. */
const HALVES = {
  'as it appends': (tunnel) => tunnel.lose('asking'),
  'as it listens': (tunnel) => tunnel.lose('subscribed'),
};

for (const [how, cut] of Object.entries({ ...CUTS, ...HALVES })) {
  cluster(`a node that is cut off ${how} for longer than lease and TTL`, QUICK, async (c, b, d) => {
    const [a, tunnel] = await c.addBehindTunnel();
    const others = await c.watchers([b, d]);
    const own = await a.watcher();
    await c.members(a, ['ann', 'bob']);
    await c.members(b, ['dan']);
    await c.lists(['ann', 'bob', 'dan']);
    const since = performance.now();
    cut(tunnel);
    await leaveBetween(others, ['ann', 'bob'], since, THERE + TTL, GONE + TTL + 1000);
    await b.http.publish(ROOM, 'meanwhile');
    assert.ok(own.isOpen, 'its clients stay');
    await b.member(ROOM, 'eve');
    tunnel.open();
    await Promise.all(others.map((watcher) => watcher.hears('join', 'ann')));
    await a.isHealthy();
    await pass(GONE + TTL + 500);
    await c.lists(['ann', 'bob', 'dan', 'eve']);
    await own.hearsPublication('meanwhile');
    await own.isRight();
    await c.check(others);
    for (const { leaves } of others) assert.deepEqual([...leaves].sort(), ['ann', 'bob']);
  }, { nodes: 2, engines: how === 'without a word' ? EACH : undefined });
}

cluster('a node that is cut off for less than its lease is missed by nobody', { ...QUICK, 'node-lease': '5s' }, async (c, b) => {
  const [a, tunnel] = await c.addBehindTunnel();
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  const load = Load.on(c, [a, b]);
  for (const cut of Object.values(CUTS)) {
    await pass(500);
    cut(tunnel);
    await pass(500);
    tunnel.open();
  }
  await pass(2000);
  await load.end();
  await c.check(watchers);
  for (const watcher of watchers) {
    load.isIn(watcher);
    assert.ok(!watcher.leaves.includes('ann'));
  }
}, { nodes: 1 });

cluster('a node that is cut off says so from its lease on, and turns changes away', QUICK, async (c, b) => {
  const [a, tunnel] = await c.addBehindTunnel();
  const [ann, identifier] = await a.member(ROOM, 'ann');
  tunnel.lose();
  tunnel.shut();
  await a.isHealthy(503, GONE + 3000);
  assert.equal((await a.http.request('/live')).status, 200);
  assert.equal(await b.broker.health(), 200, 'the other one is well');
  const { status, text } = await a.http.post('/_broadcast', { stream: ROOM, data: '1' });
  assert.equal(status, 503, text);
  assert.equal(ann.ws.readyState, ann.ws.OPEN, 'its clients stay');
  tunnel.open();
  await a.isHealthy();
  await ann.settle(identifier);
  await until(async () => (await b.http.ids(ROOM)).includes('ann'), 'ann is there again');
}, { nodes: 1 });

cluster('whose connection ended while its node was cut off doesn’t join again', QUICK, async (c, b) => {
  const [a, tunnel] = await c.addBehindTunnel();
  const watchers = await c.watchers([b]);
  const { cid: [cid] } = await c.members(a, ['ann', 'cid']);
  const since = performance.now();
  tunnel.shut();
  tunnel.reset();
  await leaveBetween(watchers, ['ann', 'cid'], since, THERE + TTL, GONE + TTL + 1000);
  cid.terminate();
  await a.connections(1);
  await pass(TTL + 500); // for its node, too, its time is over
  tunnel.open();
  await Promise.all(watchers.map((watcher) => watcher.hears('join', 'ann')));
  await pass(GONE + TTL + 500);
  await c.check(watchers);
  for (const { events } of watchers) {
    const story = events.filter(({ id }) => id === 'cid').map(({ type }) => type);
    assert.deepEqual(story, ['join', 'leave']);
  }
  await c.lists(['ann']);
}, { nodes: 1 });

cluster('what was refused while its node was cut off never happens', QUICK, async (c, b) => {
  const [a, tunnel] = await c.addBehindTunnel();
  const watchers = await c.watchers([b]);
  const own = await a.watcher();
  await c.members(a, ['ann']);
  await c.members(b, ['dan']);
  tunnel.lose();
  tunnel.shut();
  const refused = await Promise.all([
    a.put('late'),
    a.kick('dan'),
    a.http.post('/_broadcast', { stream: ROOM, data: '"late"' }),
  ]);
  for (const { status, text } of refused) assert.equal(status, 503, text);
  await Promise.all(watchers.map((watcher) => watcher.hearsLeave('ann')));
  assert.deepEqual(own.publications, [], 'its own clients aren’t told what the others aren’t');
  assert.ok(!own.events.some(({ id, type }) => id === 'late' || type === 'leave'));
  tunnel.open();
  await Promise.all(watchers.map((watcher) => watcher.hears('join', 'ann')));
  await until(() => a.http.publish(ROOM, 'now').then(() => true, () => false), 'publications are taken again');
  for (const watcher of watchers) await watcher.hearsPublication('now');
  await c.lists(['ann', 'dan']);
  await c.check(watchers);
  for (const { events, publications } of watchers) {
    assert.ok(!events.some(({ id }) => id === 'late'));
    assert.ok(!publications.some(([, , message]) => message === 'late'));
  }
}, { nodes: 1 });
