// A client that lost its connection takes its session up again.

import assert from 'node:assert/strict';
import { assured, cableTo, cut, follow, next, recordPresence } from './support/anycable.js';
import { Http } from './support/http.js';
import { pass, until } from './support/patience.js';
import { eventsOf, replay } from './support/replay.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, jid } from './support/sign.js';
import { Socket, identify } from './support/socket.js';
import { Tunnel } from './support/tunnel.js';

/** Connects and asks for a session; gives the socket and its welcome. */
async function resume(s, sid, { query = '', ...options } = {}) {
  const socket = await s.open(`/cable?sid=${sid}&${query}`, options);
  const welcome = await socket.hears({ type: 'welcome' });
  socket.sid = welcome.sid;
  return [socket, welcome];
}

/** Ends a connection without a word, and waits until the broker knows. */
async function drop(s, socket, left) {
  socket.terminate();
  await s.connections(left);
}

scenario('a session is restored with all it follows, and nobody hears of it', {}, async (s) => {
  const [bob, room] = await s.member('room', 'bob');
  const [ann] = await s.member('room', 'ann', { n: 1 });
  const other = await ann.subscribe('other', { more: 1 });
  await bob.settle(room);
  const heard = bob.transcript.length;
  await drop(s, ann, 1);
  const [back, welcome] = await resume(s, ann.sid);
  assert.deepEqual(welcome.restored_ids.sort(), [room, other].sort());
  assert.deepEqual(Object.keys(welcome), ['type', 'sid', 'restored', 'restored_ids']);
  assert.notEqual(welcome.sid, ann.sid);
  assert.equal(welcome.restored, true);
  await s.http.publish('room', 1);
  await back.hears({ identifier: room, message: 1 });
  await s.http.publish('other', 2);
  await back.hears({ identifier: other, message: 2 });
  assert.deepEqual((await back.list(room)).map(({ id }) => id), ['bob', 'ann']);
  back.hearsNothing('nothing was missed');
  await bob.hears({ message: 1 });
  await bob.settle(room);
  const since = bob.transcript.slice(heard).filter((text) => /join|leave|update/.test(text));
  assert.deepEqual(since, [], 'no event');
  await s.counts({ 'broker_resumes_total{outcome="resumed"}': 1 });
});

scenario('the header asks for it, too', {}, async (s) => {
  const [ann, room] = await s.member('room', 'ann');
  await drop(s, ann, 0);
  const headers = { 'X-ANYCABLE-RESTORE-SID': ann.sid };
  const back = await s.open('/cable', { headers });
  assert.deepEqual((await back.hears({ type: 'welcome' })).restored_ids, [room]);
});

scenario('presence is kept: what was joined can be left, updated and runs out', { 'presence-ttl': '4s' }, async (s) => {
  const [bob, room] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann', 1);
  await drop(s, ann, 1);
  const [back] = await resume(s, ann.sid);
  back.join(room, 'ann', 1); // as @anycable/core does
  back.join(room, 'ann', 2);
  await bob.hearsPresence(room, 'join');
  assert.deepEqual(await bob.hearsPresence(room, 'update'), { type: 'update', id: 'ann', info: 2 });
  await back.settle(room);
  await drop(s, back, 1);
  assert.deepEqual(await bob.hearsPresence(room, 'leave'), { type: 'leave', id: 'ann' });
  // later than the presence TTL the session is there still, without presence
  const [again, welcome] = await resume(s, back.sid);
  assert.deepEqual(welcome.restored_ids, [room]);
  assert.deepEqual(await again.hearsPresence(room, 'leave'), { type: 'leave', id: 'ann' });
  again.leave(room);
  assert.match((await again.hearsPresence(room, 'error')).reason, /has not joined/);
});

scenario('who came, changed and left meanwhile is told, and nothing else', {}, async (s) => {
  const [cem, room] = await s.member('room', 'cem', 0);
  const [dan] = await s.member('room', 'dan', 0);
  const [ann] = await s.member('room', 'ann', 0);
  const list = await ann.list(room);
  await drop(s, ann, 2);
  await s.counts({ broker_sessions_parked: 1 }); // the stream knows, too
  const [eve] = await s.member('room', 'eve', 0);
  const [fay] = await s.member('room', 'fay', 0);
  for (const [socket, change] of [
    [cem, () => cem.leave(room)],
    [fay, () => fay.leave(room)],
    [dan, () => dan.join(room, 'dan', 1)],
    [cem, () => cem.join(room, 'cem', 2)],
    [dan, () => dan.leave(room)],
  ]) {
    change();
    await socket.settle(room); // so that they happen in this order
  }
  const [back] = await resume(s, ann.sid);
  const now = await back.list(room);
  const told = eventsOf(back);
  assert.deepEqual(told, [
    { type: 'join', id: 'eve', info: 0 },
    { type: 'leave', id: 'cem' },
    { type: 'join', id: 'cem', info: 2 },
    { type: 'leave', id: 'dan' },
  ]);
  assert.deepEqual(replay(list, told), now);
  await eve.settle(room);
});

scenario('a sid works once', {}, async (s) => {
  const [ann] = await s.member('room', 'ann');
  await drop(s, ann, 0);
  const [, first] = await resume(s, ann.sid);
  assert.equal(first.restored, true);
  for (const sid of [ann.sid, '0'.repeat(32), 'nonsense', '']) {
    const [socket, welcome] = await resume(s, sid);
    assert.deepEqual(Object.keys(welcome), ['type', 'sid']);
    await socket.subscribe('room');
  }
});

scenario('a hundred clients ask for one session, and one gets it', {}, async (s) => {
  const [ann] = await s.member('room', 'ann');
  const asked = Array.from({ length: 100 }, () => resume(s, ann.sid));
  const got = (await Promise.all(asked)).filter(([, welcome]) => welcome.restored);
  assert.equal(got.length, 1);
  assert.equal((await ann.hears({ type: 'disconnect' })).reason, 'resumed');
});

scenario('the old socket, if it is still there, is closed', {}, async (s) => {
  const [bob, room] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann');
  const [back, welcome] = await resume(s, ann.sid);
  assert.deepEqual(welcome.restored_ids, [room]);
  const farewell = { type: 'disconnect', reason: 'resumed', reconnect: false };
  assert.deepEqual(await ann.hears({ type: 'disconnect' }), farewell);
  assert.deepEqual(await ann.closing(), { code: 1000, reason: 'resumed' });
  await back.settle(room);
  await bob.hearsPresence(room, 'join');
  await bob.settle(room);
  bob.hearsNothing('no event');
});

scenario('commands sent right behind the handshake are followed after the welcome', {}, async (s) => {
  const [ann, room] = await s.member('room', 'ann');
  await drop(s, ann, 0);
  const socket = await s.open(`/cable?sid=${ann.sid}`);
  socket.send({ command: 'presence', identifier: room, data: {} });
  await socket.hearsPresence(room, 'info');
  assert.match(socket.transcript[0], /"type":"welcome".*"restored":true/);
});

scenario('a session without subscriptions is not worth it', {}, async (s) => {
  const socket = await s.socket();
  await drop(s, socket, 0);
  const [, welcome] = await resume(s, socket.sid);
  assert.equal(welcome.restored, undefined);
});

const SECURE = { secret: SECRET, 'public-streams': true, 'presence-id-claim': 'sub' };
scenario('only the owner of a session takes it over', SECURE, async (s) => {
  const ann = await s.socket(`/cable?${jid('ann')}`);
  const room = await ann.subscribe('room');
  ann.join(room, 'ann', 1);
  await ann.settle(room);
  for (const query of [jid('bob'), jid('ann', 'bob')]) {
    const [, welcome] = await resume(s, ann.sid, { query });
    assert.equal(welcome.restored, undefined);
  }
  const refused = await s.open(`/cable?sid=${ann.sid}`);
  assert.equal((await refused.hears({ type: 'disconnect' })).reason, 'unauthorized');
  await ann.settle(room); // it is as connected as before
  ann.terminate();
  const [, denied] = await resume(s, ann.sid, { query: jid('bob') });
  assert.equal(denied.restored, undefined);
  const [back, welcome] = await resume(s, ann.sid, { query: jid('ann') });
  assert.deepEqual(welcome.restored_ids, [room]);
  back.join(room, 'bob', 1);
  assert.match((await back.hearsPresence(room, 'error')).reason, /not the one of the token/);
});

scenario('a remote disconnect ends sessions for good, parked ones too', SECURE, async (s) => {
  const [here, away] = await Promise.all([1, 2].map(() => s.socket(`/cable?${jid('ann')}`)));
  for (const socket of [here, away]) await socket.subscribe('room');
  away.terminate();
  const http = new Http(s.broker.origin, derive('broadcast-cable'));
  s.http = new Http(s.broker.origin, derive('metrics-cable'));
  await s.connections(1);
  const payload = { identifier: JSON.stringify({ user: 'ann' }), reconnect: true };
  assert.equal((await http.post('/_broadcast', { command: 'disconnect', payload })).status, 201);
  await here.closing();
  for (const { sid } of [here, away]) {
    const [, welcome] = await resume(s, sid, { query: jid('ann') });
    assert.equal(welcome.restored, undefined);
  }
});

scenario('a remote disconnect in the middle of a resume is none too early', SECURE, async (s) => {
  const http = new Http(s.broker.origin, derive('broadcast-cable'));
  const payload = { identifier: JSON.stringify({ user: 'ann' }), reconnect: true };
  const rooms = Array.from({ length: 900 }, (_, n) => identify(`room/${n}`));
  for (let round = 0; round < 10; round += 1) {
    const ann = await s.socket(`/cable?${jid('ann')}`);
    for (const identifier of rooms) ann.send({ command: 'subscribe', identifier });
    for (const identifier of rooms.slice(-8)) await ann.settle(identifier);
    if (round % 2) await ann.close();
    const back = await s.open(`/cable?sid=${ann.sid}&${jid('ann')}`);
    assert.equal((await http.post('/_broadcast', { command: 'disconnect', payload })).status, 201);
    const { restored } = await back.hears({ type: 'welcome' });
    if (restored) await back.hears({ type: 'disconnect', reason: 'remote' }); // else it came later
    await ann.closing();
    back.terminate();
  }
});

scenario('@anycable/core shows who is there after a cut, and hears each message once', {}, async (s) => {
  const cable = cableTo(s);
  const channel = await follow(cable, 'room');
  channel.presence.join('ann', { n: 1 });
  const [bob, room] = await s.member('room', 'bob', 1);
  await channel.presence.info();
  await assured(channel); // else it gets its own join once more
  await pass(200); // what happened within a beat of the cut, 100 ms, is told again
  const [messages, events] = [[], recordPresence(channel)];
  channel.on('message', (message) => messages.push(message));
  await s.http.publish('room', 1);
  await until(() => messages.length === 1, 'the message came');
  const sessions = [];
  cable.on('connect', (event) => sessions.push(event));
  const back = next(channel, 'connect');
  cut(cable);
  bob.leave(room);
  await bob.settle(room);
  await s.member('room', 'cem', 3);
  await s.http.publish('room', 2);
  await back;
  assert.deepEqual(sessions, [{ reconnect: true, restored: true }]);
  await until(() => messages.includes(2), 'what was missed came'); // it is asked for after the welcome
  await s.http.publish('room', 3);
  await until(() => messages.includes(3), 'the last message came');
  assert.deepEqual(messages, [1, 2, 3]);
  const shown = await channel.presence.info();
  assert.deepEqual(shown, { ann: { n: 1 }, cem: 3 });
  assert.deepEqual(events.filter(({ id }) => id === 'ann'), [], 'it hears nothing of itself');
});

scenario('what a tunnel swallowed is told after the resume', { 'liveness-interval': '10m' }, async (s) => {
  const tunnel = await Tunnel.to(s.broker);
  s.cleanup(() => tunnel.close());
  const ann = await (await Socket.open(tunnel.url())).welcome();
  s.cleanup(() => ann.terminate());
  const room = await ann.subscribe('room');
  const [bob] = await s.member('room', 'bob', 1);
  const [cem] = await s.member('room', 'cem', 1);
  const list = await ann.list(room);
  tunnel.lose();
  // written to ann's connection, acknowledged by the tunnel, and never seen by ann
  bob.leave(room);
  cem.join(room, 'cem', 2);
  await s.member('room', 'dan', 1);
  for (const one of [bob, cem]) await one.settle(room);
  const [back, welcome] = await resume(s, ann.sid);
  assert.equal(welcome.restored, true);
  const now = await back.list(room);
  const seen = new Map(list.map(({ id, info }) => [id, info]));
  for (const { type, id, info } of eventsOf(back)) {
    if (type === 'leave') seen.delete(id);
    else if (type === 'join' || seen.has(id)) seen.set(id, info);
  }
  const sorted = (members) => members.sort((a, b) => a[0].localeCompare(b[0]));
  assert.deepEqual(sorted([...seen]), sorted(now.map(({ id, info }) => [id, info])));
});

scenario('@anycable/core comes out of a tunnel', { 'liveness-interval': '10m' }, async (s) => {
  const tunnel = await Tunnel.to(s.broker);
  s.cleanup(() => tunnel.close());
  const broker = s.broker;
  s.broker = { url: () => tunnel.url() };
  const cable = cableTo(s);
  s.broker = broker;
  const channel = await follow(cable, 'room');
  channel.presence.join('ann', 1);
  const [bob, room] = await s.member('room', 'bob', 1);
  const messages = [];
  channel.on('message', (message) => messages.push(message));
  assert.deepEqual(await channel.presence.info(), { ann: 1, bob: 1 });
  tunnel.lose();
  bob.leave(room);
  await bob.settle(room);
  await s.http.publish('room', 'lost');
  await s.member('room', 'cem', 3);
  const back = next(channel, 'connect');
  tunnel.reset();
  await back;
  await s.http.publish('room', 'live'); // perhaps before the client has asked for what it missed
  await until(() => messages.includes('live'), 'a message comes');
  assert.deepEqual(messages, ['lost', 'live']);
  assert.deepEqual(await channel.presence.info(), { ann: 1, cem: 3 });
  assert.deepEqual((await (await s.subscriber('room'))[0].list(identify('room'))).map(({ id }) => id), ['ann', 'cem']);
});

/**
 * A client misses one publication, and comes back. Before it asks for what it missed, `meanwhile` publishes; the
 * frames that it is told then, up to its next list. What is new waits a second for it, so a round that took as
 * long proves nothing, and is done again.
 */
async function missesOne(s, meanwhile) {
  for (let round = 0; ; round += 1) {
    const stream = `room/${round}`;
    const [ann, room] = await s.subscriber(stream);
    await s.http.publish(stream, 'heard');
    const { epoch, offset } = await ann.hears({ message: 'heard' });
    await drop(s, ann, 0);
    await s.http.publish(stream, 'missed');
    const since = performance.now();
    const [back] = await resume(s, ann.sid);
    await meanwhile(stream, back.sid);
    const history = { streams: { [stream]: { epoch, offset } } };
    back.send({ command: 'history', identifier: room, history });
    await back.settle(room);
    const frames = back.transcript.slice(1, -1).map((text) => JSON.parse(text));
    if (performance.now() - since < 1000) return frames;
    await drop(s, back, 0);
    assert.ok(round < 50, 'the machine is too busy for this');
  }
}

const messagesOf = (frames) => frames.map(({ type, message }) => message ?? type);

scenario('what was missed comes first, though the client is left out of something new', {}, async (s) => {
  const frames = await missesOne(s, async (stream, sid) => {
    await s.http.publish(stream, 'first');
    await s.http.publish(stream, 'not for it', { exclude_socket: sid });
    await s.http.publish(stream, 'last');
  });
  assert.deepEqual(messagesOf(frames), ['missed', 'confirm_history', 'first', 'last']);
});

scenario('what was missed comes first, though much is said meanwhile', {}, async (s) => {
  const names = Array.from({ length: 36 }, (_, n) => `${n}`.padEnd(10_000, 'x'));
  const frames = await missesOne(s, async (stream) => {
    const batch = names.map((name) => ({ stream, data: JSON.stringify(name) }));
    assert.equal((await s.http.post('/_broadcast', batch)).status, 201);
  });
  const [first, second, ...rest] = messagesOf(frames);
  assert.deepEqual([first.slice(0, 10), second.slice(0, 20)], ['missed', 'confirm_history']);
  assert.deepEqual(rest, names);
});

scenario('who was away for more changes than are kept subscribes anew', {}, async (s) => {
  const [ann, room] = await s.member('room', 'ann');
  const quiet = await ann.subscribe('quiet');
  await drop(s, ann, 0);
  const [bob] = await s.member('room', 'bob', 0);
  for (let n = 1; n <= 1001; n += 1) bob.join(room, 'bob', n);
  await bob.settle(room);
  const [back, welcome] = await resume(s, ann.sid);
  assert.deepEqual(welcome.restored_ids, [quiet], 'the rest is restored');
  back.send({ command: 'subscribe', identifier: room, presence: { id: 'ann', info: {} } });
  await back.hears({ type: 'confirm_subscription', identifier: room });
  await bob.settle(room);
  const heard = bob.transcript.filter((text) => /"(join|leave)","id":"ann"/.test(text));
  assert.deepEqual(heard, [], 'ann was never away');
});

scenario('who missed more than may wait for a client subscribes anew to the rest', { 'max-outbox-size': '64KiB' }, async (s) => {
  const ann = await s.socket();
  const rooms = [];
  for (let n = 0; n < 40; n += 1) rooms.push(await ann.subscribe(`room/${n}`));
  await drop(s, ann, 0);
  const bob = await s.socket();
  const presence = { id: 'bob', info: 'x'.repeat(4000) };
  for (const identifier of rooms) {
    bob.send({ command: 'subscribe', identifier, presence });
    await bob.hearsPresence(identifier, 'join');
  }
  const [back, { restored_ids: restored }] = await resume(s, ann.sid);
  assert.ok(restored.length >= 10 && restored.length < 20, `${restored.length} rooms`);
  for (const identifier of restored) {
    assert.deepEqual(await back.hearsPresence(identifier, 'join'), { type: 'join', ...presence });
  }
  const rest = rooms.filter((identifier) => !restored.includes(identifier));
  for (const identifier of rest) back.send({ command: 'subscribe', identifier });
  assert.deepEqual(await back.list(rooms[39]), [presence]);
  await s.counts({ 'broker_resumes_total{outcome="partly"}': 1 });
});

const SWIFT = { 'max-commands-per-second': 3, 'max-commands-burst': 3 };

scenario('answers that take longer than the ping interval prove something and cost nothing', SWIFT, async (s) => {
  const ann = await s.open('/cable?pi=0.1', { autoPong: false });
  ann.ws.on('ping', (payload) => setTimeout(() => ann.ws.pong(payload, true, () => {}), 250));
  await ann.welcome();
  const room = await ann.subscribe('room');
  const [bob] = await s.member('room', 'bob', 1);
  await ann.hearsPresence(room, 'join');
  await pass(3000);
  assert.equal(ann.ws.readyState, ann.ws.OPEN, 'it is not too fast');
  await drop(s, ann, 1);
  const [back, { restored }] = await resume(s, ann.sid);
  assert.equal(restored, true);
  await back.settle(room);
  back.hearsNothing('it is proven what it got');
});
