// A stop that takes its time: connections are closed one after the other, and those that are still open are served.

import assert from 'node:assert/strict';
import { LATE, until } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { Socket } from './support/socket.js';

/** So many connections are closed over so long, in ms. */
const COUNT = 100;
const DRAIN = 2000;

/** A time in which at most so many are closed: twice their share, as the machine may be busy. */
const WINDOW = 200;
const MOST = (2 * COUNT * WINDOW) / DRAIN;

const FLAGS = { 'shutdown-drain': `${DRAIN}ms` };

scenario('a hundred connections are closed evenly over the time of the drain', FLAGS, async (s) => {
  const sockets = [];
  for (let n = 0; n < COUNT; n += 1) sockets.push((await s.subscriber('room'))[0]);
  const closed = sockets.map(async (socket) => {
    const { code } = await socket.closed;
    assert.equal(code, 1001);
    assert.equal((await socket.hears({ type: 'disconnect' })).reason, 'server_restart');
    return performance.now() - since;
  });
  const since = performance.now();
  s.broker.kill('SIGTERM');
  const times = (await Promise.all(closed)).sort((one, other) => one - other);
  for (const [at, time] of times.entries()) {
    const within = times.slice(at).filter((other) => other < time + WINDOW).length;
    assert.ok(within <= MOST, `${within} within ${WINDOW} ms of ${time}: ${times.map(Math.round)}`);
  }
  const [half, last] = [times[COUNT / 2], times.at(-1)];
  assert.ok(half > 0.3 * DRAIN && half < 0.5 * DRAIN + LATE, `half of them after ${half} ms`);
  assert.ok(last > 0.8 * DRAIN && last < DRAIN + LATE, `the last one after ${last} ms`);
  assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
});

scenario('while it drains, who is still connected is served, newcomers are refused, and nobody leaves', { 'shutdown-drain': '6s', 'presence-ttl': '6s' }, async (s) => {
  const members = [];
  for (let n = 0; n < 3; n += 1) members.push([...(await s.member('room', `user ${n}`)), `user ${n}`]);
  s.broker.kill('SIGTERM');
  const isOpen = ([socket]) => socket.ws.readyState === socket.ws.OPEN;
  await until(() => !members.every(isOpen), 'one of them is closed');
  assert.equal(await s.broker.health(), 503);
  await assert.rejects(Socket.open(s.broker.url()), /HTTP 503/);
  const open = members.filter(isOpen);
  assert.equal(open.length, 2);
  const [[one, identifier, id], [other]] = open;
  await s.http.publish('room', 'still here');
  for (const [socket] of open) await socket.hears({ identifier, message: 'still here' });
  one.whisper(identifier, 'psst');
  await other.hears({ identifier, message: 'psst' });
  one.join(identifier, id, { still: 'here' });
  assert.deepEqual((await other.hearsPresence(identifier, 'update')).info, { still: 'here' });
  const list = await other.list(identifier);
  assert.deepEqual(list.map((member) => member.id).sort(), ['user 0', 'user 1', 'user 2'], 'who was closed is present, too');
  for (const [socket] of members) {
    await socket.closing();
    assert.ok(!socket.transcript.some((text) => text.includes('"leave"') && text.includes('"user')), 'nobody has left');
  }
  assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
});

scenario('without connections there is nothing to drain', { 'shutdown-drain': '1h', 'presence-ttl': '1h' }, async (s) => {
  const since = performance.now();
  assert.deepEqual(await s.broker.stop(), { code: 0, signal: null });
  assert.ok(performance.now() - since < LATE + 1000);
});

scenario('a second signal ends a drain at once', { 'shutdown-drain': '1h', 'presence-ttl': '1h' }, async (s) => {
  const sockets = [await s.socket(), await s.socket()];
  s.broker.kill('SIGTERM');
  await Promise.any(sockets.map((socket) => socket.closed));
  const since = performance.now();
  s.broker.kill('SIGTERM');
  assert.deepEqual(await s.broker.exited(), { code: 130, signal: null });
  const waited = performance.now() - since;
  assert.ok(waited < LATE, `it took ${waited} ms`);
});
