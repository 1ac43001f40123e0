// What Prometheus sees after a known course of events.

import assert from 'node:assert/strict';
import { scenario } from './support/scenario.js';
import { Socket, identify } from './support/socket.js';

scenario('metrics come in Prometheus’ text format, each with its type', {}, async (s) => {
  const { headers } = await s.http.request('/metrics');
  assert.match(headers.get('content-type'), /^text\/plain\b/);
  const metrics = await s.http.metrics();
  assert.ok(metrics.names.length > 10);
  for (const name of metrics.names) {
    assert.match(name, /^broker_/);
    const family = name.replace(/_(bucket|sum|count)$/, '');
    assert.ok(metrics.types.has(name) || metrics.types.has(family), `${name} has no type`);
  }
  assert.equal(metrics.get('broker_build_info'), 1);
  assert.ok(metrics.get('broker_open_file_limit') > 0);
});

const SHORT = { 'presence-ttl': '200ms', 'sessions-ttl': '200ms' };

scenario('connections, sessions, streams and subscriptions are counted', { ...SHORT, 'sessions-ttl': 0 }, async (s) => {
  const [one] = await s.subscriber('room/1');
  await one.subscribe('room/2');
  const [two, identifier] = await s.subscriber('room/1');
  await s.socket();
  const expect = (connections, subscriptions, streams) =>
    s.metrics(
      (m) =>
        m.get('broker_connections') === connections &&
        m.get('broker_subscriptions') === subscriptions &&
        m.get('broker_streams') === streams,
      `there are ${connections} connections, ${subscriptions} subscriptions, ${streams} streams`,
    );
  await expect(3, 3, 2);
  two.unsubscribe(identifier);
  await expect(3, 2, 2);
  await one.close();
  const metrics = await expect(2, 0, 0);
  assert.equal(metrics.get('broker_connections_opened_total'), 3);
  two.terminate();
  const says = (m) => m.get('broker_sessions') === 1;
  const last = await s.metrics(says, 'the sessions of ended connections are gone');
  assert.equal(last.get('broker_connections_closed_total'), 2);
  const closed = (reason) => last.get('broker_connections_closed_total', { reason });
  assert.equal(closed('client_closed'), 1);
  assert.equal(closed('client_gone'), 1);
});

scenario('connections that were ended are counted by the reason', {}, async (s) => {
  const binary = await s.socket();
  binary.ws.send(Buffer.from('x'));
  await binary.closing();
  const large = await s.socket();
  large.send('x'.repeat(70_000));
  await large.closing();
  const broken = await s.upgraded();
  broken.write(Buffer.from([0x81, 0x01, 0x78]));
  await broken.closing();
  const garbled = await s.upgraded();
  garbled.send(1, Buffer.from([0xff]));
  await garbled.closing();
  const metrics = await s.connections(0);
  for (const reason of ['unsupported_data', 'message_too_big', 'protocol_error', 'invalid_text']) {
    assert.equal(metrics.get('broker_connections_closed_total', { reason }), 1, reason);
  }
  assert.equal(metrics.get('broker_connections_closed_total'), 4);
});

scenario('handshakes that fail are counted', { 'max-connections': 1 }, async (s) => {
  await assert.rejects(Socket.open(s.broker.url(), { protocols: ['mqtt'] }));
  await s.socket();
  await assert.rejects(Socket.open(s.broker.url()));
  await s.metrics((m) => m.get('broker_handshake_failures_total') === 2, 'two failures');
});

scenario('presence is counted by members, records and causes', SHORT, async (s) => {
  const [watcher, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann', 1);
  const [phone] = await s.member('room', 'ann', 1);
  const bob = await s.socket();
  await bob.subscribe('room', {}, { presence: { id: 'bob', info: 1 } });
  const [cid] = await s.member('room', 'cid', 1);
  let metrics = await s.http.metrics();
  assert.equal(metrics.get('broker_presence_members'), 3);
  assert.equal(metrics.get('broker_presence_records'), 4);
  const joins = (cause) => metrics.get('broker_presence_joins_total', { cause });
  assert.equal(joins('joined'), 2);
  assert.equal(joins('subscribed'), 1);

  ann.join(identifier, 'ann', 2);
  await watcher.hearsPresence(identifier, 'update');
  ann.leave(identifier);
  await watcher.hearsPresence(identifier, 'update');
  phone.leave(identifier);
  await watcher.hearsPresence(identifier, 'leave');
  bob.unsubscribe(identifier);
  await watcher.hearsPresence(identifier, 'leave');
  cid.terminate();
  await watcher.hearsPresence(identifier, 'leave');
  metrics = await s.metrics((m) => m.get('broker_presence_records') === 0, 'nobody is left');
  assert.equal(metrics.get('broker_presence_members'), 0);
  const leaves = (cause) => metrics.get('broker_presence_leaves_total', { cause });
  assert.deepEqual(['left', 'unsubscribed', 'expired'].map(leaves), [1, 1, 1]);
  const updates = (cause) => metrics.get('broker_presence_updates_total', { cause });
  assert.deepEqual(['changed', 'departed'].map(updates), [1, 1]);
  assert.equal(metrics.get('broker_expiry_lag_seconds_count'), 1);
  assert.ok(metrics.get('broker_expiry_lag_seconds_sum') < 1);
});

scenario('commands are counted by name and outcome', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  socket.send({ command: 'subscribe', identifier: 'not JSON' });
  socket.join(identifier, 'ann', 1);
  socket.join(identifier, 'bob', 1);
  socket.leave(identifier);
  socket.leave(identifier);
  socket.leave(identifier);
  socket.whisper(identifier, 1);
  socket.send({ command: 'message', identifier, data: '{}' });
  socket.send('nonsense');
  socket.send({ command: 'pong' });
  socket.unsubscribe(identifier);
  await socket.settle();
  const metrics = await s.http.metrics();
  const count = (command, outcome) => metrics.get('broker_commands_total', { command, outcome });
  for (const [command, ok, refused] of [
    ['subscribe', 1, 1],
    ['join', 1, 1],
    ['leave', 1, 2],
    ['whisper', 1, 0],
    ['message', 0, 1],
    ['unknown', 0, 1],
    ['pong', 1, 0],
    ['ping', 1, 0],
    ['unsubscribe', 1, 0],
  ]) {
    assert.deepEqual([count(command, 'ok'), count(command, 'refused')], [ok, refused], command);
  }
});

scenario('publications and deliveries are counted', {}, async (s) => {
  const socket = await s.socket();
  const identifier = await socket.subscribe('room', { pane: 'left' });
  await socket.subscribe('room', { pane: 'right' });
  await s.subscriber('room');
  const before = await s.http.metrics();
  await s.http.publish('room', 1);
  await s.http.publish('nobody', 1);
  const batch = [1, 2].map((n) => ({ stream: 'room', data: `${n}` }));
  await s.http.post('/_broadcast', batch);
  await s.http.post('/_broadcast', [...batch, {}]);
  await socket.settle(identifier);
  const after = await s.http.metrics();
  const more = (name) => after.get(name) - before.get(name);
  assert.equal(more('broker_publications_total'), 4);
  const answers = socket.transcript.filter((text) => text.includes('"info"')).length;
  const deliveries = more('broker_deliveries_total');
  assert.ok([9, 9 + answers].includes(deliveries), `${deliveries} deliveries of 9`);
});

scenario('HTTP requests are counted by their status', {}, async (s) => {
  const before = await s.http.metrics();
  await s.http.publish('room', 1);
  await s.http.post('/_broadcast', 'nonsense');
  await s.http.users('room');
  await s.http.request('/nope');
  const after = await s.http.metrics();
  const more = (status) => {
    const count = (metrics) => metrics.get('broker_http_requests_total', { status });
    return count(after) - count(before);
  };
  assert.deepEqual(['201', '422', '404'].map(more), [1, 1, 1]);
  assert.ok(more('200') >= 1);
});

scenario('bytes are counted both ways', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  const before = await s.http.metrics();
  await s.http.publish('room', 'x'.repeat(10_000));
  await socket.hears({ identifier });
  socket.whisper(identifier, 'y'.repeat(5000));
  await socket.settle(identifier);
  const after = await s.http.metrics();
  const more = (name) => after.get(name) - before.get(name);
  const sent = more('broker_sent_bytes_total');
  const received = more('broker_received_bytes_total');
  assert.ok(sent > 10_000 && sent < 11_000, `${sent} bytes sent`);
  assert.ok(received > 5000 && received < 5500, `${received} bytes received`);
});

scenario('a client can’t make up labels', {}, async (s) => {
  const socket = await s.socket();
  const marker = 'made-up-label';
  socket.send({ command: marker });
  socket.send({ command: 'subscribe', identifier: identify(marker) });
  await s.http.request(`/${marker}`);
  await s.http.request('/health', { method: 'MADEUPLABEL' });
  await socket.settle();
  const { text } = await s.http.request('/metrics');
  assert.ok(!/made-?up-?label/i.test(text));
});
