// What was missed: by offset, by time, with a subscribe and as a command; all of it, once, in order
// with what follows live, or a refusal.

import assert from 'node:assert/strict';
import { FORGETTING, PATIENCE, pass } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';

const ROOM = identify('room');

/** Publishes numbers to the room. */
async function publish(s, from, to) {
  for (let n = from; n <= to; n += 1) await s.http.publish('room', n);
}

/** A client that subscribes and asks for what it missed; the frames after its confirmation. */
async function ask(s, history) {
  const socket = await s.socket();
  socket.send({ command: 'subscribe', identifier: ROOM, history });
  await socket.hears({ type: 'confirm_subscription', identifier: ROOM });
  return { socket, ...(await answer(socket)) };
}

/** What comes up to the answer to a request for history. */
async function answer(socket) {
  const missed = [];
  for (;;) {
    const frame = await socket.hears({ identifier: ROOM });
    if (frame.type === 'confirm_history') return { missed, confirmed: true };
    if (frame.type === 'reject_history') return { missed, confirmed: false };
    missed.push(frame);
  }
}

const messages = (frames) => frames.map((frame) => frame.message);
const after = (frame) => ({ streams: { room: { epoch: frame.epoch, offset: frame.offset } } });

scenario('publications carry their position', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  await publish(s, 1, 2);
  const first = await socket.hears({ message: 1 });
  const second = await socket.hears({ message: 2 });
  const { epoch } = first;
  assert.match(epoch, /^\w+$/);
  assert.deepEqual(first, { identifier, message: 1, stream_id: 'room', epoch, offset: 1 });
  assert.deepEqual(second, { identifier, message: 2, stream_id: 'room', epoch, offset: 2 });
});

scenario('what was published before comes between the confirmations, and then what follows', {}, async (s) => {
  await publish(s, 1, 3);
  const { socket, missed, confirmed } = await ask(s, { since: 0 });
  assert.ok(confirmed);
  assert.deepEqual(messages(missed), [1, 2, 3]);
  assert.deepEqual(missed.map((frame) => frame.offset), [1, 2, 3]);
  await publish(s, 4, 4);
  assert.equal((await socket.hears({ message: 4 })).offset, 4);
});

scenario('after a position comes what followed it', { 'history-limit': 4 }, async (s) => {
  const [witness] = await s.subscriber('room');
  await publish(s, 1, 6);
  const frames = [];
  for (let n = 1; n <= 6; n += 1) frames[n] = await witness.hears({ message: n });
  const cases = [[2, [3, 4, 5, 6]], [4, [5, 6]], [6, []]];
  for (const [offset, expected] of cases) {
    const { missed, confirmed } = await ask(s, after(frames[offset]));
    assert.ok(confirmed, `after ${offset}`);
    assert.deepEqual(messages(missed), expected);
  }
  const foreign = { ...frames[5], epoch: 'other' };
  const future = { ...frames[6], offset: 7 };
  for (const frame of [frames[1], foreign, future]) {
    const { missed, confirmed } = await ask(s, after(frame));
    assert.ok(!confirmed, `after ${JSON.stringify(frame)}`);
    assert.deepEqual(missed, []);
  }
});

scenario('nothing is missing of a stream to which nothing was published', {}, async (s) => {
  const { missed, confirmed } = await ask(s, { since: Math.floor(Date.now() / 1000) - 60 });
  assert.ok(confirmed);
  assert.deepEqual(missed, []);
});

scenario('a subscriber that asks by a command gets all it asks for, and what follows live once', {}, async (s) => {
  const [socket] = await s.subscriber('room');
  await publish(s, 1, 4);
  const live = [];
  for (let n = 1; n <= 4; n += 1) live.push(await socket.hears({ message: n }));
  for (const [offset, expected] of [[2, [3, 4]], [0, [1, 2, 3, 4]], [4, []]]) {
    socket.send({ command: 'history', identifier: ROOM, history: after({ ...live[0], offset }) });
    const { missed, confirmed } = await answer(socket);
    assert.ok(confirmed, `after ${offset}`);
    assert.deepEqual(messages(missed), expected, `after ${offset}`);
  }
  socket.send({ command: 'history', identifier: ROOM, history: { since: 0 } });
  assert.deepEqual(messages((await answer(socket)).missed), [1, 2, 3, 4]);
  await publish(s, 5, 5);
  await socket.hears({ message: 5 });
  await socket.settle(ROOM);
  socket.hearsNothing();
});

scenario('what is too old is refused', { 'history-ttl': '1s' }, async (s) => {
  const [witness] = await s.subscriber('room');
  const before = Math.floor(Date.now() / 1000) - 1;
  await publish(s, 1, 2);
  const first = await witness.hears({ message: 1 });
  await s.counts({ broker_history_publications: 0, broker_history_dropped_total: 2 });
  assert.equal((await ask(s, { since: before })).confirmed, false);
  assert.equal((await ask(s, after(first))).confirmed, false);
  const second = await witness.hears({ message: 2 });
  assert.equal((await ask(s, after(second))).confirmed, true, 'nothing follows the second');
});

scenario('a stream that was forgotten begins another epoch', { 'history-ttl': '3s' }, async (s) => {
  const [witness, identifier] = await s.subscriber('room');
  await publish(s, 1, 1);
  const first = await witness.hears({ message: 1 });
  await s.counts({ broker_history_publications: 0 });
  await publish(s, 2, 2);
  const second = await witness.hears({ message: 2 });
  assert.equal(second.epoch, first.epoch, 'it outlives its messages while someone follows it');
  assert.equal(second.offset, 2);
  witness.unsubscribe(identifier);
  await s.counts({ broker_streams: 0 }, { ms: PATIENCE + FORGETTING });
  await pass(1000); // a time is told in whole seconds, and one in which something was lost is refused
  const since = Math.floor(Date.now() / 1000);
  await publish(s, 3, 3);
  const { missed } = await ask(s, { since });
  assert.equal(missed[0].offset, 1);
  assert.notEqual(missed[0].epoch, first.epoch);
  assert.equal((await ask(s, after(second))).confirmed, false);
});

scenario('whispers and presence are not kept', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  socket.join(identifier, 'ann', {});
  await socket.hearsPresence(identifier, 'join');
  socket.whisper(identifier, 'psst');
  await publish(s, 1, 1);
  const { missed } = await ask(s, { since: 0 });
  assert.deepEqual(messages(missed), [1]);
});

scenario('the oldest publication of all streams goes first when memory is short', { 'history-max-bytes': '64KiB' }, async (s) => {
  const data = 'x'.repeat(1000);
  for (let n = 0; n < 100; n += 1) await s.http.publish('room', `${n}${data}`);
  const metrics = await s.metrics((m) => m.get('broker_history_dropped_total', { cause: 'memory' }) > 0, 'memory is short');
  assert.ok(metrics.get('broker_history_bytes') <= 64 * 1024);
  assert.equal((await ask(s, { since: 0 })).confirmed, false);
});

scenario('a broker that keeps nothing refuses, and gives no positions', { 'history-limit': 0 }, async (s) => {
  await publish(s, 1, 1);
  const { socket, missed, confirmed } = await ask(s, { since: 0 });
  assert.ok(!confirmed);
  assert.deepEqual(missed, []);
  await publish(s, 2, 2);
  assert.deepEqual(await socket.hears({ message: 2 }), { identifier: ROOM, message: 2 });
});

scenario('a request that asks for nothing, or is unreadable, is refused', {}, async (s) => {
  for (const history of [{}, { since: 'yesterday' }, [], { streams: { room: 5 } }]) {
    const { missed, confirmed } = await ask(s, history);
    assert.deepEqual({ missed, confirmed }, { missed: [], confirmed: false });
  }
});

scenario('while much is published, clients that come and go miss nothing and hear nothing twice', { 'history-limit': 10_000 }, async (s) => {
  const last = 1500;
  const publishing = (async () => {
    for (let n = 1; n <= last; n += 10) {
      const batch = Array.from({ length: 10 }, (_, k) => ({ stream: 'room', data: String(n + k) }));
      assert.equal((await s.http.post('/_broadcast', batch)).status, 201);
    }
  })();
  const client = async (stay) => {
    const heard = [];
    let history = { since: 0 };
    while (heard.at(-1) !== last) {
      const socket = await s.socket();
      socket.send({ command: 'subscribe', identifier: ROOM, history });
      const until = (heard.at(-1) ?? 0) + stay;
      for (;;) {
        const frame = await socket.hears({ identifier: ROOM });
        assert.notEqual(frame.type, 'reject_history');
        if (frame.message === undefined) continue;
        heard.push(frame.message);
        history = after(frame);
        if (frame.message >= Math.min(until, last)) break;
      }
      socket.ws.terminate();
    }
    return heard;
  };
  const expected = Array.from({ length: last }, (_, n) => n + 1);
  const all = await Promise.all([client(37), client(100), client(333), publishing]);
  for (const heard of all.slice(0, 3)) assert.deepEqual(heard, expected);
});

scenario('one client that asks and asks and does not read costs others nothing', {}, async (s) => {
  const data = 'x'.repeat(60_000);
  for (let n = 0; n < 100; n += 1) await s.http.publish('room', data);
  const greedy = await s.upgraded();
  greedy.say({ command: 'subscribe', identifier: ROOM });
  greedy.socket.pause();
  for (let n = 0; n < 150; n += 1) {
    greedy.say({ command: 'history', identifier: ROOM, history: { since: 0 } });
  }
  await s.counts({ broker_outbox_overflows_total: 1 });
  const { missed, confirmed } = await ask(s, { since: 0 });
  assert.ok(confirmed);
  assert.equal(missed.length, 100);
});

scenario('a client that reads a large answer slowly is not cut for what comes on top', { 'max-outbox-size': '64KiB' }, async (s) => {
  const data = 'x'.repeat(60_000);
  for (let n = 0; n < 100; n += 1) await s.http.publish('room', data);
  const socket = await s.socket();
  socket.send({ command: 'subscribe', identifier: ROOM, history: { since: 0 } });
  await socket.hears({ type: 'confirm_subscription', identifier: ROOM });
  socket.ws.pause();
  await s.http.publish('room', 'live');
  await s.counts({ 'broker_history_requests_total{outcome="ok"}': 1 });
  socket.ws.resume();
  assert.equal((await answer(socket)).confirmed, true);
  await socket.hears({ message: 'live' });
});
