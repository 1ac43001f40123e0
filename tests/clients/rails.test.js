// The stock client of Rails, @rails/actioncable.

import assert from 'node:assert/strict';
import { Inbox, pass } from './support/patience.js';
import { ConnectionMonitor, consumerOf } from './support/rails.js';
import { scenario } from './support/scenario.js';

/** Subscribes and keeps all that the client reports. */
function subscribe(consumer, params) {
  const log = new Inbox();
  const callback = (name) => (value) => log.put({ name, value });
  const names = ['connected', 'disconnected', 'rejected', 'received'];
  const mixin = Object.fromEntries(names.map((name) => [name, callback(name)]));
  const subscription = consumer.subscriptions.create(params, mixin);
  const hears = (name, ms) => log.take((entry) => entry.name === name, `${name}()`, ms);
  return { subscription, hears, log };
}

const ROOM = { channel: '$pubsub', stream_name: 'room/1' };

scenario('a subscription is connected and receives publications', {}, async (s) => {
  const consumer = consumerOf(s);
  const { hears } = subscribe(consumer, ROOM);
  assert.deepEqual((await hears('connected')).value, { reconnected: false });
  assert.equal(consumer.connection.getProtocol(), 'actioncable-v1-json');
  await s.http.publish('room/1', { text: 'hi' });
  assert.deepEqual((await hears('received')).value, { text: 'hi' });
});

scenario('a subscription that is rejected says so', {}, async (s) => {
  const consumer = consumerOf(s);
  const { hears } = subscribe(consumer, { channel: 'ChatChannel', room: 'best' });
  await hears('rejected');
  const { hears: also } = subscribe(consumer, ROOM);
  await also('connected');
});

scenario('the client stays connected beyond its threshold of six seconds', {}, async (s) => {
  const consumer = consumerOf(s);
  const { hears, log } = subscribe(consumer, ROOM);
  await hears('connected');
  // It looks for the first time after six to twelve seconds.
  await pass(7000);
  assert.equal(ConnectionMonitor.staleThreshold, 6);
  assert.equal(consumer.connection.monitor.connectionIsStale(), false);
  assert.deepEqual(log.rest, []);
  await s.http.publish('room/1', 'still here');
  await hears('received');
});

scenario('two subscriptions with equal parameters share one', {}, async (s) => {
  const consumer = consumerOf(s);
  const one = subscribe(consumer, ROOM);
  await one.hears('connected');
  const two = subscribe(consumer, ROOM);
  await two.hears('connected');
  await s.http.publish('room/1', 1);
  for (const { hears, log } of [one, two]) {
    assert.equal((await hears('received')).value, 1);
    assert.deepEqual(log.rest.filter(({ name }) => name === 'received'), []);
  }
});

scenario('unsubscribing ends what is received', {}, async (s) => {
  const consumer = consumerOf(s);
  const { subscription, hears, log } = subscribe(consumer, ROOM);
  await hears('connected');
  subscription.unsubscribe();
  await s.counts({ broker_subscriptions: 0 });
  await s.http.publish('room/1', 1);
  const other = subscribe(consumer, { ...ROOM, stream_name: 'room/2' });
  await other.hears('connected');
  assert.deepEqual(log.rest, []);
});

scenario('an action for a backend disturbs nothing', {}, async (s) => {
  const { subscription, hears, log } = subscribe(consumerOf(s), ROOM);
  await hears('connected');
  subscription.perform('speak', { text: 'hi' });
  await s.http.publish('room/1', 1);
  await hears('received');
  assert.deepEqual(log.rest, []);
});

const HASTY = { 'ping-interval': '200ms' };
scenario('after a restart of the broker the client comes back by itself', HASTY, async (s) => {
  // A page waits six seconds at least before it looks; nothing else is different here.
  const { staleThreshold } = ConnectionMonitor;
  ConnectionMonitor.staleThreshold = 3;
  s.cleanup(() => (ConnectionMonitor.staleThreshold = staleThreshold));
  const { hears } = subscribe(consumerOf(s), ROOM);
  await hears('connected');
  await s.broker.stop();
  assert.deepEqual((await hears('disconnected')).value, { willAttemptReconnect: true });
  await s.start({ ...HASTY, port: s.broker.port });
  assert.deepEqual((await hears('connected', 20_000)).value, { reconnected: true });
  await s.http.publish('room/1', 'again');
  await hears('received');
});
