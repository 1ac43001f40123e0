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
  await s.counts({ broker_connections: 3, broker_sessions: 3, broker_subscriptions: 3, broker_streams: 2 });
  two.unsubscribe(identifier);
  await s.counts({ broker_connections: 3, broker_sessions: 3, broker_subscriptions: 2, broker_streams: 2 });
  await one.close();
  await s.counts({
    broker_connections: 2,
    broker_sessions: 2,
    broker_subscriptions: 0,
    broker_streams: 0,
    broker_connections_opened_total: 3,
    broker_connections_closed_total: 1,
  });
  two.terminate();
  await s.counts({
    broker_connections: 1,
    broker_sessions: 1,
    broker_connections_closed_total: 2,
    'broker_connections_closed_total{reason="client_closed"}': 1,
    'broker_connections_closed_total{reason="client_gone"}': 1,
  });
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
  const reasons = ['unsupported_data', 'message_too_big', 'protocol_error', 'invalid_text'];
  const closed = reasons.map((reason) => [`broker_connections_closed_total{reason="${reason}"}`, 1]);
  await s.counts({
    broker_connections: 0,
    broker_connections_closed_total: 4,
    ...Object.fromEntries(closed),
  });
});

scenario('handshakes that fail are counted', { 'max-connections': 1 }, async (s) => {
  await assert.rejects(Socket.open(s.broker.url(), { protocols: ['mqtt'] }));
  await s.socket();
  await assert.rejects(Socket.open(s.broker.url()));
  await s.counts({ broker_handshake_failures_total: 2 });
});

scenario('presence is counted by members, records and causes', SHORT, async (s) => {
  const [watcher, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann', 1);
  const [phone] = await s.member('room', 'ann', 1);
  const bob = await s.socket();
  await bob.subscribe('room', {}, { presence: { id: 'bob', info: 1 } });
  const [cid] = await s.member('room', 'cid', 1);
  await s.counts({
    broker_presence_members: 3,
    broker_presence_records: 4,
    'broker_presence_joins_total{cause="joined"}': 2,
    'broker_presence_joins_total{cause="subscribed"}': 1,
  });

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
  const metrics = await s.counts({
    broker_presence_members: 0,
    broker_presence_records: 0,
    'broker_presence_leaves_total{cause="left"}': 1,
    'broker_presence_leaves_total{cause="unsubscribed"}': 1,
    'broker_presence_leaves_total{cause="expired"}': 1,
    'broker_presence_updates_total{cause="changed"}': 1,
    'broker_presence_updates_total{cause="departed"}': 1,
    broker_expiry_lag_seconds_count: 1,
  });
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
  const counts = [
    ['subscribe', 1, 1],
    ['join', 1, 1],
    ['leave', 1, 2],
    ['whisper', 1, 0],
    ['message', 0, 1],
    ['unknown', 0, 1],
    ['pong', 1, 0],
    ['ping', 1, 0],
    ['unsubscribe', 1, 0],
  ].flatMap(([command, ok, refused]) => [
    [`broker_commands_total{command="${command}",outcome="ok"}`, ok],
    [`broker_commands_total{command="${command}",outcome="refused"}`, refused],
  ]);
  await s.counts(Object.fromEntries(counts));
});

scenario('publications and deliveries are counted', {}, async (s) => {
  const socket = await s.socket();
  await socket.subscribe('room', { pane: 'left' });
  await socket.subscribe('room', { pane: 'right' });
  await s.subscriber('room');
  await s.counts({ broker_subscriptions: 3 }); // a turn's deliveries are counted before these
  const since = await s.http.metrics();
  await s.http.publish('room', 1);
  await s.http.publish('nobody', 1);
  const batch = [1, 2].map((n) => ({ stream: 'room', data: `${n}` }));
  await s.http.post('/_broadcast', batch);
  await s.http.post('/_broadcast', [...batch, {}]);
  await s.counts({ broker_publications_total: 4, broker_deliveries_total: 9 }, { since });
});

scenario('HTTP requests are counted by their status', {}, async (s) => {
  await s.http.publish('room', 1);
  await s.http.post('/_broadcast', 'nonsense');
  await s.http.users('room');
  await s.http.request('/nope');
  const metrics = await s.counts({
    'broker_http_requests_total{status="201"}': 1,
    'broker_http_requests_total{status="422"}': 1,
    'broker_http_requests_total{status="404"}': 1,
  });
  assert.ok(metrics.get('broker_http_requests_total', { status: '200' }) >= 1);
});

scenario('bytes are counted both ways', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  await s.http.publish('room', 'x'.repeat(10_000));
  await socket.hears({ identifier });
  socket.whisper(identifier, 'y'.repeat(5000));
  await socket.settle(identifier);
  const sent = (m) => m.get('broker_sent_bytes_total');
  const received = (m) => m.get('broker_received_bytes_total');
  const metrics = await s.metrics((m) => sent(m) > 10_000 && received(m) > 5000, 'all is counted');
  assert.ok(sent(metrics) < 11_000, `${sent(metrics)} bytes sent`);
  assert.ok(received(metrics) < 5500, `${received(metrics)} bytes received`);
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
