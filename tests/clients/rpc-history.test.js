// History of a channel with several streams: what each of them has, and then one answer, whichever shard is last.

import assert from 'node:assert/strict';
import { Channel } from '@anycable/core';
import { cableTo, comeBack, cut, next, WHEN_TOLD } from './support/anycable.js';
import { until, within } from './support/patience.js';
import { ask, askedOverEach, connect, enter, perform, shows } from './support/rpc/asked.js';

const STREAMS = ['one', 'two', 'three'];
const CHANNEL = { does: { follow: STREAMS } };
const EVERYTHING = { since: 0 };

/** Publishes to each of the streams. */
async function publish(s, streams, message) {
  for (const stream of streams) await s.http.publish(stream, message);
}

/** Subscribes; from then on the streams are followed, which begins right behind the confirmation. */
async function begin(s, socket, params) {
  const identifier = await enter(socket, params);
  await shows(s, socket, identifier);
  return identifier;
}

/** What comes up to the answer to a request for history: the streams of the messages, and the answer. */
async function answer(socket, identifier) {
  const streams = [];
  for (;;) {
    const frame = await socket.hears({ identifier });
    if (frame.type) return { streams, type: frame.type };
    streams.push(frame.stream_id);
  }
}

askedOverEach('all streams of a channel answer a subscribe as one', {}, async (s) => {
  const socket = await connect(s, 'ann');
  await publish(s, STREAMS, 1);
  const identifier = await enter(socket, CHANNEL, { history: EVERYTHING });
  const { streams, type } = await answer(socket, identifier);
  assert.deepEqual([streams.sort(), type], [[...STREAMS].sort(), 'confirm_history']);
  ask(socket, CHANNEL, { history: EVERYTHING });
  await shows(s, socket, identifier);
  socket.hearsNothing('a repeated subscribe has no answer, and its history none');
});

askedOverEach('the answer is behind what every stream has, however many ask at once', {}, async (s) => {
  const follow = Array.from({ length: 12 }, (_, number) => `stream-${number}`);
  const sockets = await Promise.all(['ann', 'bob', 'cid', 'dan'].map((user) => connect(s, user)));
  const identifiers = await Promise.all(sockets.map((socket) => begin(s, socket, { does: { follow } })));
  for (const size of [1, 20_000]) await publish(s, follow, 'x'.repeat(size));
  for (const [at, socket] of sockets.entries()) {
    for (let n = 0; n < 2 * follow.length; n += 1) await socket.hears({ identifier: identifiers[at] });
  }
  const all = [...follow, ...follow].sort();
  await Promise.all(sockets.map(async (socket, at) => {
    const identifier = identifiers[at];
    for (let n = 0; n < 20; n += 1) {
      socket.send({ command: 'history', identifier, history: EVERYTHING });
      const { streams, type } = await answer(socket, identifier);
      assert.deepEqual([streams.sort(), type], [all, 'confirm_history']);
    }
    socket.hearsNothing();
  }));
});

askedOverEach('one stream that lacks something has the whole refused; the others give what they have', { 'history-limit': 2 }, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await begin(s, socket, CHANNEL);
  await publish(s, [...STREAMS, 'two', 'two'], 1);
  for (let n = 0; n < 5; n += 1) await socket.hears({ identifier });
  socket.send({ command: 'history', identifier, history: EVERYTHING });
  const { streams, type } = await answer(socket, identifier);
  assert.deepEqual([streams.sort(), type], [['one', 'three'], 'reject_history']);
  perform(socket, identifier, { unfollow: ['two'] });
  await shows(s, socket, identifier);
  socket.send({ command: 'history', identifier, history: EVERYTHING });
  assert.equal((await answer(socket, identifier)).type, 'confirm_history', 'it lacks nothing else');
  socket.hearsNothing();
});

askedOverEach('a channel without streams misses nothing', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { does: {} }, { history: EVERYTHING });
  await socket.hears({ type: 'confirm_history', identifier });
  socket.send({ command: 'history', identifier, history: EVERYTHING });
  await socket.hears({ type: 'confirm_history', identifier });
  await shows(s, socket, identifier);
  socket.hearsNothing();
});

for (const [what, limit, info, missed] of [
  ['got all that it missed', 9, 'history_received', ['one', 'three', 'two', 'two']],
  ['missed too much', 1, 'history_not_found', ['one', 'three']],
]) {
  askedOverEach(`@anycable/core learns once that its channel ${what}`, { 'history-limit': limit }, async (s) => {
    const cable = cableTo(s, { ...WHEN_TOLD, logLevel: 'none' }, s.broker.url('/cable?user=ann'));
    class RoomChannel extends Channel {
      static identifier = 'RoomChannel';
    }
    const channel = new RoomChannel(CHANNEL);
    const log = [];
    channel.on('info', ({ type }) => log.push(type));
    channel.on('message', (message, { stream } = {}) => log.push(stream ?? message));
    const first = next(channel, 'info');
    cable.subscribe(channel);
    await within(channel.ensureSubscribed(), 'the subscription');
    assert.equal((await first).type, 'history_received', 'nothing is missing yet');
    await publish(s, STREAMS, 1);
    await until(() => log.length === 4, 'the messages are there');
    assert.deepEqual(log.splice(0).sort(), ['history_received', ...STREAMS].sort());
    const lost = next(cable, 'disconnect');
    cut(cable);
    await lost;
    await publish(s, [...STREAMS, 'two'], 2);
    const told = next(channel, 'info');
    await comeBack(cable);
    assert.equal((await told).type, info);
    assert.deepEqual([log.slice(0, -1).sort(), log.at(-1)], [missed, info], 'it comes last');
    const said = next(channel, 'message', (message) => message === 'back');
    channel.perform('x', { transmit: ['back'] });
    await said;
    assert.deepEqual(log.slice(missed.length + 1), ['back'], 'and once');
  });
}
