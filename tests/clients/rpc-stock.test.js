// Unmodified clients, and applications built with what people use, from the connection to its end.

import assert from 'node:assert/strict';
import { Channel } from '@anycable/core';
import { cableTo, next } from './support/anycable.js';
import { Http } from './support/http.js';
import { Inbox, within } from './support/patience.js';
import { consumerOf } from './support/rails.js';
import { BASE, asked, connect, enter, shows } from './support/rpc/asked.js';
import { GemApplication } from './support/rpc/gem.js';
import { GrpcApplication } from './support/rpc/grpc.js';
import { HttpApplication } from './support/rpc/http.js';
import { ServerlessApplication } from './support/rpc/serverless.js';
import { SECRET, derive, identifySigned, jid } from './support/sign.js';

const APPLICATIONS = {
  'an application over HTTP': HttpApplication,
  'an application over gRPC': GrpcApplication,
  'Ruby’s server': GemApplication,
};
const open = (Application) => () => new Application().open();
const BRIEF = { 'sessions-ttl': '300ms' };

/** A subscription of @rails/actioncable, and what it is told. */
function subscribe(consumer, params) {
  const log = new Inbox();
  const names = ['connected', 'disconnected', 'rejected', 'received'];
  const mixin = Object.fromEntries(names.map((name) => [name, (value) => log.put({ name, value })]));
  const subscription = consumer.subscriptions.create({ channel: 'RoomChannel', ...params }, mixin);
  const hears = async (name) => (await log.take((it) => it.name === name, `${name}()`)).value;
  return { subscription, hears, log };
}

class RoomChannel extends Channel {
  static identifier = 'RoomChannel';
}

/** A channel of @anycable/core, subscribed to. */
async function join(cable, params) {
  const channel = new RoomChannel(params);
  cable.subscribe(channel);
  await within(channel.ensureSubscribed(), 'the subscription');
  return channel;
}

for (const [what, Application] of Object.entries(APPLICATIONS)) {
  asked(`the life of @rails/actioncable with ${what}`, open(Application), BRIEF, async (s) => {
    const consumer = consumerOf(s, s.broker.url('/cable?user=ann'));
    const { subscription, hears, log } = subscribe(consumer, { id: 1 });
    await hears('connected');
    await s.http.publish('room/1', { text: 'hi' });
    assert.deepEqual(await hears('received'), { text: 'hi' });
    subscription.perform('say', { transmit: [{ said: 1 }], istate: { said: '1' } });
    assert.deepEqual(await hears('received'), { said: 1 });
    assert.deepEqual(JSON.parse(s.application.of('message')[0].message.data).action, 'say');
    const { hears: refused } = subscribe(consumer, { id: 2, does: { fail: true } });
    await refused('rejected');
    subscription.unsubscribe();
    const [{ message }] = await s.application.called('unsubscribe');
    assert.deepEqual(message.env.istate, { said: '1' });
    consumer.disconnect();
    await s.application.called('disconnect');
    assert.deepEqual(log.rest, []);
  });

  asked(`the life of @anycable/core with ${what}`, open(Application), BRIEF, async (s) => {
    const cable = cableTo(s, {}, s.broker.url('/cable?user=ann'));
    await within(cable.connect(), 'the connection');
    const channel = await join(cable, { does: { follow: ['room/1'], istate: { k: 'v' } } });
    const heard = next(channel, 'message');
    await s.http.publish('room/1', { text: 'hi' });
    assert.deepEqual(await heard, { text: 'hi' });
    const said = next(channel, 'message');
    channel.perform('say', { transmit: [{ said: 1 }] });
    assert.deepEqual(await said, { said: 1 });
    await assert.rejects(join(cable, { does: { fail: true } }), { name: 'SubscriptionRejectedError' });
    cable.disconnect();
    const [{ message }] = await s.application.called('disconnect');
    assert.deepEqual(message.subscriptions, [channelIdentifier(channel)]);
  });

  asked(`a refused client of ${what} stays away`, open(Application), {}, async (s) => {
    const cable = cableTo(s, {}, s.broker.url('/cable'));
    const closed = next(cable, 'close');
    await assert.rejects(within(cable.connect(), 'the refusal'));
    assert.equal((await closed).reason, 'unauthorized');
    await connect(s, 'ann');
    assert.equal(s.application.of('connect').length, 2);
  });
}

asked('@rails/actioncable and @anycable/serverless-js', open(ServerlessApplication), {}, async (s) => {
  const consumer = consumerOf(s, s.broker.url('/cable?user=ann'));
  const { subscription, hears } = subscribe(consumer, { id: 1 });
  await hears('connected');
  assert.deepEqual(await hears('received'), { hello: 'ann' });
  for (const said of [1, 2, 3]) {
    subscription.perform('say', { text: 'x' });
    assert.deepEqual(await hears('received'), { said, text: 'x' });
  }
  subscription.perform('follow', { stream: 'more' });
  subscription.perform('say', { text: 'y' });
  await hears('received');
  for (const stream of ['room/1', 'more']) {
    await s.http.publish(stream, stream);
    assert.equal(await hears('received'), stream);
  }
  const { hears: refused } = subscribe(consumer, { id: 2, closed: true });
  await refused('rejected');
  subscription.unsubscribe();
  await s.application.called('unsubscribe');
  consumer.disconnect();
  const [{ message }] = await s.application.called('disconnect');
  assert.deepEqual([message.subscriptions ?? [], message.env.istate ?? {}], [[], {}], 'nothing is left of the channel');
  const stranger = await s.open('/cable');
  assert.equal((await stranger.hears({ type: 'disconnect' })).reason, 'unauthorized');
});

for (const [what, Application] of Object.entries(APPLICATIONS)) {
  asked(`channels and signed streams on one connection with ${what}`, open(Application), { secret: SECRET }, async (s) => {
    const socket = await s.socket(`/cable?${jid('ann')}`, { protocols: [BASE] });
    const signed = identifySigned('news');
    socket.send({ command: 'subscribe', identifier: signed });
    await socket.hears({ type: 'confirm_subscription', identifier: signed });
    const identifier = await enter(socket, { does: { follow: ['news'] } });
    assert.equal((await shows(s, socket, identifier)).identifiers, '{"user":"ann"}');
    const http = new Http(s.broker.origin, derive('broadcast-cable'));
    await http.publish('news', 1);
    for (const each of [signed, identifier]) await socket.hears({ identifier: each, message: 1 });
    socket.unsubscribe(signed);
    await socket.settle();
    await http.publish('news', 2);
    await socket.hears({ identifier, message: 2 });
    await shows(s, socket, identifier);
    socket.hearsNothing();
  });
}

/** The identifier of a channel, as the client sends it. */
const channelIdentifier = ({ identifier }) => identifier;
