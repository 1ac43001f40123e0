// A subscribe that comes again though its subscription stands. Stock clients send one when no confirmation came in
// time, and some give up what is confirmed to them twice.

import assert from 'node:assert/strict';
import { cableTo, comeBack, cut, next, WHEN_TOLD } from './support/anycable.js';
import { Application, byName } from './support/application.js';
import { freePort } from './support/broker.js';
import { slowLine } from './support/delay.js';
import { pass, until, within } from './support/patience.js';
import { consumerOf } from './support/rails.js';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';

const ROOM = identify('room');
const [BASE, EXTENDED] = ['actioncable-v1-json', 'actioncable-v1-ext-json'];
/** What @rails/actioncable offers. */
const RAILS = [BASE, 'actioncable-unsupported'];

const subscribes = (count) => ({ 'broker_commands_total{command="subscribe",outcome="ok"}': count });

/** What a stock client is told from now on, of one type. */
function told(on, type) {
  const frames = [];
  on((text) => JSON.parse(text).type === type && frames.push(text));
  return frames;
}

const toldCable = (cable) => told((hear) => cable.transport.on('data', hear), 'confirm_subscription');

/** Whatever is published to the room reaches the channel, and then does again. */
async function hears(s, channel) {
  for (const message of ['one', 'two']) {
    const heard = next(channel, 'message', (heard) => heard === message);
    await s.http.publish('room', message);
    await heard;
  }
}

for (const protocol of [BASE, EXTENDED]) {
  scenario(`@anycable/core over ${protocol} stays subscribed though its line is slow`, {}, async (s) => {
    const line = await slowLine(s);
    const cable = cableTo(s, { protocol }, line.url);
    await within(cable.connect(), 'the connection');
    const confirmations = toldCable(cable);
    line.delay = 5500; // it asks again after 5 s
    const channel = cable.streamFrom('room');
    await s.counts(subscribes(2));
    line.delay = 0;
    await within(channel.ensureSubscribed(), 'the confirmation');
    await hears(s, channel);
    assert.equal(confirmations.length, 1);
    await s.counts({ broker_subscriptions: 1 });
  });
}

const slowly = async (s) => {
  let answers;
  const answerable = new Promise((resolve) => (answers = resolve));
  s.answer = answers;
  s.application = new Application((asked) => answerable.then(() => byName(asked)));
  await s.application.open(await freePort());
  s.cleanup(() => s.application.close());
  return { 'presence-fetch-url': s.application.url, 'presence-fetch-timeout': '10s', 'sessions-ttl': '0s' };
};

scenario('@anycable/core stays subscribed though the application is slow to say who joins', slowly, async (s) => {
  const cable = cableTo(s, WHEN_TOLD);
  const channel = cable.streamFrom('room');
  await within(channel.ensureSubscribed(), 'the subscription');
  channel.presence.join('ann', {}); // it does so again as part of its next subscribe
  await s.application.asked(1);
  const lost = next(cable, 'disconnect');
  cut(cable);
  await lost;
  const confirmations = toldCable(cable);
  const { send } = cable.transport;
  let asked = 0;
  cable.transport.send = function (text) {
    if (text.includes('"subscribe"')) asked += 1;
    return send.call(this, text);
  };
  await comeBack(cable);
  await until(() => asked === 2, 'it asks again after 5 s');
  s.answer();
  await s.counts(subscribes(3));
  await hears(s, channel);
  assert.equal(confirmations.length, 1);
  assert.deepEqual((await s.http.users('room')).records.map(({ id }) => id), ['ann']);
});

scenario('@rails/actioncable is confirmed once, however often it asks over a slow line', {}, async (s) => {
  const line = await slowLine(s);
  const consumer = consumerOf(s, line.url);
  consumer.connect();
  await until(() => consumer.connection.isOpen(), 'the connection');
  await pass(0); // the client sends nothing before its welcome
  const confirmations = told((hear) => consumer.connection.webSocket.on('message', hear), 'confirm_subscription');
  const received = [];
  let connected = 0;
  line.delay = 2500; // it asks again every 500 ms
  consumer.subscriptions.create(
    { channel: '$pubsub', stream_name: 'room' },
    { connected: () => (connected += 1), received: (message) => received.push(message) },
  );
  await s.metrics((m) => m.get('broker_commands_total', { command: 'subscribe', outcome: 'ok' }) >= 3, 'it asked again');
  await until(() => connected > 0, 'it is confirmed');
  line.delay = 0;
  await s.http.publish('room', 'hi');
  await until(() => received.length > 0, 'a message comes, behind any confirmation');
  assert.deepEqual([received, connected, confirmations.length], [['hi'], 1, 1]);
});

/** A socket that offers protocols and follows the room, and when it first asked for it. */
async function following(s, protocols) {
  const socket = await s.socket('/cable', { protocols });
  const since = performance.now();
  await socket.subscribe('room');
  return [socket, since];
}

const confirmed = (socket) => socket.transcript.filter((text) => text.includes('confirm_subscription')).length;

for (const protocols of [[], [BASE], [EXTENDED], [EXTENDED, ...RAILS]]) {
  scenario(`who offers ${protocols.join(' and ') || 'nothing'} is confirmed once`, {}, async (s) => {
    await s.http.publish('room', 'before');
    const [socket] = await following(s, protocols);
    const history = { since: 0 };
    const presence = { id: 'ann', info: {} };
    socket.send({ command: 'subscribe', identifier: ROOM, history, presence });
    await socket.hearsPresence(ROOM, 'join');
    await pass(5100);
    socket.send({ command: 'subscribe', identifier: ROOM });
    await socket.settle(ROOM);
    socket.hearsNothing('neither a confirmation nor history');
    assert.equal(confirmed(socket), 1);
    socket.unsubscribe(ROOM);
    await socket.subscribe('room');
  });
}

scenario('who offers what @rails/actioncable does is confirmed again, after 5 s', {}, async (s) => {
  const [socket, since] = await following(s, RAILS);
  for (let asked = 1; confirmed(socket) < 2; asked += 1) {
    assert.ok(asked < 100, 'it is never confirmed');
    socket.send({ command: 'subscribe', identifier: ROOM });
    await socket.settle(ROOM);
    if (confirmed(socket) < 2) await pass(100);
  }
  assert.ok(performance.now() - since >= 5000, 'too early');
  socket.send({ command: 'subscribe', identifier: ROOM });
  await socket.settle(ROOM);
  assert.equal(confirmed(socket), 2);
});

for (const protocols of [[BASE], [EXTENDED]]) {
  scenario(`over ${protocols} a session that is resumed is confirmed once more`, {}, async (s) => {
    const [ann] = await following(s, protocols);
    ann.terminate();
    await s.connections(0);
    const back = await s.open(`/cable?sid=${ann.sid}`, { protocols });
    assert.deepEqual((await back.hears({ type: 'welcome' })).restored_ids, [ROOM]);
    // the confirmation of before may not have arrived
    for (let n = 0; n < 2; n += 1) back.send({ command: 'subscribe', identifier: ROOM });
    await back.settle(ROOM);
    assert.equal(confirmed(back), 1);
  });
}
