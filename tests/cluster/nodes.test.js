// Nodes that are killed, stopped and paused: their members leave once, when it is time, and nobody else does.

import assert from 'node:assert/strict';
import { chatterIn } from '../clients/support/chat.js';
import { eventsIn } from '../clients/support/events.js';
import { pass } from '../clients/support/patience.js';
import { phoenixIn } from '../clients/support/phoenix.js';
import { identify } from '../clients/support/socket.js';
import { EACH, EARLY, GONE, ROOM, THERE, TTL, cluster, leaveBetween } from './support/cluster.js';

cluster('members of a killed node leave once, after its lease and the TTL', {}, async (c, a, b, d) => {
  const watchers = await c.watchers([b, d]);
  await c.members(a, ['ann', 'bob']);
  await c.members(b, ['stays']);
  await c.lists(['ann', 'bob', 'stays']);
  const since = performance.now();
  await a.kill();
  await leaveBetween(watchers, ['ann', 'bob'], since, THERE + TTL, GONE + TTL + 1000);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual([...leaves].sort(), ['ann', 'bob']);
  await c.lists(['stays'], { nodes: [b, d] });
}, { engines: EACH });

cluster('of a killed node, who comes back at another never left', { 'presence-ttl': '3s' }, async (c, a, b, d) => {
  const watchers = await c.watchers([b, d]);
  await c.members(a, ['soon', 'late', 'never']);
  const phoenix = await phoenixIn(a, ROOM, 'phoenix');
  await phoenix.sees({ soon: 1, late: 1, never: 1, phoenix: 1 });
  const since = performance.now();
  await a.kill();
  phoenix.client.disconnect();
  await b.member(ROOM, 'soon');
  await phoenixIn(d, ROOM, 'phoenix');
  await pass(since + GONE + 500 - performance.now()); // the node is gone, the TTL runs
  await d.member(ROOM, 'late');
  await leaveBetween(watchers, ['never'], since, THERE + 3000, GONE + 3000 + 1000);
  await c.check(watchers);
  for (const { leaves, events } of watchers) {
    assert.deepEqual(leaves, ['never']);
    assert.equal(events.filter(({ type }) => type === 'join').length, 4);
  }
});

cluster('a member of a killed node that has a client at another stays', {}, async (c, a, b, d) => {
  const watchers = await c.watchers([b, d]);
  await c.members(a, ['ann', 'bob']);
  await c.members(d, ['ann']);
  const since = performance.now();
  await a.kill();
  await leaveBetween(watchers, ['bob'], since, THERE + TTL, GONE + TTL + 1000);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, ['bob']);
});

cluster('a node that is killed and starts again at once is another node', {}, async (c, a, b, d) => {
  const watchers = await c.watchers([b, d]);
  await c.members(a, ['ann', 'bob']);
  const since = performance.now();
  await a.kill();
  await a.begin();
  await a.member(ROOM, 'ann');
  await leaveBetween(watchers, ['bob'], since, THERE + TTL, GONE + TTL + 1000);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, ['bob']);
  await c.lists(['ann']);
});

cluster('of two nodes one is killed: the last one notices', {}, async (c, a, b) => {
  const watchers = await c.watchers([b]);
  await c.members(a, ['ann']);
  const since = performance.now();
  await a.kill();
  await leaveBetween(watchers, ['ann'], since, THERE + TTL, GONE + TTL + 1000);
  await c.check(watchers);
}, { nodes: 2 });

cluster('all nodes are killed: their members leave for the one that starts then', {}, async (c, a, b) => {
  await c.members(a, ['ann']);
  await c.members(b, ['bob']);
  await Promise.all([a.kill(), b.kill()]);
  await a.begin();
  const watcher = await a.watcher();
  const since = performance.now();
  assert.deepEqual(watcher.members.map(({ id }) => id), ['ann', 'bob']);
  await leaveBetween([watcher], ['ann', 'bob'], since, 0, GONE + TTL + 1000);
  await c.check([watcher]);
}, { nodes: 2 });

cluster('members of a stopped node leave when the TTL is over', {}, async (c, a, b, d) => {
  const watchers = await c.watchers([b, d]);
  const { ann: [ann] } = await c.members(a, ['ann', 'bob']);
  await c.lists(['ann', 'bob']);
  const since = performance.now();
  const closing = ann.closing();
  await a.stop();
  assert.equal((await closing).code, 1001);
  await leaveBetween(watchers, ['ann', 'bob'], since, TTL, TTL);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual([...leaves].sort(), ['ann', 'bob']);
}, { engines: EACH });

for (const [how, end, from] of [
  ['killed', (node) => node.kill(), TTL], // the crowd keeps it from beating
  ['stopped', (node) => node.stop(), TTL],
]) {
  cluster(`a crowd leaves once when its node is ${how}, in one order`, {}, async (c, a, b, d) => {
    const watchers = await c.watchers([b, d]);
    const chat = await chatterIn(b, ROOM, 'chat');
    const events = await eventsIn(d, ROOM);
    const socket = await a.socket();
    const crowd = Array.from({ length: 100 }, (_, n) => `m${n}`); // each hears of all: more would be too slow a client
    for (const id of crowd) {
      const identifier = identify(ROOM, { id });
      socket.send({ command: 'subscribe', identifier, presence: { id, info: { id } } });
    }
    await c.lists(['chat', ...crowd]);
    const since = performance.now();
    await end(a);
    await leaveBetween(watchers, crowd, since, from, GONE + TTL + 1000);
    await c.check(watchers);
    for (const { leaves, members } of watchers) {
      assert.deepEqual([...leaves].sort(), [...crowd].sort());
      assert.deepEqual(members.map(({ id }) => id), ['chat']);
    }
    await chat.hears({ type: 'user_left', users: ['chat'] });
    for (const _ of crowd) await events.hearsPresence('leave');
  });
}

cluster('the lease isn’t waited for when a node stops', { 'node-lease': '30s' }, async (c, a, b, d) => {
  const watchers = await c.watchers([b, d]);
  await c.members(a, ['ann', 'bob']);
  await c.lists(['ann', 'bob']);
  const since = performance.now();
  await a.stop();
  await b.member(ROOM, 'ann');
  await leaveBetween(watchers, ['bob'], since, TTL, TTL);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, ['bob']);
});

cluster('a pause shorter than the lease is noticed by nobody', { 'node-lease': '3s' }, async (c, a, b, d) => {
  const watchers = await c.watchers();
  const { ann: [ann, identifier] } = await c.members(a, ['ann', 'bob']);
  await c.members(b, ['cid']);
  await a.broker.pause();
  ann.leave(identifier);
  await pass(1500);
  await b.http.publish(ROOM, 'meanwhile');
  a.broker.kill('SIGCONT');
  await Promise.all(watchers.map((watcher) => watcher.hearsLeave('ann')));
  await pass(TTL + 1000);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, ['ann']);
  await c.lists(['bob', 'cid']);
});

cluster('after a pause beyond lease and TTL, those still connected join again', {}, async (c, a, b, d) => {
  const watchers = await c.watchers();
  const others = watchers.slice(1);
  const { ann: [ann, annIn], bob: [bob] } = await c.members(a, ['ann', 'bob']);
  await c.members(b, ['cid']);
  const since = performance.now();
  await a.broker.pause();
  await leaveBetween(others, ['ann', 'bob'], since, THERE + TTL, GONE + TTL + 1000);
  await b.http.publish(ROOM, 'meanwhile');
  await d.member(ROOM, 'dan');
  bob.terminate(); // is not there any more when its node goes on
  a.broker.kill('SIGCONT');
  await Promise.all(others.map((watcher) => watcher.hears('join', 'ann')));
  await pass(GONE + TTL + 500);
  await c.lists(['ann', 'cid', 'dan']);
  assert.equal(await ann.count(annIn), 3);
  await Promise.all(watchers.map((watcher) => watcher.hearsPublication('meanwhile')));
  for (const watcher of watchers) await watcher.isRight();
  await c.check(others);
  ann.leave(annIn);
  await Promise.all(watchers.map((watcher) => watcher.hearsLeave('ann')));
  await c.lists(['cid', 'dan']);
}, { engines: EACH });

cluster('a pause beyond the lease but within the TTL is noticed by nobody', { 'presence-ttl': '4s' }, async (c, a, b) => {
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  await c.members(b, ['bob']);
  await a.broker.pause();
  await pass(GONE + 1000);
  a.broker.kill('SIGCONT');
  await a.isHealthy();
  await pass(4000 + 1000);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, []);
  await c.lists(['ann', 'bob']);
});

cluster('what a paused node was told to do is done once or refused', {}, async (c, a, b) => {
  const watchers = await c.watchers();
  const [ann, identifier] = await a.subscriber(ROOM);
  await a.broker.pause();
  ann.join(identifier, 'ann', {});
  ann.whisper(identifier, 'whisper');
  const published = a.http.post('/_broadcast', { stream: ROOM, data: '"late"' }).catch((error) => error);
  await pass(GONE + TTL + 500);
  a.broker.kill('SIGCONT');
  const { status } = await published;
  await Promise.all(watchers.map((watcher) => watcher.hears('join', 'ann')));
  await a.isHealthy();
  await c.check(watchers);
  for (const { publications } of watchers) {
    const times = publications.filter(([, , message]) => message === 'late').length;
    assert.ok(status === 201 ? times === 1 : times <= 1, `answered ${status}, told ${times} times`);
  }
  await c.lists(['ann']);
});

cluster('two of three nodes are killed at once', {}, async (c, a, b, d) => {
  const watchers = await c.watchers([d]);
  await c.members(a, ['ann', 'both']);
  await c.members(b, ['bob', 'both']);
  await c.members(d, ['stays']);
  const since = performance.now();
  await Promise.all([a.kill(), b.kill()]);
  await leaveBetween(watchers, ['ann', 'bob', 'both'], since, THERE + TTL, GONE + TTL + 1000);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.equal(leaves.length, 3);
  await c.lists(['stays'], { nodes: [d] });
});

cluster('of a killed and a paused node, only the paused one’s members come back', {}, async (c, a, b, d) => {
  const watchers = await c.watchers([d]);
  await c.members(a, ['ann']);
  await c.members(b, ['bob']);
  const since = performance.now();
  await b.broker.pause();
  await a.kill();
  await leaveBetween(watchers, ['ann', 'bob'], since, THERE + TTL, GONE + TTL + 1000);
  b.broker.kill('SIGCONT');
  await Promise.all(watchers.map((watcher) => watcher.hears('join', 'bob')));
  await pass(GONE + TTL + 500);
  await c.check(watchers);
  await c.lists(['bob'], { nodes: [b, d] });
});

cluster('a node’s end and return are seen in every stream', {}, async (c, a, b) => {
  // in all partitions
  const streams = Array.from({ length: 200 }, (_, n) => `room/${n}`);
  const watcher = await b.socket();
  const member = await a.socket();
  for (const stream of streams) await watcher.subscribe(stream);
  for (const stream of streams) {
    member.send({ command: 'subscribe', identifier: identify(stream), presence: { id: 'ann', info: {} } });
  }
  const all = (type, ms) =>
    Promise.all(streams.map((stream) => watcher.hearsPresence(identify(stream), type, ms)));
  await all('join');
  let since = performance.now();
  await a.broker.pause();
  await all('leave', GONE + TTL + 3000);
  assert.ok(performance.now() - since >= THERE + TTL - EARLY, 'not before its time');
  a.broker.kill('SIGCONT');
  await all('join');
  await pass(GONE + TTL + 500);
  watcher.hearsNothing('ann is there');
  since = performance.now();
  await a.kill();
  await all('leave', GONE + TTL + 3000);
  assert.ok(performance.now() - since >= THERE + TTL - EARLY, 'not before its time');
  watcher.hearsNothing('each left once');
}, { nodes: 2 });

cluster('nodes that start at once never take each other for dead', {}, async (c, ...nodes) => {
  const watchers = await c.watchers();
  await Promise.all(nodes.map((node, at) => node.member(ROOM, `m${at}`)));
  await pass(GONE + TTL);
  await c.check(watchers);
  for (const { broker } of nodes) assert.doesNotMatch(broker.log, /a node is gone|believed this one dead/);
}, { nodes: 6 });
