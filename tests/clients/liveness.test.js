// Clients that froze, and a broker that was stopped for a while.

import assert from 'node:assert/strict';
import { LATE, pass, within } from './support/patience.js';
import { BYSTANDERS, ROOM, fault } from './support/fault.js';
import { scenario } from './support/scenario.js';
import { CLOSE, PING, PONG, TEXT } from './support/wire.js';
import { identify } from './support/socket.js';

const TTL = 500;
/** A client that is as busy as its machine still answers in this time. */
const TIMEOUT = 1500;
const QUICK = {
  'presence-ttl': `${TTL}ms`,
  'liveness-interval': '500ms',
  'liveness-timeout': `${TIMEOUT}ms`,
};
/** How long somebody stays who says nothing more, at most and a little more. */
const SILENT = 500 + TIMEOUT + TTL + 200;

fault('frozen clients leave after the liveness timeout and the TTL', QUICK, async (s, bystanders) => {
  const [observer, identifier] = bystanders.watcher;
  const ids = ['cid', 'dan', 'eve'];
  const visitors = await Promise.all(ids.map((id) => s.visitor(ROOM, id)));
  for (const id of ids) await observer.hears({ message: { type: 'join', id, info: {} } });
  const since = performance.now();
  for (const visitor of visitors) visitor.kill('SIGSTOP');
  for (const id of ids) await observer.hears({ message: { type: 'leave', id } }, SILENT + LATE);
  const waited = performance.now() - since;
  // A ping may have been out for a while, so the interval is no part of the least time.
  assert.ok(waited > TIMEOUT + TTL - 500, `gone after ${waited} ms`);
  assert.ok(waited < SILENT + LATE, `gone after ${waited} ms`);
  await s.counts({
    broker_connections: BYSTANDERS,
    'broker_connections_closed_total{reason="no_pong"}': ids.length,
  });
  // what they find when they wake is a connection that was closed
  for (const visitor of visitors) visitor.kill('SIGCONT');
  const exits = visitors.map((visitor) => new Promise((resolve) => visitor.once('exit', resolve)));
  await within(Promise.all(exits), 'the visitors to see the end');
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
  await pass(SILENT + 500);
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
    for (let n = 0; n < (SILENT + 500) / 100; n += 1) {
      await pass(100);
      speak(wire, n);
    }
    assert.ok(open);
  });
}

const BUSY = { ...QUICK, 'liveness-interval': '3s' };
scenario('no native ping goes to a client that was heard within the interval', BUSY, async (s) => {
  const wire = await s.upgraded();
  let pinged = false;
  wire.hears(PING, '', 60_000).then(() => (pinged = true), () => {});
  for (let n = 0; n < 40; n += 1) {
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

fault('nobody hears anything wrong of a broker that was stopped for three TTLs', QUICK, async (s, bystanders) => {
  await s.visitor(ROOM, 'cid');
  const wire = await s.upgraded(); // one that answers pings by hand, and would be called silent
  const pong = setInterval(() => wire.send(PONG, ''), 100);
  s.cleanup(() => clearInterval(pong));
  await bystanders.settle();
  const heard = bystanders.events.length;
  await s.broker.pause();
  await pass(SILENT + 300);
  s.broker.kill('SIGCONT');
  await bystanders.settle();
  await pass(SILENT);
  await bystanders.settle();
  assert.equal(bystanders.events.length, heard, 'nobody left, nobody came');
  const metrics = await s.http.metrics();
  assert.equal(metrics.get('broker_connections_closed_total', { reason: 'no_pong' }), 0);
  assert.ok(metrics.get('broker_paused_seconds_total') >= 2);
});

const PATIENT = { 'presence-ttl': '4s' };
scenario('the time a broker is stopped counts against no TTL', PATIENT, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann');
  const [bob] = await s.member('room', 'bob');
  const gone = performance.now();
  ann.terminate();
  bob.terminate();
  await s.connections(1);
  await s.broker.pause();
  const before = performance.now() - gone; // so much of the TTL, at most, is over
  await pass(5000);
  const resumed = performance.now();
  s.broker.kill('SIGCONT');
  assert.equal(await observer.count(identifier), 2, 'the TTL is not over');
  await s.member('room', 'bob');
  const { id } = await observer.hearsPresence(identifier, 'leave', 4000 + LATE);
  const waited = performance.now() - resumed;
  assert.equal(id, 'ann');
  assert.ok(waited > 4000 - before - 100 && waited < 4000 + LATE, `ann left ${waited} ms after the pause`);
  await s.counts({ broker_presence_records: 1 });
  await observer.settle(identifier);
  const told = observer.unheard.map((frame) => `${frame.message.type} ${frame.message.id}`);
  assert.deepEqual(told, ['join ann', 'join bob']);
});

const TWO_SECONDS = { 'presence-ttl': '2s' };
fault('who goes while the broker is stopped leaves when it runs again: at once by will, else after the TTL', TWO_SECONDS, async (s, bystanders) => {
  const [observer, identifier] = bystanders.watcher;
  const endings = {
    cid: (wire) => wire.reset(),
    dan: (wire) => wire.destroy(),
    eve: (wire) => wire.send(CLOSE, Buffer.from([3, 232])),
    fay: (wire) => wire.say({ command: 'leave', identifier }),
  };
  const wires = {};
  for (const id of Object.keys(endings)) {
    wires[id] = await s.upgraded();
    wires[id].say({ command: 'subscribe', identifier, presence: { id } });
    await wires[id].hears(TEXT, `"join","id":"${id}"`);
  }
  await s.broker.pause();
  for (const [id, end] of Object.entries(endings)) end(wires[id]);
  // the kernel takes them in for the broker, which finds them gone
  for (let n = 0; n < 50; n += 1) {
    const wire = await s.wire();
    wire.handshake();
    wire.say({ command: 'subscribe', identifier, presence: { id: `ghost-${n}` } });
    if (n % 2 === 1) await pass(2);
    wire.reset();
  }
  await pass(2500);
  const resumed = performance.now();
  s.broker.kill('SIGCONT');
  const left = async (id) => {
    await observer.hears({ identifier, message: { type: 'leave', id } });
    return performance.now() - resumed;
  };
  await left('fay');
  // one look at the clock is 100 ms
  for (const id of ['cid', 'dan', 'eve']) assert.ok((await left(id)) > 1890, `${id} left before the TTL`);
  const [first] = bystanders.events.filter(({ type, id }) => type === 'leave' && id in endings);
  assert.equal(first.id, 'fay', 'who says so leaves before any TTL is over');
});

scenario('what clients sent to a stopped broker is followed when it runs again', {}, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [ann] = await s.subscriber('room');
  await s.broker.pause();
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
