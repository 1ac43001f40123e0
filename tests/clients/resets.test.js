// Connections that end by a TCP reset, in every state one can be in. Each is done many times at a
// time and over and over: nothing may be left of any.

import assert from 'node:assert/strict';
import { ROOM, fault, rounds } from './support/fault.js';
import { pass, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';
import { restingVitals, returnsTo } from './support/vitals.js';
import { BINARY, CLOSE, CONTINUATION, PING, TEXT, commandFrame, frame, handshake, wrote } from './support/wire.js';

/** How many do the same at the same time. */
const AT_ONCE = 50;
const ROUNDS = 4;

const IDENTIFIER = identify(ROOM);
const GOODBYE = frame(CLOSE, Buffer.from([3, 232]));
const POST = 'POST /_broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n';

const subscribe = commandFrame({ command: 'subscribe', identifier: IDENTIFIER });
const join = (id) => commandFrame({ command: 'join', identifier: IDENTIFIER, presence: { id } });
const list = commandFrame({ command: 'presence', identifier: IDENTIFIER });
const long = frame(TEXT, JSON.stringify({ command: 'ping', pad: 'x'.repeat(5000) }));

/** A WebSocket that follows the room. */
async function follower(s) {
  const wire = await s.upgraded(subscribe);
  await wire.hears(TEXT, 'confirm_subscription');
  return wire;
}

/** A WebSocket whose member is present. */
async function member(s, id) {
  const wire = await follower(s);
  wire.write(join(id));
  await wire.hears(TEXT, `"join","id":"${id}"`);
  return wire;
}

/** Says much to everyone in the room: more than a socket holds, less than an outbox. */
async function publishMuch(s, count = 10) {
  const data = JSON.stringify('x'.repeat(20_000));
  const batch = Array.from({ length: count }, () => ({ stream: ROOM, data }));
  assert.equal((await s.http.post('/_broadcast', batch)).status, 201);
}

/** Each brings one connection into a state in which it is reset then. */
const STATES = {
  'that said nothing': (s) => s.wire(),
  'within its request line': async (s) => wrote(await s.wire(), 'GET /ca'),
  'within its headers': async (s) => wrote(await s.wire(), 'GET /cable HTTP/1.1\r\nHost: x\r\nUpgr'),
  'within a request’s body': async (s) => wrote(await s.wire(), `${POST}{"stream":`),
  'before the answer to its request': async (s) => wrote(await s.wire(), 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'),
  'before the answer to its handshake': async (s) => wrote(await s.wire(), handshake(s.broker.origin)),
  'right after the 101': (s) => s.upgraded(),
  'within a frame’s header': async (s) => wrote(await s.upgraded(), long.subarray(0, 3)),
  'within a frame': async (s) => wrote(await s.upgraded(), long.subarray(0, 2000)),
  'within a message in fragments': async (s) =>
    wrote(await s.upgraded(), frame(TEXT, '{"command"', { fin: false }), frame(PING, 'x'), frame(CONTINUATION, ':', { fin: false })),
  'that is subscribed': (s) => follower(s),
  'with its handshake, subscription and join in one packet': async (s, id) =>
    wrote(await s.wire(), handshake(s.broker.origin), subscribe, join(id)),
  'right after its join': async (s, id) => wrote(await follower(s), join(id)),
  'that is present': (s, id) => member(s, id),
  'whose list is on its way': async (s, id) => wrote(await member(s, id), list),
  'that has begun to close': async (s, id) => wrote(await member(s, id), GOODBYE),
  'instead of the answer to a close frame': async (s, id) => {
    const wire = await member(s, id);
    wire.polite = false;
    wire.send(BINARY, 'x');
    await wire.hears(CLOSE);
    return wire;
  },
  'that is ended for what it said': async (s, id) => {
    const wire = await member(s, id);
    wire.polite = false;
    wire.send(TEXT, Buffer.from([0xff]));
    return wire;
  },
};

for (const [state, reach] of Object.entries(STATES)) {
  fault(`nothing is left of a connection ${state} when it is reset`, {}, async (s, bystanders) => {
    await rounds(s, bystanders, ROUNDS, async (round) => {
      const wires = Array.from({ length: AT_ONCE }, async (_, n) => {
        const wire = await reach(s, `ghost-${round}-${n}`);
        if (n % 2 === 1) await pass(10); // what it said has been read by then, or is being read
        wire.reset();
      });
      await Promise.all(wires);
    });
  });
}

fault('nothing is left of connections that are reset with much unread', {}, async (s, bystanders) => {
  await rounds(s, bystanders, ROUNDS, async (round) => {
    const wires = await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => member(s, `ghost-${round}-${n}`)));
    for (const wire of wires) wire.socket.pause();
    await publishMuch(s);
    await bystanders.settle();
    for (const wire of wires) wire.reset();
  });
});

fault('nothing is left of connections that are reset within a fan-out', {}, async (s, bystanders) => {
  await rounds(s, bystanders, ROUNDS, async (round) => {
    const ids = Array.from({ length: 150 }, (_, n) => `ghost-${round}-${n}`);
    const wires = await Promise.all(ids.map((id) => member(s, id)));
    const published = publishMuch(s, 20);
    for (const wire of wires) {
      wire.reset();
      await new Promise(setImmediate);
    }
    await published;
  }, { mebibytes: 4 });
}, { mebibytes: 16 });

fault('nothing is left of connections that are reset while their commands wait', {}, async (s, bystanders) => {
  const question = commandFrame({ command: 'presence', identifier: IDENTIFIER, data: { return_records: false } });
  const questions = Buffer.concat(Array(1000).fill(question));
  let deepest = 0;
  await rounds(s, bystanders, ROUNDS, async (round) => {
    const ids = Array.from({ length: AT_ONCE }, (_, n) => `ghost-${round}-${n}`);
    const wires = await Promise.all(ids.map((id) => member(s, id)));
    for (const wire of wires) wire.write(questions);
    for (let look = 1; look <= 5 || (deepest <= 3000 && look <= 10); look += 1) {
      deepest = Math.max(deepest, (await s.http.metrics()).get('broker_shard_queue_depth'));
      // on a busy machine all may be done before it is looked at
      if (look >= 5 && deepest <= 3000) for (const wire of wires) wire.write(questions);
    }
    for (const wire of wires) wire.reset();
  }, { mebibytes: 4 });
  // a shard's queue has room for 4,096; what reads the next one waits
  assert.ok(deepest > 3000, `at most ${deepest} commands waited`);
}, { mebibytes: 8 });

const PATIENT = { 'shutdown-timeout': '30s', 'max-outbox-size': '64MiB' };
for (const [when, wait] of [
  ['at the same moment', () => {}],
  ['while they are being told', (wires) => within(Promise.any(wires.map((wire) => wire.hears(TEXT, '"disconnect"'))), 'a goodbye')],
  ['while what they have not read is drained', () => pass(500)],
]) {
  scenario(`a stop waits for no connection that is reset ${when}`, PATIENT, async (s) => {
    const wires = await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => member(s, `ghost-${n}`)));
    for (const [n, wire] of wires.entries()) {
      wire.polite = false; // nobody answers the close frame
      if (n % 2 === 1) wire.socket.pause();
    }
    for (let n = 0; n < 30; n += 1) await publishMuch(s); // more than the system's buffers hold
    s.broker.kill('SIGTERM');
    await wait(wires);
    assert.ok(s.broker.running, 'it has not stopped yet');
    for (const wire of wires) wire.reset();
    const since = performance.now();
    assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
    const waited = performance.now() - since;
    assert.ok(waited < 12_000, `it took ${waited} ms more`); // of the timeout's 30 s
    assert.match(s.broker.log, /stopped: all connections closed/);
  });
}

fault('a batch whose publisher is reset is published whole or not at all', {}, async (s, bystanders) => {
  const batch = Array.from({ length: 20 }, (_, n) => ({ stream: ROOM, data: `${n}` }));
  const body = JSON.stringify(batch);
  const head = `POST /_broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`;
  const [watcher, identifier] = bystanders.watcher;
  const before = await restingVitals(s);
  for (let tries = 0; tries < 100; tries += 1) {
    const wire = await s.wire();
    wire.write(head + body);
    if (tries % 2 === 1) await new Promise(setImmediate);
    wire.reset();
  }
  await returnsTo(s, before, { mebibytes: 16 }); // no batch is under way any more
  await watcher.settle(identifier);
  const numbers = watcher.unheard.map(({ message }) => message).filter((message) => typeof message === 'number');
  assert.ok(numbers.length > 0, 'some were published');
  assert.equal(numbers.length % batch.length, 0, `${numbers.length} publications of batches of ${batch.length}`);
});
