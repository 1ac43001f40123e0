// Subscriptions: confirmed, rejected, repeated, given up.

import assert from 'node:assert/strict';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';
import { TEXT, frame } from './support/wire.js';

scenario('a subscription is confirmed with identifier and type alone', {}, async (s) => {
  const socket = await s.socket();
  const identifier = identify('room');
  socket.send({ command: 'subscribe', identifier });
  const confirmation = await socket.hears({ type: 'confirm_subscription' });
  assert.deepEqual(confirmation, { type: 'confirm_subscription', identifier });
});

scenario('an identifier comes back as the text the client sent', {}, async (s) => {
  const socket = await s.socket();
  const identifier = ' {"stream_name" : "\\u0063afé ✓ \\"x\\"",\t"channel":"$pubsub", "n": 1.50 } ';
  socket.send({ command: 'subscribe', identifier });
  await socket.hears({ type: 'confirm_subscription', identifier });
  await s.http.publish('café ✓ "x"', 1);
  assert.equal((await socket.hears({ message: 1 })).identifier, identifier);
});

scenario('keys of a command that nobody knows are ignored', {}, async (s) => {
  const socket = await s.socket();
  const identifier = identify('room', { theme: 'dark' });
  socket.send({ future: [1, { a: null }], command: 'subscribe', identifier, more: true });
  await socket.hears({ type: 'confirm_subscription', identifier });
});

scenario('a subscribe for a subscription that stands does not double it', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  socket.send({ command: 'subscribe', identifier });
  await s.http.publish('room', 'once');
  await socket.hears({ identifier, message: 'once' });
  await socket.settle(identifier);
  socket.hearsNothing();
  socket.unsubscribe(identifier);
  await socket.settle();
  await s.http.publish('room', 'after');
  await socket.settle();
  socket.hearsNothing('one unsubscribe ends it');
});

scenario('two identifiers for one stream are two subscriptions', {}, async (s) => {
  const socket = await s.socket();
  const left = await socket.subscribe('room', { pane: 'left' });
  const right = await socket.subscribe('room', { pane: 'right' });
  await s.http.publish('room', 1);
  await socket.hears({ identifier: left, message: 1 });
  await socket.hears({ identifier: right, message: 1 });
  socket.unsubscribe(left);
  await socket.settle(right);
  await s.http.publish('room', 2);
  await socket.hears({ identifier: right, message: 2 });
  socket.hearsNothing();
});

scenario('unsubscribing gets no reply, and ends what is sent', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  const [other, same] = await s.subscriber('room');
  socket.unsubscribe(identifier);
  await socket.settle();
  await s.http.publish('room', 1);
  await other.hears({ identifier: same, message: 1 });
  await socket.settle();
  socket.hearsNothing();
});

scenario('unsubscribing from what was never subscribed changes nothing', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  socket.unsubscribe(identify('elsewhere'));
  socket.unsubscribe('no identifier at all');
  await socket.settle(identifier);
  await s.http.publish('room', 1);
  await socket.hears({ identifier, message: 1 });
});

scenario('a stream that was given up can be subscribed to again', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  socket.unsubscribe(identifier);
  await socket.subscribe('room');
  await s.http.publish('room', 1);
  await socket.hears({ identifier, message: 1 });
  socket.hearsNothing();
});

scenario('the commands of a connection take effect in the order they came', {}, async (s) => {
  const [observer] = await s.subscriber('room');
  const socket = await s.socket();
  const identifier = identify('room');
  for (let n = 0; n < 50; n += 1) {
    socket.send({ command: 'subscribe', identifier });
    socket.join(identifier, `visit-${n}`, n);
    socket.unsubscribe(identifier);
  }
  socket.send({ command: 'subscribe', identifier });
  assert.deepEqual(await socket.list(identifier), []);
  const confirmations = socket.transcript.filter((text) => text.includes('confirm_subscription'));
  assert.equal(confirmations.length, 51);
  for (let n = 0; n < 50; n += 1) {
    assert.equal((await observer.hearsPresence(identifier, 'join')).id, `visit-${n}`);
    assert.equal((await observer.hearsPresence(identifier, 'leave')).id, `visit-${n}`);
  }
});

scenario('a subscription hears what comes after it and nothing from before', {}, async (s) => {
  const wire = await s.upgraded();
  const [first, second] = [identify('room', { n: 1 }), identify('room', { n: 2 })];
  const presence = { id: 'ann', info: {} };
  const commands = [
    { command: 'subscribe', identifier: first },
    { command: 'join', identifier: first, presence },
    { command: 'subscribe', identifier: second },
    { command: 'leave', identifier: first },
    { command: 'unsubscribe', identifier: second },
    { command: 'join', identifier: first, presence },
    { command: 'ping' },
    { command: 'presence', identifier: first },
  ];
  // All in one packet, so that the broker may well take them in one go.
  wire.write(Buffer.concat(commands.map((command) => frame(TEXT, JSON.stringify(command)))));
  await wire.hears(TEXT, '"info"');
  const texts = wire.texts.map((text) => JSON.parse(text));
  const told = texts
    .filter((text) => text.identifier === second)
    .map(({ type, message }) => message?.type ?? type);
  assert.ok(['confirm_subscription', 'confirm_subscription leave'].includes(told.join(' ')), told);
  const others = texts
    .filter((text) => text.identifier === first)
    .map(({ type, message }) => message?.type ?? type);
  assert.deepEqual(others, ['confirm_subscription', 'join', 'leave', 'join', 'info']);
});

for (const name of ['a/b', 'ünï✓😀', 'with space', '%2F', '$pubsub', '"quoted"\\', '\u0000\n\t', ' ']) {
  scenario(`a stream may be called ${JSON.stringify(name)}`, {}, async (s) => {
    const [socket, identifier] = await s.subscriber(name);
    await s.http.publish(name, 1);
    await socket.hears({ identifier, message: 1 });
    const [other] = await s.subscriber('another');
    await other.settle();
    other.hearsNothing();
  });
}

for (const [what, identifier] of [
  ['that is not JSON', 'room/1'],
  ['that is empty', ''],
  ['that is JSON but no object', '["$pubsub","room"]'],
  ['with another channel', JSON.stringify({ channel: 'ChatChannel', id: 1 })],
  ['with another channel and a stream', JSON.stringify({ channel: 'X', stream_name: 'room' })],
  ['without a channel', JSON.stringify({ stream_name: 'room' })],
  ['without a stream name', JSON.stringify({ channel: '$pubsub' })],
  ['with an empty stream name', identify('')],
  ['whose stream name is no string', JSON.stringify({ channel: '$pubsub', stream_name: 1 })],
  ['whose stream name is null', JSON.stringify({ channel: '$pubsub', stream_name: null })],
  ['with a signed stream', JSON.stringify({ channel: '$pubsub', signed_stream_name: 'InIi--00' })],
  ['with an unfinished escape', '{"channel":"$pubsub","stream_name":"\\u12"}'],
  ['with text after the object', `${identify('room')} x`],
]) {
  scenario(`a subscription ${what} is rejected, and the connection stays`, {}, async (s) => {
    const [socket, good] = await s.subscriber('room');
    socket.send({ command: 'subscribe', identifier });
    const rejection = await socket.hears({ type: 'reject_subscription' });
    assert.deepEqual(rejection, { type: 'reject_subscription', identifier });
    await s.http.publish('room', 1);
    await socket.hears({ identifier: good, message: 1 });
    socket.hearsNothing();
  });
}

scenario('subscriptions beyond the limit are rejected until one is given up', { 'max-subscriptions': 2 }, async (s) => {
  const socket = await s.socket();
  const first = await socket.subscribe('room/1');
  await socket.subscribe('room/2');
  const third = identify('room/3');
  socket.send({ command: 'subscribe', identifier: third });
  await socket.hears({ type: 'reject_subscription', identifier: third });
  socket.send({ command: 'subscribe', identifier: identify('room/2') }); // which stands
  socket.unsubscribe(first);
  await socket.subscribe('room/3');
});

scenario('a stream name over its limit is rejected, one at the limit is not', { 'max-stream-name-size': 16 }, async (s) => {
  const socket = await s.socket();
  await socket.subscribe('x'.repeat(16));
  const identifier = identify('x'.repeat(17));
  socket.send({ command: 'subscribe', identifier });
  await socket.hears({ type: 'reject_subscription', identifier });
});

scenario('an identifier over its limit is rejected', { 'max-identifier-size': 200 }, async (s) => {
  const socket = await s.socket();
  await socket.subscribe('room', { pad: 'x'.repeat(80) });
  const identifier = identify('room', { pad: 'x'.repeat(200) });
  socket.send({ command: 'subscribe', identifier });
  await socket.hears({ type: 'reject_subscription', identifier });
});

scenario('history asked for with a subscribe is answered after the confirmation', {}, async (s) => {
  const socket = await s.socket();
  const identifier = identify('room');
  socket.send({ command: 'subscribe', identifier, history: { since: 1, streams: {} } });
  await socket.hears({ type: 'confirm_history', identifier });
  const types = socket.transcript.map((text) => JSON.parse(text).type);
  assert.deepEqual(types, ['welcome', 'confirm_subscription', 'confirm_history']);
});

scenario('history of an unknown subscription is rejected', {}, async (s) => {
  const socket = await s.socket();
  const identifier = identify('nowhere');
  socket.send({ command: 'history', identifier, history: { since: 1 } });
  await socket.hears({ type: 'reject_history', identifier });
});

scenario('a joining subscribe is confirmed first and then hears its own join', {}, async (s) => {
  const [observer, same] = await s.subscriber('room');
  const socket = await s.socket();
  const identifier = await socket.subscribe('room', {}, { presence: { id: 'ann', info: { n: 1 } } });
  const join = { type: 'join', id: 'ann', info: { n: 1 } };
  assert.deepEqual(await socket.hearsPresence(identifier, 'join'), join);
  assert.deepEqual(await observer.hearsPresence(same, 'join'), join);
  const types = socket.transcript.map((text) => JSON.parse(text).type);
  assert.deepEqual(types, ['welcome', 'confirm_subscription', 'presence']);
});

for (const [what, presence] of [
  ['an empty id', { id: '' }],
  ['no id', { info: {} }],
  ['an id that is a number', { id: 7 }],
  ['an id that is too long', { id: 'x'.repeat(129) }],
  ['an info that is too large', { id: 'ann', info: 'x'.repeat(5000) }],
  ['a presence that is no object', 'ann'],
]) {
  scenario(`a joining subscribe with ${what} is confirmed, the join refused`, {}, async (s) => {
    const socket = await s.socket();
    const identifier = await socket.subscribe('room', {}, { presence });
    const { reason } = await socket.hearsPresence(identifier, 'error');
    assert.ok(reason.length > 5, reason);
    assert.equal(await socket.count(identifier), 0);
    await s.http.publish('room', 1);
    await socket.hears({ identifier, message: 1 });
  });
}
