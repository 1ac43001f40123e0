// Readers that stop: what waits for them is bounded, and it costs nobody else anything.
//
// Bounds on memory are told as the peak of the broker's resident memory above what it had before.
// They hold for a debug build, and are some times what should wait: a loose bound on the order of
// things, far below what an unbounded queue would come to.

import assert from 'node:assert/strict';
import { crowd } from './support/crowd.js';
import { until, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';
import { memory } from './support/vitals.js';
import { TEXT, frame } from './support/wire.js';

const MIB = 1024 * 1024;

/** How far resident memory has risen at most, in MiB. */
function watchMemory(s) {
  const before = memory(s.broker, 'VmRSS');
  return () => (memory(s.broker, 'VmHWM') - before) / MIB;
}

function assertRise(t, rise, most) {
  t.diagnostic(`resident memory rose by ${rise.toFixed(1)} MiB at most`);
  assert.ok(rise < most, `resident memory rose by ${rise} MiB, more than ${most}`);
}

/** A client that follows a stream and then reads nothing more. */
async function stopped(s, stream) {
  const wire = await s.upgraded();
  wire.say({ command: 'subscribe', identifier: identify(stream) });
  await wire.hears(TEXT, 'confirm_subscription');
  wire.socket.pause();
  return wire;
}

/** Publishes so many messages, ten at once; each of the readers gets all of them, in order. */
async function publishPast(s, readers, identifier, messages, size) {
  const pad = 'x'.repeat(size);
  for (let n = 0; n < messages; n += 10) {
    const batch = Array.from({ length: 10 }, (_, m) => ({
      stream: 'room',
      data: JSON.stringify({ n: n + m, pad }),
    }));
    assert.equal((await s.http.post('/_broadcast', batch)).status, 201);
    for (const reader of readers) {
      await reader.settle(identifier);
      for (let m = n; m < n + 10; m += 1) {
        const { message } = await reader.hears({ identifier });
        assert.ok(message.n === m && message.pad === pad, `message ${message.n} is the next, and whole`);
      }
      reader.hearsNothing();
      reader.transcript.length = 0;
    }
  }
}

const ended = (s, count) =>
  s.counts({
    broker_outbox_overflows_total: count,
    'broker_connections_closed_total{reason="too_slow"}': count,
  });

scenario('100 MB pass one reader that has stopped, and all others get them', {}, async (s) => {
  const readers = [];
  for (let n = 0; n < 3; n += 1) readers.push(await s.subscriber('room'));
  const identifier = readers[0][1];
  const slow = await stopped(s, 'room');
  const rise = watchMemory(s);
  await publishPast(s, readers.map(([reader]) => reader), identifier, 1700, 60_000);
  const metrics = await ended(s, 1);
  assert.ok(metrics.get('broker_sent_bytes_total') > 3 * 100e6);
  // an outbox of 1 MiB, a history of a hundred messages (6 MB), and what is under way
  assertRise(s.t, rise(), 32);
  slow.socket.resume();
  await within(slow.ended, 'the slow reader to see the end');
});

scenario('many readers that have stopped share what waits for them', {}, async (s) => {
  const [reader, identifier] = await s.subscriber('room');
  const slow = await Promise.all(Array.from({ length: 200 }, () => stopped(s, 'room')));
  const rise = watchMemory(s);
  await publishPast(s, [reader], identifier, 200, 60_000);
  await ended(s, 200);
  // 200 outboxes hold up to 1 MiB each, but it is the same messages
  assertRise(s.t, rise(), 64);
  for (const wire of slow) wire.destroy();
  await s.connections(1);
});

const QUIET = { 'presence-ttl': '1h' };

/** How long somebody else waits for an answer at most, while something is under way. */
function watchOthers(socket, identifier) {
  let goOn = true;
  let worst = 0;
  const watched = (async () => {
    while (goOn) {
      const start = performance.now();
      await socket.settle(identifier);
      worst = Math.max(worst, performance.now() - start);
    }
  })();
  return async () => {
    goOn = false;
    await watched;
    return worst;
  };
}

/** Another info and the whole list, again and again: 142 KB of it. */
function questions(identifier) {
  const one = (n) => [
    frame(TEXT, JSON.stringify({ command: 'join', identifier, presence: { id: 'greedy', info: n } })),
    frame(TEXT, JSON.stringify({ command: 'presence', identifier })),
  ];
  return Buffer.concat(Array.from({ length: 640 }, (_, n) => one(n)).flat());
}

for (const reads of [true, false]) {
  scenario(`lists of a large room, each another one, for a client that ${reads ? 'reads' : 'does not read'}`, QUIET, async (s) => {
    await crowd(s, 'room', 8500, { name: 'somebody' });
    const [other, identifier] = await s.subscriber('room');
    assert.equal(await other.count(identifier), 8500);
    const greedy = reads ? await s.upgraded() : await stopped(s, 'room');
    if (reads) {
      greedy.say({ command: 'subscribe', identifier });
      await greedy.hears(TEXT, 'confirm_subscription');
    }
    const bytes = questions(identifier);
    assert.ok(bytes.length > 140_000 && bytes.length < 145_000, `${bytes.length} bytes`);
    const rise = watchMemory(s);
    const worst = watchOthers(other, identifier);
    greedy.write(bytes);
    if (reads) {
      // A list and an update each; forty are enough to see how it goes.
      await until(() => greedy.texts.length > 80, 'forty lists are told', 20_000);
    } else {
      await ended(s, 1);
    }
    const waited = await worst();
    s.t.diagnostic(`others waited ${waited.toFixed(0)} ms at most`);
    assert.ok(waited < 2000, `others waited ${waited} ms`);
    // a list is half a megabyte
    assertRise(s.t, rise(), 40);
  });
}

const DEEP = { 'history-limit': 120 };

scenario('a client that asks for histories without end and reads nothing holds one', DEEP, async (s) => {
  const [reader, identifier] = await s.subscriber('room');
  await publishPast(s, [reader], identifier, 120, 60_000);
  const wire = await stopped(s, 'room');
  const rise = watchMemory(s);
  const request = { command: 'history', identifier, history: { since: 1 } };
  // The latest that it missed is what came before it subscribed: all of it, 7.2 MB.
  wire.write(Buffer.concat(Array(1000).fill(frame(TEXT, JSON.stringify(request)))));
  const metrics = await ended(s, 1);
  assert.ok(metrics.get('broker_history_requests_total', { outcome: 'ok' }) < 20);
  assertRise(s.t, rise(), 64);
});
