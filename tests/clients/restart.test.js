// A broker with a state directory is stopped or killed, and started again: for its clients it is as
// if they had been away for a moment.

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cableTo, follow, next, recordPresence } from './support/anycable.js';
import { chatTo, chatterIn } from './support/chat.js';
import { eventsIn } from './support/events.js';
import { Http } from './support/http.js';
import { LATE, pass, until } from './support/patience.js';
import { phoenixIn } from './support/phoenix.js';
import { eventsOf } from './support/replay.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, identifySigned, jid, token } from './support/sign.js';
import { Socket, identify } from './support/socket.js';
import { typedTo } from './support/typed.js';

/** A scenario whose broker keeps its state in a directory of its own; `s.restart(how)` restarts it. */
function restarting(name, flags, run) {
  const dir = mkdtempSync(join(tmpdir(), 'broker-state-'));
  scenario(name, { 'state-dir': dir, ...flags }, async (s) => {
    s.cleanup(() => rmSync(dir, { recursive: true, force: true }));
    s.dir = dir;
    s.restart = async (signal = 'SIGTERM', more = {}) => {
      const { port } = s.broker;
      s.broker.kill(signal);
      const { code, signal: by } = await s.broker.exited();
      if (signal === 'SIGTERM') assert.equal(code, 0);
      else assert.equal(by, signal);
      s.broker = await s.start({ 'state-dir': dir, ...flags, ...more, port });
    };
    await run(s);
  });
}

/** How often the broker is killed in the middle of everything; more on demand. */
const ROUNDS = Number(process.env.ROUNDS ?? 12);

/** Long enough for whoever has to be back before it is over, in ms. */
const TTL = 5000;

const HOW = ['SIGTERM', 'SIGKILL'];
const ROOM = identify('room');

/** Who is present, as the application sees it. */
async function listed(s) {
  const { records = [] } = await s.http.users('room');
  return records.map(({ id, info }) => [id, info]);
}

/**
 * Ann knows four members and loses her connection. Then bob leaves, cem changes, eve comes, fay comes and
 * leaves, and dan's connection ends. Returns ann's socket and the members she knows.
 */
async function goneAndMissing(s) {
  const [ann] = await s.member('room', 'ann', 0);
  const [bob] = await s.member('room', 'bob', 0);
  const [cem] = await s.member('room', 'cem', 0);
  const [dan] = await s.member('room', 'dan', 0);
  const known = await ann.list(ROOM);
  ann.terminate();
  await s.connections(3);
  bob.leave(ROOM);
  await bob.settle(ROOM);
  cem.join(ROOM, 'cem', 1);
  await cem.settle(ROOM);
  await s.member('room', 'eve', 0);
  const [fay] = await s.member('room', 'fay', 0);
  fay.leave(ROOM);
  await fay.settle(ROOM);
  dan.terminate();
  await s.connections(4);
  return { ann, known };
}

/** A new connection that has a session of before the restart. */
async function resumed(s, { sid }) {
  const back = await s.open(`/cable?sid=${sid}`);
  assert.deepEqual((await back.hears({ type: 'welcome' })).restored_ids, [ROOM]);
  return back;
}

/** A client's members after these events, some of which it may have got before. */
function applied(members, events) {
  const seen = new Map(members.map(({ id, info }) => [id, info]));
  for (const { type, id, info } of events) {
    if (type === 'leave') seen.delete(id);
    else seen.set(id, info);
  }
  return [...seen].sort();
}

/** The claims of a client that the application may end. */
const ANN = token({ ext: '{"user": "ann"}', exp: undefined });
const ENDING = { secret: SECRET, 'public-streams': true };

/** Ends ann's sessions, by another spelling of her identifiers; then `next`, at once. */
async function endsAnn(s, count, next = () => {}) {
  const http = new Http(s.broker.origin, derive('broadcast-cable'));
  const command = { command: 'disconnect', payload: { identifier: '{"user":"ann"}' } };
  const { status, json } = await http.post('/_broadcast', command);
  await next();
  assert.deepEqual([status, json], [201, { disconnected: count }]);
}

/** Nobody gets a session back. */
async function isOver(s, sid) {
  const back = await s.open(`/cable?jid=${ANN}&sid=${sid}`);
  assert.equal((await back.hears({ type: 'welcome' })).restored, undefined);
  back.terminate();
  await counts(s, { broker_connections: 0 }); // or it would be ended, too
}

/** Waits for metrics, which want a token of their own here. */
async function counts(s, expected) {
  const { http } = s;
  s.http = new Http(s.broker.origin, derive('metrics-cable'));
  await s.counts(expected);
  s.http = http;
}

for (const how of HOW) {
  restarting(`${how}: a parked session that the application ended before is not resumed`, ENDING, async (s) => {
    const ann = await s.socket(`/cable?jid=${ANN}`);
    for (const stream of ['room', 'other', 'third']) await ann.subscribe(stream);
    ann.join(ROOM, 'ann', {});
    await ann.hearsPresence(ROOM, 'join');
    ann.terminate();
    await counts(s, { broker_sessions_parked: 1 });
    await endsAnn(s, 1, () => s.restart(how));
    await isOver(s, ann.sid);
    const watcher = await s.socket(`/cable?jid=${ANN}`);
    await watcher.subscribe('room');
    assert.deepEqual((await watcher.list(ROOM)).map(({ id }) => id), ['ann'], 'a member still, for the TTL');
  });

  restarting(`${how}: a session that the application ended after a restart is not resumed after another`, ENDING, async (s) => {
    const ann = await s.socket(`/cable?jid=${ANN}`);
    await ann.subscribe('room');
    await s.restart(how);
    await endsAnn(s, 1, () => s.restart(how));
    await isOver(s, ann.sid);
  });

  restarting(`${how}: a connected session that the application ended is not resumed, however soon the end comes`, ENDING, async (s) => {
    for (let round = 0; round < 5; round += 1) {
      const ann = await s.socket(`/cable?jid=${ANN}`);
      for (let n = 0; n < 20; n += 1) await ann.subscribe(`room/${n}`);
      await endsAnn(s, 1, () => s.restart(how));
      await isOver(s, ann.sid);
    }
  });

  restarting(`${how}: members are there right after the start, in their order, and leave once`, { 'presence-ttl': `${TTL}ms` }, async (s) => {
    for (const id of ['zoe', 'ann', 'bob']) await s.member('room', id, { of: id });
    const stopped = performance.now();
    await s.restart(how);
    const started = performance.now();
    const [watcher] = await s.subscriber('room');
    const list = await watcher.list(ROOM);
    assert.deepEqual(list.map(({ id }) => id), ['zoe', 'ann', 'bob']);
    assert.deepEqual(list[0].info, { of: 'zoe' });
    const [ann] = await s.subscriber('room');
    ann.join(ROOM, 'ann', { of: 'ann' });
    for (const id of ['zoe', 'bob']) assert.equal((await watcher.hearsPresence(ROOM, 'leave')).id, id);
    const now = performance.now();
    assert.ok(now - stopped >= TTL, 'not before the TTL since the stop');
    assert.ok(now - started <= TTL + LATE, 'at the latest the TTL after the start');
    await watcher.settle(ROOM);
    watcher.hearsNothing('ann was never away');
    assert.deepEqual(await listed(s), [['ann', { of: 'ann' }]]);
  });

  restarting(`${how}: clients of every protocol come back, and nobody has left`, { 'presence-ttl': `${TTL}ms` }, async (s) => {
    const room = { room: 'room' };
    const phoenix = await phoenixIn(s, 'room', 'phoenix');
    await (await typedTo(s)).join('typed', room);
    await chatterIn(s, 'room', 'chat');
    await eventsIn(s, 'room', { presence_id: 'events' });
    await s.http.request('/api/presence/room/lamp', { method: 'PUT' });
    const all = ['phoenix', 'typed', 'chat', 'events', 'lamp'];
    assert.deepEqual(await s.http.ids('room'), all);
    const rejoining = phoenix.rejoins();
    await s.restart(how);
    const [watcher] = await s.subscriber('room');
    assert.deepEqual((await watcher.list(ROOM)).map(({ id }) => id), all);
    const typed = await typedTo(s);
    typed.say('presence.join', { user: 'typed', ...room });
    assert.deepEqual(await typed.list(room), all);
    const chat = await chatTo(s);
    assert.deepEqual(await chat.enter('room', 'chat'), all);
    await eventsIn(s, 'room', { presence_id: 'events' });
    await rejoining;
    await pass(TTL + 500);
    await phoenix.sees(Object.fromEntries(all.map((id) => [id, 1])));
    assert.deepEqual((await watcher.list(ROOM)).map(({ id }) => id), all);
    const told = eventsOf(watcher).filter(({ type }) => type !== 'update');
    assert.deepEqual(told, [], 'nobody came or went');
  });

  restarting(`${how}: those who were leaving leave once, and those who left stay away`, { 'presence-ttl': `${TTL}ms` }, async (s) => {
    const [ann] = await s.member('room', 'ann');
    const [bob] = await s.member('room', 'bob');
    await s.member('room', 'cem');
    bob.leave(ROOM);
    await bob.settle(ROOM);
    ann.terminate();
    await s.connections(2);
    await s.restart(how);
    assert.deepEqual((await listed(s)).map(([id]) => id), ['ann', 'cem']);
    const [watcher] = await s.subscriber('room');
    const left = [];
    for (let n = 0; n < 2; n += 1) left.push((await watcher.hearsPresence(ROOM, 'leave')).id);
    assert.deepEqual(left.sort(), ['ann', 'cem']);
  });

  restarting(`${how}: histories go on under the same epoch`, {}, async (s) => {
    const [ann] = await s.subscriber('room');
    for (const n of [1, 2, 3]) await s.http.publish('room', n, n === 2 ? { broadcast_type: 'x' } : {});
    await s.http.publish('room', 'gone', { transient: true });
    await s.http.publish('quiet', 'q');
    const { epoch } = await ann.hears({ message: 3 });
    await s.restart(how);
    await s.http.publish('room', 4);
    const history = { streams: { room: { epoch, offset: 1 } } };
    const back = await s.socket();
    back.send({ command: 'subscribe', identifier: ROOM, history });
    await back.hears({ type: 'confirm_history' });
    const told = back.transcript.map((text) => JSON.parse(text)).filter((frame) => frame.offset);
    assert.deepEqual(told.map(({ message, offset, epoch: of, type }) => [message, offset, of === epoch, type]),
      [[2, 2, true, 'x'], [3, 3, true, undefined], [4, 4, true, undefined]]);
    const quiet = await back.subscribe('quiet', {}, { history: { since: 0 } });
    assert.equal((await back.hears({ identifier: quiet, message: 'q' })).offset, 1);
  });

  restarting(`${how}: a session is resumed, and told what it can't be sure of`, {}, async (s) => {
    const [ann] = await s.member('room', 'ann', 1);
    const [bob] = await s.member('room', 'bob', 1);
    const [cem] = await s.member('room', 'cem', 1);
    const list = await ann.list(ROOM);
    bob.leave(ROOM);
    await bob.settle(ROOM);
    await cem.settle(ROOM);
    await s.restart(how);
    const back = await s.open(`/cable?sid=${ann.sid}`);
    const welcome = await back.hears({ type: 'welcome' });
    assert.deepEqual(welcome.restored_ids, [ROOM]);
    const now = await back.list(ROOM);
    assert.deepEqual(now.map(({ id }) => id), ['ann', 'cem']);
    const seen = new Set(list.map(({ id }) => id));
    for (const { type, id } of eventsOf(back)) {
      if (type === 'join') seen.add(id);
      if (type === 'leave') seen.delete(id);
    }
    assert.deepEqual([...seen].sort(), ['ann', 'cem']);
    await s.http.publish('room', 'live');
    await back.hears({ message: 'live' });
    const again = await s.open(`/cable?sid=${ann.sid}`);
    assert.equal((await again.hears({ type: 'welcome' })).restored, undefined, 'it works once');
  });

  restarting(`${how}: who resumes a session at once is told who left and came before the end, then who leaves`, { 'presence-ttl': `${TTL}ms` }, async (s) => {
    const { ann, known } = await goneAndMissing(s);
    await s.restart(how);
    const back = await resumed(s, ann);
    const told = [
      { type: 'join', id: 'ann', info: 0 }, // what a client knew isn't known any more
      { type: 'join', id: 'cem', info: 1 },
      { type: 'join', id: 'dan', info: 0 },
      { type: 'leave', id: 'bob' },
      { type: 'join', id: 'eve', info: 0 },
      { type: 'leave', id: 'fay' },
    ];
    const list = await back.list(ROOM);
    assert.deepEqual(eventsOf(back), told);
    assert.deepEqual(list.map(({ id }) => id), ['ann', 'cem', 'dan', 'eve']);
    assert.deepEqual(applied(known, told), applied(list, []));
    // nobody else comes back in time
    const [watcher] = await s.subscriber('room');
    const leaves = [];
    for (let n = 0; n < 3; n += 1) leaves.push(await watcher.hearsPresence(ROOM, 'leave', TTL + LATE));
    assert.deepEqual(leaves.map(({ id }) => id).sort(), ['cem', 'dan', 'eve']);
    assert.deepEqual(await back.list(ROOM), [{ id: 'ann', info: 0 }]);
    assert.deepEqual(eventsOf(back), [...told, ...leaves]);
    back.leave(ROOM); // its record has come along
    assert.deepEqual(await watcher.hearsPresence(ROOM, 'leave'), { type: 'leave', id: 'ann' });
  });

  restarting(`${how}: who resumes a session late gets the leaves of expired members, too`, { 'presence-ttl': `${TTL}ms` }, async (s) => {
    const { ann, known } = await goneAndMissing(s);
    await s.restart(how);
    const [watcher] = await s.subscriber('room');
    for (const [id, info] of [['cem', 1], ['eve', 0], ['gus', 0]]) await s.member('room', id, info);
    const leaves = [];
    for (let n = 0; n < 2; n += 1) leaves.push(await watcher.hearsPresence(ROOM, 'leave', TTL + LATE));
    assert.deepEqual(leaves.map(({ id }) => id).sort(), ['ann', 'dan']);
    const back = await resumed(s, ann);
    const told = [
      { type: 'join', id: 'cem', info: 1 },
      { type: 'leave', id: 'bob' },
      { type: 'join', id: 'eve', info: 0 },
      { type: 'leave', id: 'fay' },
      { type: 'join', id: 'gus', info: 0 },
      ...leaves,
    ];
    const list = await back.list(ROOM);
    assert.deepEqual(eventsOf(back), told);
    assert.deepEqual(list.map(({ id }) => id), ['cem', 'eve', 'gus']);
    assert.deepEqual(applied(known, told), applied(list, []));
    back.leave(ROOM);
    assert.match((await back.hearsPresence(ROOM, 'error')).reason, /has not joined/, 'its own time ran out');
  });

  restarting(`${how}: a session outlives one restart after the other, and so does what it missed`, { 'presence-ttl': `${TTL}ms` }, async (s) => {
    const { ann, known } = await goneAndMissing(s);
    await s.restart(how);
    await s.member('room', 'gus', 0);
    const [hal] = await s.member('room', 'hal', 0);
    hal.leave(ROOM);
    await hal.settle(ROOM);
    await s.restart(how);
    const back = await resumed(s, ann);
    const list = await back.list(ROOM);
    const here = ['ann', 'cem', 'dan', 'eve', 'gus'];
    assert.deepEqual(list.map(({ id }) => id), here);
    const told = eventsOf(back);
    const by = (type) => told.filter((event) => event.type === type).map(({ id }) => id).sort();
    assert.deepEqual(by('join'), here);
    assert.deepEqual(by('leave'), ['bob', 'fay', 'hal']);
    assert.equal(told.length, 8, 'each once');
    assert.deepEqual(applied(known, told), applied(list, []));
  });

  for (const restarts of [1, 2, 3]) {
    restarting(`${how}: who missed more changes than are kept subscribes anew (restarts: ${restarts})`, { 'presence-ttl': '60s' }, async (s) => {
      const [ann] = await s.member('room', 'ann', 0);
      const [bob] = await s.member('room', 'bob', 0);
      const known = await ann.list(ROOM);
      ann.terminate();
      await s.connections(1);
      bob.leave(ROOM);
      for (let n = 1; n <= 1001; n += 1) bob.join(ROOM, 'cem', n); // bob's leave is the first to be dropped
      await bob.settle(ROOM);
      for (let n = 0; n < restarts; n += 1) await s.restart(how);
      const back = await s.open(`/cable?sid=${ann.sid}`);
      const { restored } = await back.hears({ type: 'welcome' });
      const identifier = restored ? ROOM : await back.subscribe('room');
      const list = await back.list(identifier);
      if (restored) assert.deepEqual(applied(known, eventsOf(back)), applied(list, []), 'it shows who is there');
      assert.deepEqual([restored, list.map(({ id }) => id)], [undefined, ['ann', 'cem']]);
    });
  }

  restarting(`${how}: stock clients come back, and none hears of it`, { 'presence-ttl': '8s' }, async (s) => {
    const clients = [];
    for (let n = 0; n < 5; n += 1) {
      const cable = cableTo(s);
      const channel = await follow(cable, 'room');
      channel.presence.join(`user-${n}`, { n });
      const messages = [];
      channel.on('message', (message) => messages.push(message));
      clients.push({ cable, channel, messages });
    }
    const everyone = { 'user-0': { n: 0 }, 'user-1': { n: 1 }, 'user-2': { n: 2 }, 'user-3': { n: 3 }, 'user-4': { n: 4 } };
    await until(async () => (await listed(s)).length === 5, 'all are present');
    for (const { channel } of clients) assert.deepEqual(await channel.presence.info(), everyone);
    await s.http.publish('room', 'before');
    await until(() => clients.every(({ messages }) => messages.length === 1), 'all have it');
    const back = clients.map(({ channel }) => next(channel, 'connect', undefined, 20_000));
    await s.restart(how);
    const [observer] = await s.subscriber('room');
    await s.http.publish('room', 'meanwhile');
    await Promise.all(back);
    await s.http.publish('room', 'after');
    await until(() => clients.every(({ messages }) => messages.includes('after') && messages.includes('meanwhile')), 'all messages arrive', 10_000);
    for (const { messages, channel } of clients) {
      assert.equal(messages.length, 3, `each once: ${messages}`);
      assert.deepEqual(await channel.presence.info(), everyone);
    }
    await pass(8500);
    await observer.settle(ROOM);
    assert.deepEqual(eventsOf(observer), [], 'no storm, not even after the TTL');
  });
}

const SECURE = { secret: SECRET, 'public-streams': true, 'presence-id-claim': 'sub' };
for (const how of HOW) {
  restarting(`${how}: only the owner of a session takes it over`, SECURE, async (s) => {
    const ann = await s.socket(`/cable?${jid('ann')}`);
    const watch = identifySigned({ stream: 'signed', rights: ['subscribe'] });
    for (const identifier of [ROOM, watch]) {
      ann.send({ command: 'subscribe', identifier });
      await ann.hears({ type: 'confirm_subscription', identifier });
    }
    ann.join(ROOM, 'ann', 1);
    await ann.settle(ROOM);
    await s.restart(how);
    const come = async (query) => {
      const socket = await s.open(`/cable?sid=${ann.sid}&${query}`);
      return [socket, await socket.hears({ type: 'welcome' })];
    };
    for (const query of [jid('bob'), jid('ann', 'bob'), jid('bob', 'ann')]) {
      assert.equal((await come(query))[1].restored, undefined, query);
    }
    const refused = await s.open(`/cable?sid=${ann.sid}`);
    assert.equal((await refused.hears({ type: 'disconnect' })).reason, 'unauthorized');
    const [back, welcome] = await come(jid('ann'));
    assert.deepEqual(welcome.restored_ids.sort(), [ROOM, watch].sort());
    back.join(ROOM, 'bob', 1);
    assert.match((await back.hearsPresence(ROOM, 'error')).reason, /not the one of the token/);
    back.join(watch, 'ann', 1);
    assert.match((await back.hearsPresence(watch, 'error')).reason, /may not join/);
  });
}

for (const how of HOW) {
  restarting(`${how}: after a run without history, positions from before are refused`, {}, async (s) => {
    const [ann] = await s.subscriber('room');
    await s.http.request('/api/presence/room/lamp', { method: 'PUT' }); // the stream lives on
    for (let n = 1; n <= 6; n += 1) await s.http.publish('room', n);
    const { epoch } = await ann.hears({ message: 6 });
    await s.restart(how, { 'history-limit': 0 });
    const since = Math.floor(Date.now() / 1000);
    for (const stream of ['room', 'new']) await s.http.publish(stream, 'not kept');
    await until(() => Date.now() / 1000 > since + 1, 'another second has begun');
    await s.restart(how);
    for (const n of [7, 8]) await s.http.publish('room', n);
    const asks = [...[0, 3, 6].map((offset) => ({ streams: { room: { epoch, offset } } })), { since }];
    for (const history of asks) {
      const socket = await s.socket();
      socket.send({ command: 'subscribe', identifier: ROOM, history });
      await socket.hears({ type: 'reject_history' });
      socket.hears({ type: 'confirm_subscription' });
      await socket.settle(ROOM);
      socket.hearsNothing(JSON.stringify(history));
    }
    const socket = await s.socket();
    const identifier = await socket.subscribe('new', {}, { history: { since } });
    await socket.hears({ type: 'reject_history', identifier });
    const fresh = await socket.subscribe('room', {}, { history: { since: since + 2 } });
    await socket.hears({ type: 'confirm_history', identifier: fresh });
  });
}

restarting('a session is not resumed by a broker that keeps none', {}, async (s) => {
  const [ann] = await s.member('room', 'ann');
  await s.restart('SIGKILL', { 'sessions-ttl': '0s' });
  const back = await s.open(`/cable?sid=${ann.sid}`);
  assert.equal((await back.hears({ type: 'welcome' })).restored, undefined, 'none are kept now');
});

restarting('where Phoenix is spoken from now on, members with a reserved id leave', { protocols: 'action-cable' }, async (s) => {
  const [ann] = await s.member('room', 'ann');
  const [other] = await s.member('room', 'constructor', {});
  for (const id of ['__proto__', 'lamp']) await s.http.request(`/api/presence/room/${id}`, { method: 'PUT' });
  assert.deepEqual(await s.http.ids('room'), ['ann', 'constructor', '__proto__', 'lamp']);
  await s.restart('SIGKILL', { protocols: 'action-cable,phoenix' });
  assert.deepEqual(await s.http.ids('room'), ['ann', 'lamp']);
  await s.broker.logs('removed a restored member: its presence id is reserved');
  for (const id of ['__proto__', 'constructor']) await s.broker.logs(`stream=room id=${id}`);
  const phoenix = await phoenixIn(s, 'room', 'phoenix');
  await phoenix.sees({ ann: 1, lamp: 1, phoenix: 1 });
  const watcher = await resumed(s, ann);
  for (const id of ['constructor', '__proto__']) assert.equal((await watcher.hearsPresence(ROOM, 'leave')).id, id);
  const back = await resumed(s, other);
  back.leave(ROOM);
  assert.match((await back.hearsPresence(ROOM, 'error')).reason, /has not joined/);
});

restarting('a file that is none of ours is set aside', {}, async (s) => {
  await s.member('room', 'ann');
  s.broker.kill('SIGTERM');
  await s.broker.exited();
  const files = readdirSync(s.dir).filter((file) => /\.log$|^\d/.test(file) || !file.includes('lock'));
  assert.ok(files.length > 0);
  for (const file of files) if (!/lock/.test(file)) writeFileSync(join(s.dir, file), 'not ours');
  const { port } = s.broker;
  s.broker = await s.start({ 'state-dir': s.dir, port });
  assert.deepEqual(await listed(s), []);
  await s.broker.logs('is not used');
});

/** How a file may lose its end: what is left of so many bytes. */
const LOSSES = {
  'a byte': (size) => size - 1,
  'half of it': (size) => Math.floor(size / 2),
  'nearly all of it': () => 100,
  'all of it': () => 0,
};

for (const [what, left] of Object.entries(LOSSES)) {
  restarting(`a state file that has lost ${what} is noticed`, {}, async (s) => {
    const [ann] = await s.member('room', 'ann');
    for (let n = 1; n <= 30; n += 1) await s.http.publish('room', n);
    const { epoch, offset } = await ann.hears({ message: 30 });
    s.broker.kill('SIGKILL');
    await s.broker.exited();
    const [largest] = readdirSync(s.dir)
      .filter((name) => name.endsWith('.log'))
      .map((name) => join(s.dir, name))
      .sort((a, b) => statSync(b).size - statSync(a).size);
    truncateSync(largest, left(statSync(largest).size));
    s.broker = await s.start({ 'state-dir': s.dir, port: s.broker.port });
    await s.http.publish('room', 'new');
    const back = await s.open(`/cable?sid=${ann.sid}`);
    assert.equal((await back.hears({ type: 'welcome' })).restored, undefined, 'nothing is resumed');
    for (const known of [0, offset - 1, offset]) {
      const identifier = await back.subscribe('room', { known }, { history: { streams: { room: { epoch, offset: known } } } });
      await back.hears({ type: 'reject_history', identifier });
    }
    await s.broker.logs('something may be missing');
  });
}

restarting('two brokers do not share a directory', {}, async (s) => {
  await assert.rejects(s.start({ 'state-dir': s.dir }), /another broker|in use/);
});

restarting('what was answered with 201 is there after a kill', {}, async (s) => {
  const history = { since: 0 };
  for (let round = 1; round <= 10; round += 1) {
    const streams = Array.from({ length: 20 }, (_, n) => `round/${round}/${n}`);
    const batch = streams.map((stream) => ({ stream, data: JSON.stringify(round) }));
    const { status } = await s.http.post('/_broadcast', batch);
    assert.equal(status, 201);
    await s.restart('SIGKILL');
    const socket = await s.socket();
    for (const stream of streams) {
      const identifier = await socket.subscribe(stream, {}, { history });
      await socket.hears({ identifier, message: round });
    }
    socket.terminate();
  }
});

restarting('it is killed in the middle of everything, again and again', { 'presence-ttl': '60s' }, async (s) => {
  // what a client was told before the kill must be there after it
  let published = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const socket = await (await Socket.open(s.broker.url())).welcome();
    s.cleanup(() => socket.terminate());
    socket.send({ command: 'subscribe', identifier: ROOM });
    await socket.hears({ type: 'confirm_subscription' });
    let epoch;
    let last = 0;
    let killed = false;
    socket.ws.on('message', (data) => {
      const frame = JSON.parse(data);
      if (frame.offset) ({ epoch } = frame), (last = frame.offset);
    });
    const flood = (async () => {
      while (!killed) {
        published += 1;
        await s.http.publish('room', published).catch(() => {});
        socket.join(ROOM, 'ann', published);
      }
    })();
    await until(() => last > 0 && eventsOf(socket).length > 0, 'the first message and the join come');
    await pass(20 + Math.random() * 80);
    const { port } = s.broker;
    s.broker.kill('SIGKILL');
    await s.broker.exited();
    killed = true;
    await flood;
    await socket.closing();
    const told = eventsOf(socket).findLast(({ type }) => type === 'join' || type === 'update');
    s.broker = await s.start({ 'state-dir': s.dir, 'presence-ttl': '60s', port });
    const back = await s.socket();
    const history = { streams: { room: { epoch, offset: last } } };
    back.send({ command: 'subscribe', identifier: ROOM, history });
    await back.hears({ type: 'confirm_history' });
    const [[id, info]] = await listed(s);
    assert.equal(id, 'ann');
    assert.ok(!told || info >= told.info, `${info} is what was told last, or later: ${told?.info}`);
    back.terminate();
  }
});
