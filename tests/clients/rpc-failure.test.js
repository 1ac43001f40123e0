// Clients while the application is slow, busy or away.

import assert from 'node:assert/strict';
import { cableTo, next } from './support/anycable.js';
import { until, within } from './support/patience.js';
import { consumerOf } from './support/rails.js';
import { BASE, EXTENDED, arrive, ask, asked, askedOverEach, connect, enter, perform, shows } from './support/rpc/asked.js';
import { HttpApplication } from './support/rpc/http.js';
import { hang, refuse } from './support/rpc/service.js';
import { Socket } from './support/socket.js';

const open = () => new HttpApplication().open();
const SERVER_ERROR = { type: 'disconnect', reason: 'server_error', reconnect: true };

/** So many calls of a kind wait until the function that this gives is called. */
function holdAll(application, kind, times) {
  let release;
  const released = new Promise((resolve) => (release = resolve));
  application.meet(kind, (run) => released.then(run), times);
  return release;
}

askedOverEach('who can’t be let in for want of the application is told to come back', {}, async (s) => {
  for (const protocol of [BASE, EXTENDED]) {
    s.application.meet('connect', refuse('INTERNAL'));
    const socket = await arrive(s, 'ann', { protocol });
    assert.deepEqual(await socket.hears({ type: 'disconnect' }), SERVER_ERROR);
    assert.equal((await socket.closing()).code, 1013);
    await connect(s, 'ann', { protocol });
  }
  const socket = await s.open('/cable?user=ann&raise=oops');
  await socket.hears(SERVER_ERROR);
});

askedOverEach('@anycable/core is in as soon as the application answers', {}, async (s) => {
  s.application.meet('connect', refuse('INTERNAL'), 3);
  const cable = cableTo(s, {}, s.broker.url('/cable?user=ann'));
  let closed = false;
  cable.on('close', () => (closed = true));
  const connected = next(cable, 'connect');
  cable.connect().catch(() => {});
  await connected;
  const calls = s.application.of('connect');
  assert.deepEqual(calls.map(({ ran }) => ran), [false, false, false, true]);
  assert.equal(closed, false);
});

asked('who comes while the queue is full is told when to come back, before the handshake', open, { 'rpc-concurrency': 1, 'rpc-backlog': 5 }, async (s) => {
  const release = s.application.hold('connect');
  const first = await arrive(s, 'first');
  await s.application.called('connect');
  const second = await arrive(s, 'second');
  await s.counts({ broker_rpc_waiting: 1 });
  const error = await Socket.open(s.broker.url('/cable?user=third')).catch((error) => error);
  assert.equal(error.response?.statusCode, 503);
  assert.match(error.response.headers['retry-after'], /^\d+$/);
  release();
  for (const socket of [first, second]) await socket.welcome();
  await connect(s, 'third');
});

asked('the application has no more calls at a time than it is to have', open, { 'rpc-concurrency': 3 }, async (s) => {
  const release = holdAll(s.application, 'connect', 10);
  const sockets = await Promise.all(Array.from({ length: 10 }, (_, n) => arrive(s, `user-${n}`)));
  await s.metrics((it) => it.get('broker_rpc_waiting') + it.get('broker_rpc_running') === 10, 'all are on their way');
  const running = s.application.calls.length;
  assert.ok(running <= 3, `${running} at a time`);
  release();
  await Promise.all(sockets.map((socket) => socket.welcome()));
  assert.equal(s.application.calls.length, 10);
});

askedOverEach('a storm of connects doesn’t stop those who are in', { 'rpc-concurrency': 25 }, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { id: 1 });
  const release = holdAll(s.application, 'connect', 100);
  const coming = await Promise.all(Array.from({ length: 100 }, (_, n) => arrive(s, `user-${n}`)));
  await s.metrics((it) => it.get('broker_rpc_waiting') > 50, 'connects wait');
  for (let n = 0; n < 5; n += 1) await shows(s, socket, identifier);
  assert.ok(s.application.of('connect').length < 51, 'the connects are still held');
  release();
  await Promise.all(coming.map((it) => it.welcome()));
  assert.equal(s.application.of('connect').length, 101);
});

for (const protocol of [BASE, EXTENDED]) {
  askedOverEach(`an action that fails is answered, and the channel stays with ${protocol}`, { 'rpc-request-timeout': '300ms' }, async (s) => {
    const socket = await connect(s, 'ann', { protocol });
    const identifier = await enter(socket, { id: 1 });
    for (const fault of [refuse('INTERNAL'), hang(), hang({ after: true })]) {
      s.application.meet('message', fault);
      perform(socket, identifier, { transmit: ['lost'] });
      const { reason } = await socket.hears({ type: 'error', command: 'message' });
      assert.ok(reason.length > 10, reason);
    }
    await shows(s, socket, identifier);
    await s.http.publish('room/1', 'still here');
    await socket.hears({ identifier, message: 'still here' });
    socket.hearsNothing();
    assert.equal(s.application.of('message').length, 4, 'each is asked once');
    assert.equal(await failures(s, 'message'), 3, 'each is counted');
  });
}

askedOverEach('a subscribe that may have run is asked about anew when its client repeats it', { 'rpc-request-timeout': '300ms' }, async (s) => {
  const socket = await connect(s, 'ann');
  for (const fault of [refuse('INTERNAL', { after: true }), hang(), hang({ after: true })]) {
    const before = s.application.of('subscribe').length;
    const failed = await failures(s);
    s.application.meet('subscribe', fault);
    const params = { n: before, does: { follow: ['room'] } };
    const identifier = ask(socket, params);
    await until(async () => (await failures(s)) > failed, 'the question has failed');
    socket.hearsNothing();
    ask(socket, params);
    await socket.hears({ type: 'confirm_subscription', identifier });
    const asked = s.application.of('subscribe').slice(before);
    assert.deepEqual(asked.map(({ message }) => message.identifier), [identifier, identifier]);
    const [first, second] = asked.map(({ metadata }) => metadata['command-id']);
    assert.notEqual(first, second, 'another command');
    socket.unsubscribe(identifier);
  }
});

askedOverEach('@rails/actioncable repeats a subscribe that the application is asked about once', {}, async (s) => {
  for (const isGood of [true, false]) {
    s.application.calls.splice(0);
    const release = s.application.hold('subscribe');
    const consumer = consumerOf(s, s.broker.url('/cable?user=ann'));
    const sent = [];
    const send = consumer.send.bind(consumer);
    consumer.send = (data) => {
      sent.push(data.command);
      return send(data);
    };
    let end;
    const ended = new Promise((resolve) => (end = resolve));
    const params = { channel: 'RoomChannel', id: 1, does: { fail: !isGood } };
    const subscription = consumer.subscriptions.create(params, { connected: () => end(true), rejected: () => end(false) });
    await until(() => sent.length >= 4, 'the client has asked again');
    await isHeard(consumer);
    release();
    assert.equal(await within(ended, 'the answer'), isGood);
    assert.equal(s.application.of('subscribe').length, 1);
    if (isGood) {
      subscription.perform('x', { transmit: [1] });
      await s.application.called('message');
    }
    consumer.disconnect();
  }
});

/** Returns when all that a client of Rails has sent has arrived: what names no channel is rejected at once. */
async function isHeard({ connection: { webSocket } }) {
  const answered = new Promise((resolve) => {
    webSocket.addEventListener('message', ({ data }) => data.includes('no channel') && resolve());
  });
  webSocket.send('{"command":"subscribe","identifier":"no channel"}');
  await within(answered, 'a rejection');
}

/** How many calls about a command have got no answer. */
async function failures(s, command = 'subscribe') {
  const metrics = await s.http.metrics();
  const count = (outcome) => metrics.get('broker_rpc_calls_total', { command, outcome });
  return count('broken') + count('late');
}
