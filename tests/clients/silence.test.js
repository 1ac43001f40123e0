// Clients that fall silent: half-closed connections, and readers that stop and go on.
//
// Frozen processes and a frozen broker are in liveness.test.js.

import assert from 'node:assert/strict';
import { BYSTANDERS, ROOM, fault, rounds } from './support/fault.js';
import { until, within } from './support/patience.js';
import { identify } from './support/socket.js';
import { CLOSE, CONTINUATION, TEXT, commandFrame, frame, handshake, wrote } from './support/wire.js';

const IDENTIFIER = identify(ROOM);
const AT_ONCE = 20;
const ROUNDS = 4;

const enter = (id) => commandFrame({ command: 'subscribe', identifier: IDENTIFIER, presence: { id } });

/** A WebSocket that is present, and stays open when the broker closes its side. */
async function member(s, id) {
  const wire = await s.wire({ allowHalfOpen: true });
  wire.handshake(enter(id));
  await wire.hears(TEXT, `"join","id":"${id}"`);
  return wire;
}

/** Publishes so many messages with a number and some weight; gives them. */
async function publishMuch(s, count, from = 0) {
  const messages = Array.from({ length: count }, (_, n) => ({ n: from + n, pad: 'x'.repeat(30_000) }));
  for (let at = 0; at < count; at += 20) {
    const some = messages.slice(at, at + 20);
    const batch = some.map((message) => ({ stream: ROOM, data: JSON.stringify(message) }));
    assert.equal((await s.http.post('/_broadcast', batch)).status, 201);
  }
  return messages;
}

/** What a client has said when it closes its side and then says and does nothing more. */
const SILENCES = {
  'after nothing': (s) => s.wire({ allowHalfOpen: true }),
  'within its headers': async (s) => wrote(await s.wire({ allowHalfOpen: true }), 'GET /cable HTTP/1.1\r\n'),
  'within a request’s body': async (s) =>
    wrote(await s.wire({ allowHalfOpen: true }), 'POST /_broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{'),
  'after its handshake': async (s) => wrote(await s.wire({ allowHalfOpen: true }), handshake(s.broker.origin)),
  'within a frame': async (s, id) => wrote(await member(s, id), enter('x').subarray(0, 20)),
  'within a message in fragments': async (s, id) =>
    wrote(await member(s, id), frame(TEXT, '{', { fin: false }), frame(CONTINUATION, '"', { fin: false })),
  'when it is present': (s, id) => member(s, id),
  'after a close frame': async (s, id) => wrote(await member(s, id), frame(CLOSE, Buffer.from([3, 232]))),
};

for (const [when, reach] of Object.entries(SILENCES)) {
  fault(`a client that half-closes ${when} and falls silent is let go`, {}, async (s, bystanders) => {
    await rounds(s, bystanders, ROUNDS, async (round) => {
      const ids = Array.from({ length: AT_ONCE }, (_, n) => `ghost-${round}-${n}`);
      const wires = await Promise.all(ids.map((id) => reach(s, id)));
      for (const wire of wires) wire.socket.end();
      // the broker ends its side, though the client never does anything more
      await within(Promise.all(wires.map((wire) => wire.finished)), 'the broker to close its side');
      await s.connections(BYSTANDERS);
    });
  });
}

for (const [what, request, status] of [
  ['asks for /health', 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n', 200],
  ['publishes', 'POST /_broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 28\r\n\r\n{"stream":"room","data":"1"}', 201],
  ['asks who is present', 'GET /api/presence/room/users HTTP/1.1\r\nHost: x\r\n\r\n', 200],
]) {
  fault(`a client that ${what} and half-closes gets its answer`, {}, async (s, bystanders) => {
    const published = async () => (await s.http.metrics()).get('broker_publications_total');
    const before = await published();
    await rounds(s, bystanders, ROUNDS, async () => {
      const wires = Array.from({ length: 50 }, async () => {
        const wire = await s.wire({ allowHalfOpen: true });
        wire.socket.end(request);
        assert.equal((await wire.answer()).status, status);
        await within(wire.finished, 'the broker to close its side');
      });
      await Promise.all(wires);
    });
    assert.equal((await published()) - before, status === 201 ? 50 * ROUNDS : 0);
  });
}

const ROOMY = { 'max-outbox-size': '64MiB' };
for (const [what, count, times] of [['one reader', 1, 3], ['ten readers', 10, 1]]) {
  fault(`nothing is missed by ${what} that stopped within a frame and went on`, ROOMY, async (s, bystanders) => {
    const wires = await Promise.all(Array.from({ length: count }, (_, n) => member(s, `slow-${n}`)));
    let published = 0;
    // more than the system's buffers hold, so that a frame is cut in two and the rest waits here
    for (let stops = 0; stops < times; stops += 1) {
      for (const wire of wires) wire.socket.pause();
      const messages = await publishMuch(s, 400, published);
      const [watcher] = bystanders.watcher;
      for (const message of messages) await watcher.hears({ identifier: IDENTIFIER, message });
      for (const wire of wires) wire.socket.resume();
      for (const wire of wires) {
        for (const { n } of messages) {
          const { text: frame } = await wire.hears(TEXT, '"message":{"n"');
          assert.equal(JSON.parse(frame).message.n, n);
        }
      }
      published += messages.length;
    }
  }, { mebibytes: 64 });
}

const SMALL = { 'max-outbox-size': '256KiB' };
fault('ten readers that stop for good are ended; their memory comes back', SMALL, async (s, bystanders) => {
  await rounds(s, bystanders, ROUNDS, async (round) => {
    const ids = Array.from({ length: 10 }, (_, n) => `slow-${round}-${n}`);
    const wires = await Promise.all(ids.map((id) => member(s, id)));
    for (const wire of wires) wire.socket.pause();
    const ended = async () => (await s.http.metrics()).get('broker_outbox_overflows_total') === 10 * round;
    await until(async () => {
      const [watcher] = bystanders.watcher;
      for (const message of await publishMuch(s, 100)) await watcher.hears({ identifier: IDENTIFIER, message });
      return ended();
    }, 'all of them are ended', 20_000);
    await s.connections(BYSTANDERS);
  }, { mebibytes: 4 });
}, { mebibytes: 16 });
