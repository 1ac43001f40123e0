// The end of the process: asked for once, asked for twice, with clients that don't cooperate.

import assert from 'node:assert/strict';
import { LATE, until, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { Socket, identify } from './support/socket.js';
import { TEXT } from './support/wire.js';

for (const signal of ['SIGTERM', 'SIGINT']) {
  scenario(`on ${signal} every client is told to come back, and the exit code is 0`, {}, async (s) => {
    const [follower] = await s.subscriber('room');
    const [member, identifier] = await s.member('room', 'ann');
    await follower.hearsPresence(identifier, 'join');
    const extended = await s.socket('/cable', { protocols: ['actioncable-v1-ext-json'] });
    const sockets = [follower, member, extended, await s.socket()];
    s.broker.kill(signal);
    const expected = { type: 'disconnect', reason: 'server_restart', reconnect: true };
    for (const socket of sockets) {
      assert.deepEqual(await socket.hears({ type: 'disconnect' }), expected);
      assert.equal((await socket.closing()).code, 1001);
      socket.hearsNothing('no leaves are told on the way out');
    }
    assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
  });
}

scenario('five hundred clients are all told', { 'shutdown-timeout': '10s' }, async (s) => {
  const sockets = [];
  for (let n = 0; n < 10; n += 1) {
    sockets.push(...(await Promise.all(Array.from({ length: 50 }, () => s.subscriber('room')))));
  }
  s.broker.kill('SIGTERM');
  for (const [socket] of sockets) {
    await socket.hears({ type: 'disconnect', reason: 'server_restart' });
    assert.equal((await socket.closing()).code, 1001);
  }
  assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
});

scenario('what was published before the stop is delivered before the goodbye', {}, async (s) => {
  const [socket] = await s.subscriber('room');
  for (let n = 0; n < 50; n += 1) await s.http.publish('room', n);
  s.broker.kill('SIGTERM');
  await socket.hears({ type: 'disconnect' });
  const numbers = socket.unheard.map(({ message }) => message);
  assert.deepEqual(numbers, Array.from({ length: 50 }, (_, n) => n));
  assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
});

for (const [what, begin, answer] of [
  ['that waits for its next request', 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n', 200],
  ['that said nothing yet', ''],
  ['that stopped within its headers', 'GET /cable HTTP/1.1\r\n'],
]) {
  scenario(`a connection ${what} doesn’t delay the stop`, { 'shutdown-timeout': '30s' }, async (s) => {
    const wire = await s.wire();
    wire.write(begin);
    if (answer) assert.equal((await wire.answer()).status, answer);
    await s.http.request('/health');
    s.broker.kill('SIGTERM');
    assert.deepEqual(await s.broker.exited(12_000), { code: 0, signal: null });
  });
}

/** Makes a client that reads nothing while much is on its way to it. */
async function stuckClient(s) {
  const stuck = await s.upgraded();
  stuck.say({ command: 'subscribe', identifier: identify('flood') });
  await stuck.hears(TEXT, 'confirm_subscription');
  stuck.socket.pause();
  const data = JSON.stringify('x'.repeat(90_000));
  const batch = Array.from({ length: 10 }, () => ({ stream: 'flood', data }));
  for (let n = 0; n < 25; n += 1) {
    const answer = await s.http.post('/_broadcast', batch);
    assert.equal(answer.status, 201);
  }
}

const LARGE = { 'max-outbox-size': 64 * 1024 * 1024 };

scenario('while it stops, the broker says 503 on /health and lets nobody in', { ...LARGE, 'shutdown-timeout': '6s' }, async (s) => {
  await stuckClient(s);
  const well = await s.socket();
  s.broker.kill('SIGTERM');
  assert.equal((await well.closing()).code, 1001);
  await until(async () => (await s.broker.health()) === 503, '/health says 503');
  await assert.rejects(Socket.open(s.broker.url()), /HTTP 503|ECONNREFUSED|ECONNRESET/);
  assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
});

scenario('a client that is stuck delays the stop no longer than the timeout', { ...LARGE, 'shutdown-timeout': '1s' }, async (s) => {
  await stuckClient(s);
  const since = performance.now();
  s.broker.kill('SIGTERM');
  assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
  const waited = performance.now() - since;
  assert.ok(waited < 1000 + LATE, `it took ${waited} ms`);
});

scenario('a second signal ends it at once', { ...LARGE, 'shutdown-timeout': '60s' }, async (s) => {
  await stuckClient(s);
  const well = await s.socket();
  s.broker.kill('SIGTERM');
  await well.closing();
  const since = performance.now();
  s.broker.kill('SIGTERM');
  await s.broker.exited();
  const waited = performance.now() - since;
  assert.ok(waited < LATE, `it took ${waited} ms`);
});

scenario('a broker can start anew on the port at once', {}, async (s) => {
  const sockets = [];
  for (let n = 0; n < 20; n += 1) sockets.push(await s.socket());
  await s.broker.stop();
  await Promise.all(sockets.map((socket) => within(socket.closed, 'the end')));
  await s.start({ port: s.broker.port });
  await s.socket();
});
