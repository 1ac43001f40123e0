// One room, every client: whatever they speak, they see each other, hear the same and agree.

import assert from 'node:assert/strict';
import { cableTo, follow, next } from './support/anycable.js';
import { chatterIn } from './support/chat.js';
import { KINDS, ChatGuest } from './support/company.js';
import { eventsIn } from './support/events.js';
import { settle } from './support/mark.js';
import { LATE, pass } from './support/patience.js';
import { phoenixIn } from './support/phoenix.js';
import { eventsOf, randomness, replay } from './support/replay.js';
import { scenario } from './support/scenario.js';
import { typedTo } from './support/typed.js';

const ROOM = 'room:lobby';

scenario('four clients of four protocols see each other', { 'presence-ttl': '300ms' }, async (s) => {
  const cable = cableTo(s);
  const channel = await follow(cable, ROOM);
  await channel.presence.info();
  await channel.presence.join('cable', { name: 'Cable' });
  await next(channel, 'presence', ({ type }) => type === 'join');
  const phoenix = await phoenixIn(s, ROOM, 'phoenix');
  const typed = await typedTo(s);
  await typed.join('typed', { room: ROOM });
  const chat = await chatterIn(s, ROOM, 'chat');
  const events = await eventsIn(s, ROOM, { presence_id: 'events', presence_info: '{"name":"Events"}' });
  const all = ['cable', 'phoenix', 'typed', 'chat', 'events'];

  await phoenix.sees(Object.fromEntries(all.map((id) => [id, 1])));
  await chat.hears({ type: 'user_joined', username: 'events', users: all });
  assert.deepEqual(await typed.list({ room: ROOM }), all);
  await settle(s, ROOM, events, phoenix, chat);
  assert.deepEqual(Object.keys(await channel.presence.info()), all);
  const { total, records } = await s.http.users(ROOM);
  assert.equal(total, 5);
  assert.deepEqual(records.map(({ id }) => id), all);
  const { online_at, ...rest } = records[1].info;
  assert.match(online_at, /^\d+$/);
  assert.deepEqual([records[0].info, rest, ...records.slice(2).map(({ info }) => info)], [
    { name: 'Cable' },
    {},
    { name: 'typed' },
    { name: 'chat' },
    { name: 'Events' },
  ]);
  assert.deepEqual(phoenix.members.chat.map(({ name }) => name), ['chat']);

  // and each sees each go
  events.close();
  await chat.hears({ type: 'user_left', username: 'events' });
  await typed.hears({ type: 'presence.offline', payload: { user: 'events', room: ROOM } });
  await phoenix.leave();
  await chat.hears({ type: 'user_left', username: 'phoenix', users: ['cable', 'typed', 'chat'] });
  const left = next(channel, 'presence', ({ type, id }) => type === 'leave' && id === 'typed');
  typed.say('presence.leave', { user: 'typed', room: ROOM });
  await left;
  await chat.close();
  await typed.hears({ type: 'presence.offline', payload: { user: 'chat', room: ROOM } });
  assert.deepEqual(await typed.list({ room: ROOM }), ['cable']);
});

scenario('one user in several protocols is one user', { 'presence-ttl': '300ms' }, async (s) => {
  const watcher = await chatterIn(s, ROOM, 'watcher');
  const [cable, identifier] = await s.member(ROOM, 'ann', { name: 'ann' });
  const typed = await typedTo(s);
  typed.say('presence.join', { user: 'ann', room: ROOM });
  const chat = await s.open('/chat', { protocols: [] });
  chat.send({ type: 'join', room: ROOM, username: 'ann' });
  assert.deepEqual((await chat.hears({ type: 'user_list' })).users, ['watcher', 'ann']);
  const phoenix = await phoenixIn(s, ROOM, 'ann');
  await phoenix.sees({ watcher: 1, ann: 4 });
  assert.deepEqual(await typed.list({ room: ROOM }), ['watcher', 'ann']);
  await settle(s, ROOM, watcher);
  await watcher.hears({ type: 'user_joined', username: 'ann' });
  watcher.hearsNothing('ann came once');
  await phoenix.leave();
  typed.say('presence.leave', { user: 'ann', room: ROOM });
  cable.leave(identifier);
  await cable.settle(identifier);
  await chat.close();
  await watcher.hears({ type: 'user_left', username: 'ann' });
  assert.deepEqual(await s.http.ids(ROOM), ['watcher']);
});

scenario('a publication reaches everyone in their own form', {}, async (s) => {
  const [cable, identifier] = await s.subscriber(ROOM);
  const phoenix = await phoenixIn(s, ROOM, 'phoenix');
  const typed = await typedTo(s);
  await typed.list({ room: ROOM });
  const chat = await chatterIn(s, ROOM, 'chat');
  const events = await eventsIn(s, ROOM);
  const data = { username: 'bot', content: 'hi', timestamp: '2026-01-01T00:00:00Z' };
  await s.http.publish(ROOM, data, { event: 'new_msg' });
  const frame = await cable.hears({ identifier, message: data });
  assert.deepEqual(Object.keys(frame).sort(), ['epoch', 'identifier', 'message', 'offset', 'stream_id']);
  assert.deepEqual(await phoenix.hears('new_msg'), data);
  assert.deepEqual(await typed.hears({ type: 'message' }), { type: 'message', room: ROOM, payload: data });
  assert.deepEqual(await chat.hears({ type: 'message' }), { type: 'message', room: ROOM, data });
  assert.deepEqual((await events.hears({ event: undefined })).json, data);
});

scenario('what a chat client says reaches everyone', {}, async (s) => {
  const [cable, identifier] = await s.subscriber(ROOM);
  const phoenix = await phoenixIn(s, ROOM, 'phoenix');
  const typed = await typedTo(s);
  await typed.list({ room: ROOM });
  const events = await eventsIn(s, ROOM);
  const chat = await chatterIn(s, ROOM, 'chat');
  chat.say(ROOM, 'chat', 'hi');
  const { data } = await chat.hears({ type: 'message' });
  assert.deepEqual([data.username, data.content], ['chat', 'hi']);
  await cable.hears({ identifier, message: data });
  assert.deepEqual(await phoenix.hears('message'), data);
  await typed.hears({ type: 'message', room: ROOM, payload: data });
  await events.hears({ event: undefined, json: data });
  chat.typing(ROOM, 'chat');
  const typing = { username: 'chat' };
  await cable.hears({ identifier, message: typing });
  assert.deepEqual(await phoenix.hears('typing'), typing);
  await typed.hears({ type: 'whisper', payload: typing });
});

const SEED = Number(process.env.SEED ?? Date.now() % 1e9);
const EACH = 3;
const OPERATIONS = 500;
const USERS = 8;
const TTL = 200;

scenario(`all agree after ${OPERATIONS} things they did at once (SEED=${SEED})`, { 'presence-ttl': `${TTL}ms` }, async (s) => {
  const [watcher, identifier] = await s.subscriber(ROOM);
  const guests = KINDS.flatMap((Kind) => Array.from({ length: EACH }, () => new Kind(s, ROOM)));
  let serial = 0;

  /** One random step of a guest; what it can do depends on where it is. */
  async function act(guest, random) {
    const info = () => ({ serial: (serial += 1) });
    if (!guest.isOnline) return guest.connect(`user-${random(USERS)}`);
    const choices = [() => guest.goAway(random(2) === 0)];
    if (guest.canComeBack) choices.push(() => guest.comeBack());
    if (!guest.isIn) choices.push(...Array(4).fill(() => guest.join(info())));
    if (guest.isIn && guest.canLeave) choices.push(...Array(2).fill(() => guest.leave()));
    if (guest.isIn && guest.canUpdate) choices.push(...Array(2).fill(() => guest.update(info())));
    if (guest.isIn && guest.canComeBack) choices.push(() => guest.comeBack());
    return choices[random(choices.length)]();
  }

  const steps = Math.ceil(OPERATIONS / guests.length);
  await Promise.all(
    guests.map(async (guest, n) => {
      const random = randomness(SEED + n);
      for (let step = 0; step < steps; step += 1) {
        try {
          await act(guest, random);
        } catch (error) {
          const where = `step ${step} of guest ${n}, ${guest.protocol}, as ${guest.user}`;
          throw new Error(`${where} (SEED=${SEED}): ${error.message}`, { cause: error });
        }
        if (random(2)) await pass(random(60));
      }
      // everybody is there at the end and sees, half of them joined
      if (!guest.isOnline) await guest.connect(`user-${random(USERS)}`);
      if (!guest.isIn && (guest instanceof ChatGuest || random(2))) await guest.join({ last: n });
    }),
  );

  const joined = guests.filter(({ isIn }) => isIn);
  const says = (m) =>
    m.get('broker_presence_records') === joined.length && m.get('broker_connections') === guests.length + 1;
  const isOver = () => s.metrics(says, `the TTLs are over, ${joined.length} records are left (SEED=${SEED})`);
  await isOver();
  await pass(LATE); // that number can also come of one that has yet to go and one that has yet to come
  await isOver();
  await settle(s, ROOM, watcher, ...guests);

  const final = (await s.http.users(ROOM)).records ?? [];
  const ids = final.map(({ id }) => id);
  assert.deepEqual([...ids].sort(), [...new Set(joined.map(({ user }) => user))].sort(), 'who should be there');
  assert.deepEqual(replay([], eventsOf(watcher)), final, 'an Action Cable watcher’s replay');
  assert.deepEqual(await watcher.list(identifier), final, 'its list');
  const { json } = await s.http.request(`/api/presence/${encodeURIComponent(ROOM)}`);
  const devices = Object.fromEntries(json.records.map(({ id, metas }) => [id, metas.length]));
  for (const [n, guest] of guests.entries()) {
    const what = `guest ${n}, ${guest.protocol}, as ${guest.user} (SEED=${SEED})`;
    const believed = await guest.believes();
    assert.deepEqual([...believed].sort(), [...ids].sort(), what);
    if (guest.socket) assert.deepEqual(believed, ids, `${what}: in order of arrival`);
    if (guest.devices) assert.deepEqual(guest.devices, devices, `${what}: devices`);
  }
  for (const { id, metas } of json.records) {
    const mine = joined.filter(({ user }) => user === id).length;
    assert.equal(metas.length, mine, `the records of ${id} (SEED=${SEED})`);
  }
}, { timeout: 120_000 });
