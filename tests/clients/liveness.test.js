// Clients that froze, and a broker that was stopped for a while.

import assert from 'node:assert/strict';
import { pass } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { PING, PONG, TEXT } from './support/wire.js';
import { identify } from './support/socket.js';

const QUICK = {
  'presence-ttl': '500ms',
  'liveness-interval': '500ms',
  'liveness-timeout': '500ms',
};

scenario('a frozen client leaves after the liveness timeout and the TTL', QUICK, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const visitor = await s.visitor('room', 'ann');
  await observer.hearsPresence(identifier, 'join');
  const since = performance.now();
  visitor.kill('SIGSTOP');
  await observer.hearsPresence(identifier, 'leave', 6000);
  const waited = performance.now() - since;
  // The ping may have been about to leave, so the interval is no part of the least time.
  assert.ok(waited > 900, `gone after ${waited} ms`);
  assert.ok(waited < 3500, `gone after ${waited} ms`);
  await s.metrics((m) => m.get('broker_connections_closed_total', { reason: 'no_pong' }) === 1, 'it counts as no_pong');
});

scenario('a client that answers no ping is told so and closed', QUICK, async (s) => {
  const wire = await s.upgraded();
  await wire.hears(PING);
  const { text } = await wire.hears(TEXT, '"disconnect"');
  const expected = { type: 'disconnect', reason: 'no_pong', reconnect: true };
  assert.deepEqual(JSON.parse(text), expected);
  assert.equal(await wire.closing(), 1000);
});

scenario('a client that answers pings stays', QUICK, async (s) => {
  const [socket, identifier] = await s.member('room', 'ann');
  await pass(2500);
  await socket.settle(identifier);
  socket.hearsNothing();
});

// The head of a frame and its first bytes; the rest never comes.
const long = Buffer.from([0x81, 0xc8, 0, 0, 0, 0, ...Buffer.from('x'.repeat(70))]);
for (const [what, speak] of [
  ['commands', (wire) => wire.say({ command: 'pong' })],
  ['unasked pongs', (wire) => wire.send(PONG, '')],
  ['nonsense', (wire) => wire.say('nonsense')],
  ['single bytes of a long frame', (wire, n) => wire.write(long.subarray(n, n + 1))],
]) {
  scenario(`a client that answers no ping but sends ${what} stays`, QUICK, async (s) => {
    const wire = await s.upgraded();
    let open = true;
    wire.ended.then(() => (open = false));
    for (let n = 0; n < 25; n += 1) {
      await pass(100);
      speak(wire, n);
    }
    assert.ok(open);
  });
}

const BUSY = { ...QUICK, 'liveness-interval': '2s' };
scenario('no native ping goes to a client that was heard within the interval', BUSY, async (s) => {
  const wire = await s.upgraded();
  let pinged = false;
  wire.hears(PING, '', 60_000).then(() => (pinged = true), () => {});
  for (let n = 0; n < 30; n += 1) {
    wire.say({ command: 'pong' });
    await pass(100);
  }
  assert.ok(!pinged);
});

scenario('being sent to is no sign of life', QUICK, async (s) => {
  const wire = await s.upgraded();
  wire.say({ command: 'subscribe', identifier: identify('room') });
  await wire.hears(TEXT, 'confirm_subscription');
  const talk = setInterval(() => s.http.publish('room', 1).catch(() => {}), 50);
  s.cleanup(() => clearInterval(talk));
  await wire.hears(TEXT, 'no_pong');
});

scenario('members survive a broker that was stopped for three TTLs', QUICK, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  await s.member('room', 'ann');
  await s.visitor('room', 'bob');
  await observer.hearsPresence(identifier, 'join');
  await observer.hearsPresence(identifier, 'join');
  s.broker.kill('SIGSTOP');
  await pass(2500);
  s.broker.kill('SIGCONT');
  await observer.settle(identifier);
  await pass(2000);
  await observer.settle(identifier);
  observer.hearsNothing('nobody left');
  assert.equal(await observer.count(identifier), 2);
  const metrics = await s.http.metrics();
  assert.equal(metrics.get('broker_connections_closed_total'), 0);
  assert.ok(metrics.get('broker_paused_seconds_total') > 1, 'the pause was noticed');
});

const PATIENT = { 'presence-ttl': '2s' };
scenario('the time a broker is stopped counts against no TTL', PATIENT, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann');
  const [bob] = await s.member('room', 'bob');
  ann.terminate();
  bob.terminate();
  await s.connections(1);
  s.broker.kill('SIGSTOP');
  await pass(3000);
  const resumed = performance.now();
  s.broker.kill('SIGCONT');
  assert.equal(await observer.count(identifier), 2, 'the TTL is not over');
  await s.member('room', 'bob');
  const { id } = await observer.hearsPresence(identifier, 'leave');
  const waited = performance.now() - resumed;
  assert.equal(id, 'ann');
  assert.ok(waited > 1000 && waited < 3500, `ann left ${waited} ms after the pause`);
  await s.metrics((m) => m.get('broker_presence_records') === 1, 'bob’s old record is gone');
  await observer.settle(identifier);
  const told = observer.unheard.map((frame) => `${frame.message.type} ${frame.message.id}`);
  assert.deepEqual(told, ['join ann', 'join bob']);
});

scenario('what clients sent to a stopped broker is followed when it runs again', {}, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [ann] = await s.subscriber('room');
  s.broker.kill('SIGSTOP');
  for (let n = 0; n < 100; n += 1) {
    ann.join(identifier, 'ann', n);
    ann.leave(identifier);
  }
  s.broker.kill('SIGCONT');
  for (let n = 0; n < 100; n += 1) {
    assert.equal((await observer.hearsPresence(identifier, 'join')).info, n);
    await observer.hearsPresence(identifier, 'leave');
  }
});
