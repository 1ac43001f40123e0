// The presence TTL over nodes: who comes back in time at any node never left.

import assert from 'node:assert/strict';
import { cableTo, cut, follow, next } from '../clients/support/anycable.js';
import { pass } from '../clients/support/patience.js';
import { phoenixIn } from '../clients/support/phoenix.js';
import { eventsIn } from '../clients/support/events.js';
import { chatterIn } from '../clients/support/chat.js';
import { identify } from '../clients/support/socket.js';
import { ROOM, TTL, cluster, leaveBetween } from './support/cluster.js';

/** Long enough to come back on a busy machine. */
const LONG = 4000;

cluster('who comes back at another node within the TTL never left', { 'presence-ttl': `${LONG}ms` }, async (c, a, b, d) => {
  const watchers = await c.watchers();
  const { ann: [ann], bob: [bob] } = await c.members(a, ['ann', 'bob']);
  const phoenix = await phoenixIn(a, ROOM, 'phoenix');
  const chat = await chatterIn(a, ROOM, 'chat');
  await c.lists(['ann', 'bob', 'phoenix', 'chat']);
  const since = performance.now();
  ann.terminate();
  await bob.close();
  phoenix.client.disconnect();
  chat.terminate();
  await b.member(ROOM, 'ann');
  await d.member(ROOM, 'bob');
  await phoenixIn(b, ROOM, 'phoenix');
  await (await b.open('/chat', { protocols: [] })).send({ type: 'join', room: ROOM, username: 'chat' });
  assert.ok(performance.now() - since < LONG, 'they are back in time');
  await pass(since + LONG + 1000 - performance.now());
  await c.check(watchers);
  for (const { leaves, events } of watchers) {
    assert.deepEqual(leaves, []);
    assert.equal(events.filter(({ type }) => type === 'join').length, 4);
  }
  await c.lists(['ann', 'bob', 'phoenix', 'chat']);
});

cluster('the client of AnyCable that comes back at another node never left', { 'presence-ttl': `${LONG}ms` }, async (c, a, b) => {
  const watchers = await c.watchers();
  const cable = cableTo(a);
  const channel = await follow(cable, ROOM);
  await channel.presence.join('ann', {});
  await Promise.all(watchers.map((watcher) => watcher.hears('join', 'ann')));
  const since = performance.now();
  const again = next(channel, 'connect');
  cable.transport.url = b.broker.url();
  cut(cable);
  await again;
  await a.connections(1); // its watcher
  await pass(since + LONG + 1000 - performance.now());
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, []);
  await c.lists(['ann']);
});

cluster('who doesn’t come back leaves once, when the TTL is over', {}, async (c, a) => {
  const watchers = await c.watchers();
  const { ann: [ann], bob: [bob] } = await c.members(a, ['ann', 'bob', 'stays']);
  await c.lists(['ann', 'bob', 'stays']);
  const since = performance.now();
  ann.terminate();
  bob.ws.close();
  await leaveBetween(watchers, ['ann', 'bob'], since, TTL, TTL);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.equal(leaves.length, 2);
});

cluster('events are told to all at the end of a TTL, whatever they speak', {}, async (c, a, b, d) => {
  const chat = await chatterIn(b, ROOM, 'chat');
  const events = await eventsIn(d, ROOM);
  const phoenix = await phoenixIn(b, ROOM, 'phoenix');
  const { ann: [ann] } = await c.members(a, ['ann']);
  await phoenix.sees({ ann: 1, chat: 1, phoenix: 1 });
  ann.terminate();
  await chat.hears({ type: 'user_left', username: 'ann' });
  assert.equal((await events.hearsPresence('leave')).id, 'ann');
  await phoenix.sees({ chat: 1, phoenix: 1 });
});

cluster('a session that is resumed is told what happened at other nodes meanwhile', { 'presence-ttl': `${LONG}ms` }, async (c, a, b, d) => {
  const watchers = await c.watchers();
  const { ann: [ann] } = await c.members(a, ['ann']);
  await b.http.publish(ROOM, 'before');
  const { epoch } = await ann.hears({ message: 'before' });
  ann.terminate();
  await a.connections(1); // its watcher
  await b.member(ROOM, 'bob');
  await d.http.publish(ROOM, 'meanwhile');
  await d.put('lamp');
  await d.kick('lamp');
  await Promise.all(watchers.map((watcher) => watcher.hearsLeave('lamp')));
  const back = await a.open(`/cable?sid=${ann.sid}`);
  const identifier = identify(ROOM);
  assert.deepEqual((await back.hears({ type: 'welcome' })).restored_ids, [identifier]);
  const streams = { [ROOM]: { epoch, offset: 1 } };
  back.send({ command: 'history', identifier, history: { streams } });
  assert.equal((await back.hears({ identifier, message: 'meanwhile' })).offset, 2);
  assert.equal((await back.hearsPresence(identifier, 'join')).id, 'bob');
  assert.deepEqual((await back.list(identifier)).map(({ id }) => id), ['ann', 'bob']);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, ['lamp']);
});
