// Presence, whispers and history of the application's channels, which their state says the streams of.

import assert from 'node:assert/strict';
import { Channel } from '@anycable/core';
import { BASE, arrive, ask, askedOverEach, connect, enter, perform, shows } from './support/rpc/asked.js';
import { cableTo, comeBack, cut, next, WHEN_TOLD } from './support/anycable.js';
import { within } from './support/patience.js';

const ANN = { id: 'ann', info: { name: 'Ann' } };
/** A channel with presence and whispers in one stream. */
const ROOM = { does: { follow: ['room'], presence: 'room', whisper: 'room' } };
const present = (id, does = {}) => ({ n: id, does: { ...ROOM.does, join: { id, info: { name: id } }, ...does } });

askedOverEach('the application’s member joins behind the confirmation, and everybody learns of it', {}, async (s) => {
  const watcher = await connect(s, 'watcher', { protocol: BASE });
  const watched = await enter(watcher, ROOM);
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { ...ROOM, does: { ...ROOM.does, join: ANN } });
  assert.deepEqual(await socket.hearsPresence(identifier, 'join'), { type: 'join', ...ANN });
  assert.deepEqual(await watcher.hearsPresence(watched, 'join'), { type: 'join', ...ANN });
  assert.deepEqual(await watcher.list(watched), [ANN]);
  assert.deepEqual(await s.http.ids('room'), ['ann']);
});

askedOverEach('actions join, update and leave', {}, async (s) => {
  const watcher = await connect(s, 'watcher');
  const watched = await enter(watcher, ROOM);
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, ROOM);
  perform(socket, identifier, { join: ANN });
  assert.deepEqual(await watcher.hearsPresence(watched, 'join'), { type: 'join', ...ANN });
  perform(socket, identifier, { join: { id: 'ann', info: 'away' } });
  assert.deepEqual(await watcher.hearsPresence(watched, 'update'), { type: 'update', id: 'ann', info: 'away' });
  perform(socket, identifier, { leave: { id: 'ann' } });
  assert.deepEqual(await watcher.hearsPresence(watched, 'leave'), { type: 'leave', id: 'ann' });
  assert.deepEqual(await watcher.list(watched), []);
});

askedOverEach('whoever leaves the channel is absent at once', { 'presence-ttl': '1h' }, async (s) => {
  const watcher = await connect(s, 'watcher');
  const watched = await enter(watcher, ROOM);
  const socket = await connect(s, 'ann');
  for (const leaving of [{}, { fail: true }]) {
    const identifier = await enter(socket, { ...present('ann'), leaving });
    await watcher.hearsPresence(watched, 'join');
    socket.unsubscribe(identifier);
    await watcher.hearsPresence(watched, 'leave');
  }
});

askedOverEach('the application says how long its member outlives the connection', { 'presence-ttl': '1h' }, async (s) => {
  const watcher = await connect(s, 'watcher');
  const watched = await enter(watcher, ROOM);
  const [brief, lasting] = [await connect(s, 'ann'), await connect(s, 'bob')];
  await enter(brief, { ...ROOM, does: { ...ROOM.does, join: { ...ANN, ttl: 1 } } });
  await enter(lasting, present('bob'));
  for (const socket of [brief, lasting]) {
    await watcher.hearsPresence(watched, 'join');
    socket.terminate();
  }
  assert.equal((await watcher.hearsPresence(watched, 'leave')).id, 'ann');
  assert.deepEqual((await watcher.list(watched)).map(({ id }) => id), ['bob']);
});

askedOverEach('presence is about the stream that the state names, and moves with it', {}, async (s) => {
  const watchers = {};
  for (const stream of ['one', 'two']) {
    const socket = await connect(s, stream);
    watchers[stream] = [socket, await enter(socket, { does: { follow: [stream], presence: stream } })];
  }
  const hears = (stream, type) => watchers[stream][0].hearsPresence(watchers[stream][1], type);
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { does: { follow: ['talk'], presence: 'one', join: ANN } });
  await hears('one', 'join');
  perform(socket, identifier, { presence: 'two', join: ANN });
  await hears('one', 'leave');
  await hears('two', 'join');
  assert.deepEqual((await socket.list(identifier)).map(({ id }) => id), ['ann']);
  perform(socket, identifier, { presence: '' });
  await hears('two', 'leave');
  await s.http.publish('talk', 'still');
  await socket.hears({ identifier, message: 'still' });
});

askedOverEach('clients join, leave and list by themselves in the stream that the state names', {}, async (s) => {
  const watcher = await connect(s, 'watcher');
  const watched = await enter(watcher, ROOM);
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, ROOM);
  socket.join(identifier, 'ann', { name: 'Ann' });
  assert.deepEqual(await watcher.hearsPresence(watched, 'join'), { type: 'join', ...ANN });
  assert.deepEqual(await socket.list(identifier), [ANN]);
  socket.leave(identifier);
  await watcher.hearsPresence(watched, 'leave');
  await enter(socket, { ...ROOM, n: 2 }, { presence: ANN });
  assert.deepEqual(await watcher.hearsPresence(watched, 'join'), { type: 'join', ...ANN });
});

askedOverEach('without a stream for presence, who joins is told so', {}, async (s) => {
  const socket = await connect(s, 'ann');
  for (const follow of [['room'], ['room', 'more'], []]) {
    const identifier = await enter(socket, { does: { follow } });
    socket.join(identifier, 'ann', {});
    await socket.hearsPresence(identifier, 'error');
    perform(socket, identifier, { join: ANN, transmit: ['done'] });
    await socket.hears({ identifier, message: 'done' });
  }
  await s.broker.logs('presence needs a stream');
  assert.deepEqual(await s.http.ids('room'), []);
});

askedOverEach('whispers go to the followers of the stream that the state names', {}, async (s) => {
  const [ann, bob, cid] = [await connect(s, 'ann'), await connect(s, 'bob'), await connect(s, 'cid')];
  const [own, near, far] = [await enter(ann, ROOM), await enter(bob, ROOM), await enter(cid, { id: 'far' })];
  ann.whisper(own, 1);
  await bob.hears({ identifier: near, message: 1 });
  perform(ann, own, { whisper: 'room/far', follow: ['room/far'] });
  await shows(s, ann, own);
  ann.whisper(own, 2);
  await cid.hears({ identifier: far, message: 2 });
  perform(ann, own, { whisper: '' });
  await shows(s, ann, own);
  ann.whisper(own, 3);
  await ann.hears({ type: 'error', command: 'whisper' });
  await shows(s, bob, near);
  await shows(s, cid, far);
  for (const socket of [ann, bob, cid]) socket.hearsNothing();
});

askedOverEach('history is of the streams that the channel follows', {}, async (s) => {
  const watcher = await connect(s, 'watcher');
  const watched = await enter(watcher, { does: { follow: ['room'] } });
  for (const n of [1, 2]) await s.http.publish('room', n);
  const first = await watcher.hears({ identifier: watched, message: 1 });
  const socket = await connect(s, 'ann');
  const positions = { room: { offset: first.offset, epoch: first.epoch } };
  const identifier = await enter(socket, { does: { follow: ['room'] } }, { history: { streams: positions } });
  await socket.hears({ type: 'confirm_history', identifier });
  assert.deepEqual(socket.unheard.map(({ message }) => message), [2]);
  socket.send({ command: 'history', identifier, history: { since: 0 } });
  await socket.hears({ type: 'confirm_history', identifier });
  assert.deepEqual(socket.unheard.map(({ message }) => message), [2, 1, 2]);
});

askedOverEach('a session that is resumed has its channels, and the application isn’t asked', {}, async (s) => {
  const watcher = await connect(s, 'watcher');
  const watched = await enter(watcher, ROOM);
  const ann = await connect(s, 'ann', { more: '&cstate={"c":"1"}' });
  const params = { does: { ...ROOM.does, follow: ['room', 'more'], join: ANN, istate: { k: 'v' } } };
  const identifier = await enter(ann, params);
  await watcher.hearsPresence(watched, 'join');
  ann.terminate();
  const asked = s.application.calls.length;
  const back = await arrive(s, 'ann', { more: `&sid=${ann.sid}` });
  const { restored, restored_ids: ids } = await back.hears({ type: 'welcome' });
  assert.deepEqual([restored, ids], [true, [identifier]]);
  for (const stream of ['room', 'more']) {
    await s.http.publish(stream, stream);
    await back.hears({ identifier, message: stream });
  }
  assert.equal(s.application.calls.length, asked);
  const { identifiers, env } = await shows(s, back, identifier);
  assert.equal(identifiers, '{"user":"ann"}');
  assert.deepEqual([env.cstate, env.istate], [{ c: '1' }, { k: 'v', $p: 'room', $w: 'room' }]);
  assert.deepEqual((await watcher.list(watched)).map(({ id }) => id), ['ann']);
  perform(back, identifier, { leave: { id: 'ann' } });
  await watcher.hearsPresence(watched, 'leave');
  await shows(s, watcher, watched);
  assert.deepEqual(watcher.unheard.map(({ message }) => message), ['room'], 'she has never left');
});

askedOverEach('@anycable/core is present in a channel, and still after a cut', {}, async (s) => {
  const cable = cableTo(s, WHEN_TOLD, s.broker.url('/cable?user=ann'));
  const channel = channelOf(cable, present('ann'));
  await within(channel.ensureSubscribed(), 'the subscription');
  const info = () => within(channel.presence.info(), 'who is there');
  assert.deepEqual(await info(), { ann: { name: 'ann' } });
  const bob = await connect(s, 'bob');
  const joined = next(channel, 'presence', ({ type }) => type === 'join');
  const identifier = await enter(bob, present('bob'));
  assert.equal((await joined).id, 'bob');
  const lost = next(cable, 'disconnect');
  cut(cable);
  await lost;
  bob.unsubscribe(identifier);
  await s.http.publish('room', { missed: 1 });
  const missed = next(channel, 'message');
  await comeBack(cable);
  assert.deepEqual(await missed, { missed: 1 });
  assert.deepEqual(Object.keys(await info()), ['ann']);
  const said = next(channel, 'message', ({ back }) => back);
  channel.perform('x', { transmit: [{ back: true }] });
  await said;
  assert.equal(s.application.of('connect').length, 2, 'ann and bob');
});

/** The application's channel, subscribed to by the client. */
function channelOf(cable, params) {
  class RoomChannel extends Channel {
    static identifier = 'RoomChannel';
  }
  const channel = new RoomChannel(params);
  cable.subscribe(channel);
  return channel;
}


askedOverEach('who comes back while the application is asked goes on behind its answer', {}, async (s) => {
  const does = { follow: ['more'], istate: { k: 'v' } };
  for (const kind of ['subscribe', 'message']) {
    const ann = await connect(s, 'ann', { more: `&kind=${kind}` });
    const first = kind === 'message' && (await enter(ann, { n: 1, does: {} }));
    const release = s.application.hold(kind);
    const before = s.application.of(kind).length;
    const identifier = first || ask(ann, { n: 2, does });
    if (first) perform(ann, first, does);
    await s.application.called(kind, before + 1);
    ann.terminate();
    await s.connections(0);
    const back = await arrive(s, 'ann', { more: `&sid=${ann.sid}` });
    release();
    const { restored, restored_ids: ids } = await back.hears({ type: 'welcome' });
    assert.deepEqual([restored, ids], [true, [identifier]]);
    await s.http.publish('more', kind);
    await back.hears({ identifier, message: kind });
    assert.deepEqual((await shows(s, back, identifier)).env.istate, { k: 'v' });
    back.terminate();
    await s.connections(0);
  }
  assert.equal(s.application.of('connect').length, 2);
});
