// A wall clock that jumps, back and forth, by hours and more. What lasts goes by another clock;
// what names a time of day goes by this one, as it is then.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { ROOM, fault } from './support/fault.js';
import { Http } from './support/http.js';
import { LATE, pass } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, fromNow, sign, token } from './support/sign.js';
import { identify } from './support/socket.js';
import { WallClock } from './support/wallclock.js';

const HOUR = 3600;
const clock = new WallClock();
after(() => clock.remove());

const IDENTIFIER = identify(ROOM);
/** By hours, by a year, by decades, and back. Linux sets no clock to before 1970. */
const STEPS = ['+5h', '-3h', '+1y', '-50y', '+0'];

/** A fault in a broker that goes by the clock, which is right again when the fault is over. */
function jump(name, flags, run, options) {
  const harm = async (...all) => {
    try {
      await run(...all);
    } finally {
      clock.set('+0');
    }
  };
  fault(name, flags, harm, { env: clock.env, ...options });
}

/** What the broker takes for the time of day, in seconds of the Unix epoch, by its next ping. */
async function timeOfDay(socket) {
  const heard = socket.pings.length;
  for (let waited = 0; socket.pings.length === heard; waited += 10) {
    assert.ok(waited < 3000, 'a ping comes');
    await pass(10);
  }
  return JSON.parse(socket.pings.at(-1)).message;
}

/** Whether a time is so many seconds from the true one, give or take. */
function isOff(time, seconds) {
  const off = time - Date.now() / 1000;
  assert.ok(Math.abs(off - seconds) < 5, `the clock is off by ${off} s, not ${seconds}`);
}

const TTL = { 'presence-ttl': '1500ms' };
jump('a TTL is as long as ever when the clock jumps', TTL, async (s, bystanders) => {
  const [observer, identifier] = bystanders.watcher;
  for (const [at, step] of STEPS.entries()) {
    const id = `ghost-${at}`;
    const [ghost] = await s.member(ROOM, id);
    await observer.hears({ message: { type: 'join', id, info: {} } });
    const since = performance.now();
    ghost.terminate();
    await pass(200);
    clock.set(step);
    await observer.hears({ identifier, message: { type: 'leave', id } });
    const waited = performance.now() - since;
    assert.ok(waited > 1440 && waited < 1500 + LATE, `it left ${waited} ms after it went, at ${step}`);
  }
});

const PINGS = { 'ping-interval': '500ms', 'liveness-interval': '500ms', 'liveness-timeout': '1500ms' };
jump('pings come as often as ever and tell the time as it is set', PINGS, async (s, bystanders) => {
  const [socket] = await s.subscriber(ROOM);
  const heard = bystanders.events.length;
  const seconds = { '+5h': 5 * HOUR, '-3h': -3 * HOUR, '+0': 0 };
  for (const step of STEPS) {
    clock.set(step);
    const before = socket.pings.length;
    const since = performance.now();
    await pass(2500); // longer than a client may be silent
    const waited = performance.now() - since;
    const more = socket.pings.length - before;
    assert.ok(more >= 2 && more <= 2 + waited / 500, `${more} pings in ${waited} ms at ${step}`);
    const time = await timeOfDay(socket);
    if (step in seconds) isOff(time, seconds[step]);
    else assert.ok(Number.isSafeInteger(time) && time >= 0, `a ping tells ${time} at ${step}`);
  }
  await bystanders.settle();
  assert.equal(bystanders.events.length, heard, 'nobody is called silent for it');
  const metrics = await s.http.metrics();
  assert.equal(metrics.get('broker_connections_closed_total', { reason: 'no_pong' }), 0);
  assert.equal(metrics.get('broker_paused_seconds_total'), 0, 'a jump is no pause');
});

jump('a frozen client is noticed as soon as ever when the clock jumps', PINGS, async (s, bystanders) => {
  const [observer] = bystanders.watcher;
  for (const [at, step] of ['+5h', '-3h'].entries()) {
    const id = `frozen-${at}`;
    const visitor = await s.visitor(ROOM, id);
    const since = performance.now();
    visitor.kill('SIGSTOP');
    clock.set(step);
    await observer.hears({ message: { type: 'leave', id } }, 4000 + LATE);
    const waited = performance.now() - since;
    assert.ok(waited > 1700 && waited < 2300 + LATE, `gone after ${waited} ms at ${step}`);
  }
});

/** Asks for history with a new subscription: the messages, or `null` if it is refused. */
async function missed(s, history) {
  const socket = await s.socket();
  socket.send({ command: 'subscribe', identifier: IDENTIFIER, history });
  await socket.hears({ type: 'confirm_subscription' });
  const messages = [];
  for (;;) {
    const frame = await socket.hears({ identifier: IDENTIFIER });
    if (frame.type === 'reject_history') return null;
    if (frame.type === 'confirm_history') return messages;
    messages.push(frame.message);
  }
}

// The bystanders' greetings are in the history, too; here numbers are what counts.
const numbers = (messages) => messages?.filter((message) => typeof message === 'number') ?? null;

jump('history since a time holds all that was published since then by the clock of then', {}, async (s, bystanders) => {
  const [observer] = bystanders.watcher;
  const frames = [];
  for (const [n, step] of ['+0', '+5h', '-3h'].entries()) {
    clock.set(step);
    await s.http.publish(ROOM, n);
    frames.push(await observer.hears({ message: n }));
  }
  const since = async (seconds) => numbers(await missed(s, { since: fromNow(seconds) }));
  const at = ({ epoch, offset }) => ({ streams: { [ROOM]: { epoch, offset } } });
  for (const step of ['-3h', '+0', '+5h', '+6h']) {
    clock.set(step); // what time it is now is no part of the question
    assert.deepEqual(await since(-4 * HOUR), [0, 1, 2]);
    assert.deepEqual(await since(-HOUR), [0, 1, 2], 'what came after something since then is told, too');
    assert.deepEqual(await since(HOUR), [1, 2]);
    assert.deepEqual(await since(6 * HOUR), []);
    assert.deepEqual(numbers(await missed(s, at(frames[0]))), [1, 2], 'a position knows no time');
    assert.deepEqual(numbers(await missed(s, at(frames[2]))), []);
  }
});

const BRIEF = { 'history-ttl': '1s' };
jump('history is kept as long as ever when the clock jumps', BRIEF, async (s, bystanders) => {
  const [observer] = bystanders.watcher;
  for (const [n, step] of STEPS.entries()) {
    const since = performance.now();
    await s.http.publish(ROOM, n);
    const { epoch, offset } = await observer.hears({ message: n });
    clock.set(step);
    const before = { streams: { [ROOM]: { epoch, offset: offset - 1 } } };
    const told = numbers(await missed(s, before));
    if (performance.now() - since < 900) assert.deepEqual(told, [n], `kept at ${step}`);
    await s.counts({ broker_history_publications: 0 });
    const waited = performance.now() - since;
    assert.ok(waited > 940 && waited < 1000 + LATE, `it expired after ${waited} ms at ${step}`);
    assert.equal(await missed(s, before), null, 'what is not kept is refused');
  }
});

jump('after a jump back, history since a time is refused rather than told with a gap', BRIEF, async (s, bystanders) => {
  const [observer] = bystanders.watcher;
  clock.set('+5h');
  await s.http.publish(ROOM, 1);
  await observer.hears({ message: 1 });
  await s.counts({ broker_history_publications: 0 });
  clock.set('+0');
  await s.http.publish(ROOM, 2);
  assert.equal(await missed(s, { since: fromNow(-1) }), null, 'the first was published since, by its time');
  assert.deepEqual(numbers(await missed(s, { since: fromNow(6 * HOUR) })), []);
});

scenario('a token is good or expired by the clock as it is set', { secret: SECRET }, async (s) => {
  s.http = new Http(s.broker.origin, derive('metrics-cable'));
  const mine = token({ nbf: fromNow(-60), exp: fromNow(60) });
  const answer = async () => {
    const socket = await s.open(`/cable?jid=${mine}`);
    const frame = await socket.hears({});
    return frame.reason ?? frame.type;
  };
  try {
    const open = await s.socket(`/cable?jid=${mine}`);
    for (const [step, expected] of [
      ['+0', 'welcome'],
      ['+2h', 'token_expired'],
      ['-2h', 'unauthorized'],
      ['+1y', 'token_expired'],
      ['-50y', 'unauthorized'],
      ['+0', 'welcome'],
    ]) {
      clock.set(step);
      assert.equal(await answer(), expected, step);
      await open.settle(); // who is in stays in
    }
    const identifier = JSON.stringify({ channel: '$pubsub', signed_stream_name: sign(ROOM) });
    open.send({ command: 'subscribe', identifier });
    await open.hears({ type: 'confirm_subscription', identifier });
  } finally {
    clock.set('+0');
  }
}, { env: clock.env });
