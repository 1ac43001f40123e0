// Too slow, too many, too much.

import assert from 'node:assert/strict';
import { until, within } from './support/patience.js';
import { eventsOf } from './support/replay.js';
import { scenario } from './support/scenario.js';
import { Socket, identify } from './support/socket.js';
import { CLOSE, PING, TEXT, frame } from './support/wire.js';

const SMALL = { 'max-outbox-size': 256 * 1024, 'presence-ttl': '200ms' };

scenario('a client that does not read is ended as too slow; others get everything', SMALL, async (s) => {
  const [reader, identifier] = await s.subscriber('room');
  const slow = await s.upgraded();
  const presence = { id: 'slow', info: {} };
  slow.say({ command: 'subscribe', identifier, presence });
  await slow.hears(TEXT, '"join"');
  await reader.hearsPresence(identifier, 'join');
  slow.socket.pause();
  const pad = 'x'.repeat(60_000);
  let sent = 0;
  await until(async () => {
    for (let n = 0; n < 10; n += 1) {
      await s.http.publish('room', { n: (sent += 1), pad });
      await reader.hears({ identifier, message: { n: sent, pad } }); // no more waits for it than it is allowed
    }
    return (await s.http.metrics()).get('broker_outbox_overflows_total') === 1;
  }, 'the slow client is ended', 20_000);
  await s.counts({
    broker_presence_members: 0,
    broker_connections: 1,
    'broker_connections_closed_total{reason="too_slow"}': 1,
  });
  slow.socket.resume();
  await within(slow.ended, 'the slow client to see the end');
});

for (const [what, bytes] of [
  ['lists', (identifier) => frame(TEXT, JSON.stringify({ command: 'presence', identifier }))],
  ['pongs', () => frame(TEXT, '{"command":"ping"}')],
  ['errors', () => frame(TEXT, 'nonsense')],
  ['native pongs', () => frame(PING, 'x'.repeat(125))],
]) {
  scenario(`a client that asks for ${what} without end and reads nothing is ended`, SMALL, async (s) => {
    const [bystander, identifier] = await s.member('room', 'bystander', 'x'.repeat(1000));
    const greedy = await s.upgraded();
    greedy.say({ command: 'subscribe', identifier });
    await greedy.hears(TEXT, 'confirm_subscription');
    greedy.socket.pause();
    const questions = Buffer.concat(Array(1000).fill(bytes(identifier)));
    await until(async () => {
      // Bounded here too: what the broker doesn't read is not piled up on this side.
      if (greedy.socket.writableLength < 1_000_000) greedy.write(questions);
      await bystander.settle(identifier);
      return (await s.http.metrics()).get('broker_outbox_overflows_total') === 1;
    }, 'the greedy client is ended', 20_000);
    await s.connections(1);
    bystander.hearsNothing();
  });
}

scenario('a burst that the client reads is no reason to end it', SMALL, async (s) => {
  const [reader, identifier] = await s.subscriber('room');
  const pad = 'x'.repeat(1000);
  const batch = Array.from({ length: 100 }, (_, n) => ({
    stream: 'room',
    data: JSON.stringify({ n, pad }),
  }));
  for (let round = 0; round < 10; round += 1) {
    assert.equal((await s.http.post('/_broadcast', batch)).status, 201);
    await reader.settle(identifier);
  }
  assert.equal(reader.unheard.length, 1000);
});

scenario('connections over the limit are refused with 503 until one ends', { 'max-connections': 3 }, async (s) => {
  const sockets = [await s.socket(), await s.socket(), await s.socket()];
  for (let n = 0; n < 3; n += 1) {
    await assert.rejects(Socket.open(s.broker.url()), /HTTP 503/);
  }
  for (const socket of sockets) await socket.settle();
  assert.equal((await s.http.request('/health')).status, 200, 'HTTP is answered all the same');
  await s.http.publish('room', 1);
  await sockets[0].close();
  await s.roomFor(() => s.socket());
  await assert.rejects(Socket.open(s.broker.url()), /HTTP 503/);
  sockets[1].terminate();
  await s.roomFor(() => s.socket());
});

scenario('a hundred refused connections leave room for one that is not', { 'max-connections': 1 }, async (s) => {
  const socket = await s.socket();
  const refused = Array.from({ length: 100 }, () => Socket.open(s.broker.url()));
  for (const result of await Promise.allSettled(refused)) {
    assert.match(String(result.reason), /HTTP 503/);
  }
  await socket.close();
  await s.roomFor(() => s.socket());
});

scenario('five hundred clients hear a publication each once', {}, async (s) => {
  const sockets = [];
  for (let n = 0; n < 10; n += 1) {
    const some = Array.from({ length: 50 }, () => s.subscriber('room'));
    sockets.push(...(await Promise.all(some)));
  }
  for (let n = 0; n < 10; n += 1) await s.http.publish('room', n);
  for (const [socket, identifier] of sockets) {
    await socket.settle(identifier);
    assert.deepEqual(socket.unheard.map(({ message }) => message), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  }
});

scenario('a long list reaches the one who asks for it whole', { 'presence-ttl': '60s' }, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const info = { about: 'é'.repeat(900) };
  for (let n = 0; n < 500; n += 20) {
    const visits = Array.from({ length: 20 }, async (_, m) => {
      const [socket] = await s.member('room', `user-${n + m}`, info);
      socket.terminate();
    });
    await Promise.all(visits);
  }
  const members = await observer.list(identifier);
  const joined = eventsOf(observer).map(({ id }) => ({ id, info }));
  assert.equal(members.length, 500);
  assert.deepEqual(members, joined, 'all, in the order they arrived');
  assert.deepEqual((await s.http.users('room')).records, members);
});

scenario('a client that closes while much is on its way to it ends at once', {}, async (s) => {
  const slow = await s.upgraded();
  slow.say({ command: 'subscribe', identifier: identify('room') });
  await slow.hears(TEXT, 'confirm_subscription');
  slow.socket.pause();
  const data = JSON.stringify('x'.repeat(60_000));
  const batch = Array.from({ length: 10 }, () => ({ stream: 'room', data }));
  for (let n = 0; n < 5; n += 1) await s.http.post('/_broadcast', batch);
  slow.send(CLOSE, Buffer.from([3, 232]));
  slow.socket.resume();
  await within(slow.ended, 'the connection to end');
  await s.connections(0);
});
