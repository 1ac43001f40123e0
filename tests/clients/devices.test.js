// One member with several sessions: tabs, devices, two subscriptions of one page.

import assert from 'node:assert/strict';
import { phoenixIn } from './support/phoenix.js';
import { scenario } from './support/scenario.js';

scenario('the second session of a member is told to nobody', {}, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  await s.member('room', 'ann', { n: 1 });
  const [second] = await s.subscriber('room');
  second.join(identifier, 'ann', { n: 1 });
  assert.deepEqual(await second.list(identifier), [{ id: 'ann', info: { n: 1 } }]);
  await observer.settle(identifier);
  await observer.hearsPresence(identifier, 'join');
  observer.hearsNothing();
  second.hearsNothing();
});

scenario('a member leaves with the last of its sessions', {}, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const devices = [];
  for (let n = 0; n < 3; n += 1) devices.push((await s.member('room', 'ann', 1))[0]);
  await observer.hearsPresence(identifier, 'join');
  for (const device of devices.slice(0, 2)) {
    device.leave(identifier);
    await device.settle(identifier);
    device.hearsNothing('a leave that is not the last is silent');
  }
  await observer.settle(identifier);
  observer.hearsNothing();
  devices[2].leave(identifier);
  await observer.hearsPresence(identifier, 'leave');
});

const SHORT = { 'presence-ttl': '300ms' };
scenario('leaving, unsubscribing and disconnecting count alike', SHORT, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [leaver] = await s.member('room', 'ann', 1);
  const [unsubscriber] = await s.member('room', 'ann', 1);
  const [closer] = await s.member('room', 'ann', 1);
  const [last] = await s.member('room', 'ann', 1);
  await observer.hearsPresence(identifier, 'join');
  leaver.leave(identifier);
  unsubscriber.unsubscribe(identifier);
  await closer.close();
  await s.counts({ broker_presence_records: 1 });
  await observer.settle(identifier);
  observer.hearsNothing();
  assert.equal(await observer.count(identifier), 1);
  last.terminate();
  await observer.hearsPresence(identifier, 'leave');
});

scenario('two subscriptions of one session to one stream are two records', {}, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const socket = await s.socket();
  const left = await socket.subscribe('room', { pane: 'left' });
  const right = await socket.subscribe('room', { pane: 'right' });
  socket.join(left, 'ann', 1);
  socket.join(right, 'ann', 1);
  await observer.hearsPresence(identifier, 'join');
  assert.equal(await socket.count(right), 1);
  socket.unsubscribe(left);
  assert.equal(await socket.count(right), 1);
  await observer.settle(identifier);
  observer.hearsNothing();
  socket.unsubscribe(right);
  await observer.hearsPresence(identifier, 'leave');
});

scenario('both subscriptions of one session hear of others', {}, async (s) => {
  const socket = await s.socket();
  const left = await socket.subscribe('room', { pane: 'left' });
  const right = await socket.subscribe('room', { pane: 'right' });
  await s.member('room', 'ann', 1);
  for (const pane of [left, right]) {
    assert.equal((await socket.hearsPresence(pane, 'join')).id, 'ann');
  }
});

scenario('two subscriptions of one session may be two members', {}, async (s) => {
  const socket = await s.socket();
  const left = await socket.subscribe('room', { pane: 'left' });
  const right = await socket.subscribe('room', { pane: 'right' });
  socket.join(left, 'ann', 1);
  socket.join(right, 'bob', 2);
  const both = [{ id: 'ann', info: 1 }, { id: 'bob', info: 2 }];
  assert.deepEqual(await socket.list(right), both);
  socket.leave(left);
  assert.deepEqual(await socket.list(right), both.slice(1));
});

scenario('one member in two streams leaves each by itself', {}, async (s) => {
  const socket = await s.socket();
  const one = await socket.subscribe('room/1');
  const two = await socket.subscribe('room/2');
  socket.join(one, 'ann', 1);
  socket.join(two, 'ann', 1);
  await socket.hearsPresence(one, 'join');
  await socket.hearsPresence(two, 'join');
  socket.leave(one);
  await socket.hearsPresence(one, 'leave');
  assert.equal(await socket.count(two), 1);
  socket.hearsNothing();
});

scenario('a member is what the session that changed last says', {}, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [phone] = await s.member('room', 'ann', 'on the phone');
  const [laptop] = await s.subscriber('room');
  await observer.hearsPresence(identifier, 'join');
  laptop.join(identifier, 'ann', 'at the desk');
  const update = (info) => ({ type: 'update', id: 'ann', info });
  assert.deepEqual(await observer.hearsPresence(identifier, 'update'), update('at the desk'));
  phone.join(identifier, 'ann', 'walking');
  assert.deepEqual(await observer.hearsPresence(identifier, 'update'), update('walking'));
  assert.deepEqual(await observer.list(identifier), [{ id: 'ann', info: 'walking' }]);
});

scenario('when the session that spoke last leaves, the one before is heard again', {}, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [phone] = await s.member('room', 'ann', 'on the phone');
  const [laptop] = await s.member('room', 'ann', 'at the desk');
  await observer.hearsPresence(identifier, 'join');
  await observer.hearsPresence(identifier, 'update');
  laptop.leave(identifier);
  const back = await observer.hearsPresence(identifier, 'update');
  assert.deepEqual(back, { type: 'update', id: 'ann', info: 'on the phone' });
  assert.deepEqual(await phone.list(identifier), [{ id: 'ann', info: 'on the phone' }]);
  observer.hearsNothing();
});

scenario('when a session leaves that had not spoken last, nothing is heard', {}, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [phone] = await s.member('room', 'ann', 'on the phone');
  await s.member('room', 'ann', 'at the desk');
  await observer.hearsPresence(identifier, 'join');
  await observer.hearsPresence(identifier, 'update');
  phone.leave(identifier);
  await phone.settle(identifier);
  assert.deepEqual(await observer.list(identifier), [{ id: 'ann', info: 'at the desk' }]);
  observer.hearsNothing();
});

scenario('an info that expires gives way to the one before', SHORT, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  await s.member('room', 'ann', 'on the phone');
  const [laptop] = await s.member('room', 'ann', 'at the desk');
  await observer.hearsPresence(identifier, 'join');
  await observer.hearsPresence(identifier, 'update');
  laptop.terminate();
  const back = await observer.hearsPresence(identifier, 'update');
  assert.deepEqual(back, { type: 'update', id: 'ann', info: 'on the phone' });
});

scenario('sessions with equal infos come and go without an update', {}, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [phone] = await s.member('room', 'ann', { n: 1 });
  const [laptop] = await s.member('room', 'ann', { n: 1 });
  await observer.hearsPresence(identifier, 'join');
  laptop.leave(identifier);
  await laptop.settle(identifier);
  await observer.settle(identifier);
  observer.hearsNothing();
  assert.equal(await phone.count(identifier), 1);
});

for (const ttl of ['0s', '1s']) {
  scenario(`who joins anew as their session can't be resumed is one device (--sessions-ttl ${ttl})`, { 'sessions-ttl': ttl, 'presence-ttl': '60s' }, async (s) => {
    const watcher = await phoenixIn(s, 'room', 'watcher');
    const [ann] = await s.member('room', 'ann', 1);
    await watcher.sees({ watcher: 1, ann: 1 });
    ann.terminate();
    await s.counts({ broker_subscriptions: 1, broker_sessions_parked: ttl === '0s' ? 0 : 1 });
    await s.counts({ broker_sessions_parked: 0 });
    await s.http.users('room'); // in the turn of which the stream forgets the session, if not before
    await s.member('room', 'ann', 1);
    await s.counts({ broker_presence_records: 2 });
    await watcher.sees({ watcher: 1, ann: 1 });
  });
}
