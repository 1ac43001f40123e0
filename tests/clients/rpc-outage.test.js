// The application is away for some seconds: what its stock clients and others notice.

import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { Channel } from '@anycable/core';
import { cableTo } from './support/anycable.js';
import { Inbox, pass, within } from './support/patience.js';
import { consumerOf } from './support/rails.js';
import { BASE, arrive, ask, askedOverEach, connect, enter, perform, shows } from './support/rpc/asked.js';
import { hang } from './support/rpc/service.js';

/** How long the application is away, in ms: longer than a command waits, shorter than an extended client does. */
const AWAY = 6500;
/** How long a stock client may take to come back, in ms: that of Rails looks again after some seconds. */
const RETURN = 30_000;
const SERVER_ERROR = { type: 'disconnect', reason: 'server_error', reconnect: true };

// Both at the same time: they wait most of it.
describe('the application is away for some seconds', { concurrency: true }, () => {
  askedOverEach('everybody has what they asked for afterwards', {}, outage);
});

async function outage(s) {
  const cable = cableTo(s, {}, s.broker.url('/cable?user=core'));
  await within(cable.connect(), 'the connection of @anycable/core');
  const consumer = consumerOf(s, s.broker.url('/cable?user=rails'));
  const before = new Promise((resolve) => consumer.subscriptions.create({ channel: 'RoomChannel', id: 1 }, { connected: resolve }));
  await within(before, 'the subscription of @rails/actioncable');
  const [follower, performer, base] = [await connect(s, 'follower'), await connect(s, 'performer'), await connect(s, 'base', { protocol: BASE })];
  const [followed, performed] = [await enter(follower, { id: 1 }), await enter(performer, { id: 1 })];
  const stranded = await connect(s, 'stranded');
  s.application.meet('subscribe', hang());
  ask(stranded, { id: 1 });
  await s.application.called('subscribe', 4);

  const { port } = s.application;
  s.application.close();
  const gone = performance.now();
  const isBack = pass(AWAY).then(() => s.application.open(port));

  const channel = channelOf(cable, { id: 2 });
  const ends = [];
  channel.on('close', (event) => ends.push(event));
  const received = new Inbox();
  const connected = new Promise((resolve) => {
    const mixin = { connected: resolve, received: (message) => received.put(message) };
    consumer.subscriptions.create({ channel: 'RoomChannel', id: 2 }, mixin);
  });
  ask(base, { id: 2 });
  perform(performer, performed, {});
  const newcomer = await arrive(s, 'newcomer');

  assert.equal(await s.broker.health(), 200);
  await s.http.publish('room/1', 'meanwhile');
  await follower.hears({ identifier: followed, message: 'meanwhile' });
  await performer.hears({ type: 'error', command: 'message' }, AWAY);
  await base.hears(SERVER_ERROR, AWAY);
  assert.equal((await base.closing()).code, 1013);
  await newcomer.hears(SERVER_ERROR, AWAY);
  assert.ok(performance.now() - gone < AWAY, 'the application is still away');
  await isBack;

  await s.roomFor(() => connect(s, 'late'));
  await within(channel.ensureSubscribed(), 'the subscription of @anycable/core');
  assert.deepEqual(ends, []);
  await stranded.hears(SERVER_ERROR);
  await shows(s, performer, performed);
  await within(connected, '@rails/actioncable to be back', RETURN);
  await s.http.publish('room/2', 'for rails');
  await received.take((message) => message === 'for rails', 'a message for @rails/actioncable');
  assert.equal(follower.ws.readyState, 1);
}

/** The application's channel, subscribed to by the client. */
function channelOf(cable, params) {
  class RoomChannel extends Channel {
    static identifier = 'RoomChannel';
  }
  const channel = new RoomChannel(params);
  cable.subscribe(channel);
  return channel;
}
