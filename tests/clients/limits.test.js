// What one client may ask for, and what it is told beyond that.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cableTo, follow, next } from './support/anycable.js';
import { chatTo, chatterIn } from './support/chat.js';
import { pass, until, within } from './support/patience.js';
import { consumerOf } from './support/rails.js';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';
import { typedTo } from './support/typed.js';

const EXCESS = 'too many commands: send fewer, or wait';

/** The metric of how often something was refused for a limit. */
const refusals = (limit) => `broker_limit_refusals_total{limit="${limit}"}`;

const SLOW = { 'max-commands-per-second': 10, 'max-commands-burst': 10 };

scenario('@rails/actioncable gets a subscription that came too fast half a second later', SLOW, async (s) => {
  const consumer = consumerOf(s);
  const connected = Array.from({ length: 18 }, (_, n) => {
    const params = { channel: '$pubsub', stream_name: `room/${n}` };
    return new Promise((resolve, reject) => {
      consumer.subscriptions.create(params, { connected: resolve, rejected: () => reject(new Error('rejected')) });
    });
  });
  await within(Promise.all(connected), 'all subscriptions');
  await s.metrics((m) => m.get(refusals('commands_per_second')) >= 4, 'some came too fast');
});

scenario('@anycable/core reconnects when it was closed as too fast, and is told why', SLOW, async (s) => {
  const cable = cableTo(s);
  const channel = await follow(cable, 'room');
  const reconnected = next(cable, 'connect', ({ reconnect }) => reconnect);
  const cut = next(cable, 'disconnect');
  for (let n = 0; n < 50; n += 1) channel.whisper({ n });
  assert.match(String((await cut).reason ?? (await cut)), /too_fast/);
  await reconnected;
  await within(channel.ensureSubscribed(), 'the subscription');
  const heard = next(channel, 'message');
  await s.http.publish('room', 'hi');
  assert.equal(await heard, 'hi');
  await s.counts({ 'broker_connections_closed_total{reason="too_fast"}': 1 });
});

scenario('presence.info() of @anycable/core rejects when it comes too fast', SLOW, async (s) => {
  const cable = cableTo(s);
  const channel = await follow(cable, 'room');
  const { _socket: socket } = cable.transport.ws;
  socket.cork(); // so that all is in the broker's hands at the same time
  for (let n = 0; n < 15; n += 1) channel.whisper({ n }); // time passes, which allows for some more
  const asked = within(channel.presence.info(), 'an answer');
  setImmediate(() => socket.uncork()); // the client sends in tasks of its own
  await assert.rejects(asked, /failed to retrieve presence/);
  await pass(300);
  assert.deepEqual(await channel.presence.info(), {});
});

scenario('a client that is too fast is refused, then closed with 1008', SLOW, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  const [bystander] = await s.subscriber('room');
  socket.ws._socket.cork();
  for (let n = 0; n < 100; n += 1) socket.whisper(identifier, n);
  socket.ws._socket.uncork();
  assert.deepEqual(await socket.closing(), { code: 1008, reason: 'too_fast' });
  const last = socket.unheard.at(-1);
  assert.deepEqual(last, { type: 'disconnect', reason: 'too_fast', reconnect: true });
  const errors = socket.unheard.filter(({ type }) => type === 'error');
  assert.deepEqual(errors[0], { type: 'error', identifier: '', command: 'whisper', reason: EXCESS });
  assert.ok(errors.length >= 10 && errors.length < 25, `${errors.length} refusals`);
  await bystander.settle(identifier);
  const heard = bystander.unheard.map(({ message }) => message);
  assert.deepEqual(heard, heard.map((_, n) => n), 'what was followed came in order');
  assert.ok(heard.length >= 9 && heard.length < 25, `${heard.length} whispers`);
  await s.counts({ [refusals('commands_per_second')]: errors.length });
});

scenario('a client at its rate is never refused', { 'max-commands-per-second': 20 }, async (s) => {
  const socket = await s.socket();
  for (let n = 0; n < 40; n += 1) {
    await socket.settle();
    await pass(50);
  }
  await s.counts({ [refusals('commands_per_second')]: 0 });
});

scenario('a stream that is full takes no further members', { 'max-members': 2, 'presence-ttl': '200ms' }, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann');
  const [bob] = await s.member('room', 'bob');
  const [cid] = await s.subscriber('room');
  const full = { type: 'error', reason: 'the stream is full: at most 2 members are allowed' };
  cid.join(identifier, 'cid', {});
  assert.deepEqual(await cid.hearsPresence(identifier, 'error'), full);
  const dan = await s.socket();
  await dan.subscribe('room', {}, { presence: { id: 'dan' } });
  assert.deepEqual(await dan.hearsPresence(identifier, 'error'), full, 'though it is subscribed');
  await s.counts({ [refusals('members')]: 2 });

  await s.member('room', 'ann', { tab: 2 });
  await ann.hearsPresence(identifier, 'update');
  assert.equal((await s.http.users('room')).total, 2);
  await s.member('another room', 'cid');
  bob.terminate();
  await cid.hearsPresence(identifier, 'leave');
  cid.join(identifier, 'cid', {});
  await ann.hearsPresence(identifier, 'join').then(({ id }) => assert.equal(id, 'bob'));
  await ann.hearsPresence(identifier, 'join').then(({ id }) => assert.equal(id, 'cid'));
});

scenario('a client has so many records and no more', { 'max-records': 2 }, async (s) => {
  const [socket, one] = await s.member('one', 'ann');
  const two = await socket.subscribe('two', {}, { presence: { id: 'ann' } });
  await socket.hearsPresence(two, 'join');
  const three = await socket.subscribe('three', {}, { presence: { id: 'ann' } });
  const { reason } = await socket.hearsPresence(three, 'error');
  assert.equal(reason, 'this client has joined 2 times, at most 2 are allowed: leave first');
  socket.join(two, 'ann', 'another info');
  await socket.hearsPresence(two, 'update');
  socket.leave(one);
  await socket.hearsPresence(one, 'leave');
  socket.join(three, 'ann', {});
  await socket.hearsPresence(three, 'join');
  socket.unsubscribe(two);
  socket.join(one, 'ann', {});
  await socket.hearsPresence(one, 'join');
  await s.counts({ [refusals('records')]: 1 });
});

/** Asks to be present by several subscriptions in one packet; gives those that are. */
async function joinAtOnce(socket, identifiers, id) {
  socket.ws._socket.cork();
  for (const identifier of identifiers) socket.join(identifier, id, {});
  socket.ws._socket.uncork();
  const present = [];
  for (const identifier of identifiers) {
    await socket.settle(identifier);
    const answer = await socket.hears({ type: 'presence', identifier });
    if (answer.message.type === 'join') present.push(identifier);
    else assert.match(answer.message.reason, /^this client has joined 5 times, at most 5 are allowed/);
  }
  return present;
}

scenario('joins that are sent at once count each, whatever shard they are for', { 'max-records': 5 }, async (s) => {
  const socket = await s.socket();
  const rooms = [];
  for (let n = 0; n < 20; n += 1) rooms.push(await socket.subscribe(`room/${n}`));
  const first = await joinAtOnce(socket, rooms, 'ann');
  assert.equal(first.length, 5);
  for (const identifier of first) {
    socket.leave(identifier);
    await socket.hearsPresence(identifier, 'leave');
  }
  assert.equal((await joinAtOnce(socket, rooms, 'ann')).length, 5);
  await s.counts({ broker_presence_records: 5, [refusals('records')]: 30 });
});

scenario('who leaves one stream may join another in the same breath', { 'max-records': 1 }, async (s) => {
  const socket = await s.socket();
  const rooms = [];
  for (let n = 0; n < 8; n += 1) rooms.push(await socket.subscribe(`room/${n}`));
  const presence = { id: 'ann', info: {} };
  const moves = [
    (from, to) => {
      socket.leave(from);
      socket.join(to, 'ann', {});
    },
    (from, to) => {
      socket.unsubscribe(from);
      socket.send({ command: 'subscribe', identifier: to, presence });
    },
  ];
  let at = rooms[0];
  socket.join(at, 'ann', {});
  await socket.settle(at);
  for (const move of moves) {
    for (let n = 1; n <= 100; n += 1) {
      const to = rooms[n % 8]; // perhaps of another shard, which may be quicker
      socket.ws._socket.cork();
      move(at, to);
      socket.ws._socket.uncork();
      await socket.settle(to);
      at = to;
    }
  }
  const refused = socket.transcript.filter((text) => text.includes('"error"'));
  assert.deepEqual(refused, []);
  assert.deepEqual((await socket.list(at)).map(({ id }) => id), ['ann']);
});

scenario('of joins that are sent at once the first ones count', { 'max-records': 1 }, async (s) => {
  const socket = await s.socket();
  const rooms = [];
  for (let n = 0; n < 8; n += 1) rooms.push(await socket.subscribe(`room/${n}`));
  for (let n = 0; n < 100; n += 1) {
    const [one, other] = [rooms[n % 8], rooms[(n + 1 + (n >> 3) % 7) % 8]]; // perhaps of another shard
    socket.ws._socket.cork();
    socket.join(one, 'ann', {});
    socket.join(other, 'ann', {});
    socket.leave(one);
    socket.join(other, 'ann', {});
    socket.leave(other);
    socket.ws._socket.uncork();
    await socket.settle(one);
    await socket.settle(other);
    const refused = socket.transcript.map((text) => JSON.parse(text)).filter(({ message }) => message?.type === 'error');
    assert.deepEqual(refused.splice(n).map(({ identifier }) => identifier), [other], `round ${n}`);
  }
});

const ALONE = { 'max-members': 1, 'max-records': 1 };
scenario('a join that the stream refused does not count', ALONE, async (s) => {
  await s.member('one', 'ann');
  const [bob, one] = await s.subscriber('one');
  const two = await bob.subscribe('two');
  bob.join(one, 'bob', {});
  assert.match((await bob.hearsPresence(one, 'error')).reason, /is full/);
  bob.join(two, 'bob', {});
  await bob.hearsPresence(two, 'join');
});

scenario('a leave under an earlier name gives the record back', { 'max-records': 2 }, async (s) => {
  const socket = await typedTo(s);
  await socket.join('Alice');
  await socket.join('Bob', { room: 'den' });
  socket.say('presence.leave', { user: 'Alice' });
  await socket.hears({ type: 'presence.offline', payload: { user: 'Alice' } });
  await socket.join('Cem', { room: 'attic' });
  socket.say('presence.join', { user: 'Dan', room: 'yard' });
  assert.match(await socket.refusal(), /^this client has joined 2 times, at most 2 are allowed/);
  await s.counts({ broker_presence_records: 2 });
});

scenario('a client that a full room refused can neither speak nor type there', { 'max-members': 2 }, async (s) => {
  const [ann] = [await chatterIn(s, 'room', 'ann'), await chatterIn(s, 'room', 'bob')];
  await ann.hears({ type: 'user_joined', username: 'bob' });
  const eve = await chatTo(s);
  eve.send({ type: 'join', room: 'room', username: 'eve' });
  eve.say('room', 'eve', 'I am not even here'); // without waiting for the answer
  eve.typing('room', 'eve');
  assert.match(await eve.refusal(), /is full/);
  for (let n = 0; n < 2; n += 1) {
    assert.equal(await eve.refusal(), 'only who has joined may say something here: join first');
  }
  await s.http.publish('room', { content: 'behind' });
  assert.equal((await ann.hears({ type: 'message' })).data.content, 'behind');
  ann.hearsNothing();
  const { json } = await s.http.request('/api/rooms/room/messages');
  assert.deepEqual(json.map(({ content }) => content), ['behind']);
  await s.counts({
    'broker_commands_total{command="publish",outcome="refused"}': 1,
    'broker_commands_total{command="whisper",outcome="refused"}': 1,
  });
});

scenario('nobody is named after a join that a full room refused', { 'max-members': 1 }, async (s) => {
  await chatterIn(s, 'room', 'bob');
  const ann = await chatterIn(s, 'den', 'ann');
  ann.send({ type: 'join', room: 'room', username: 'eve' });
  ann.say('den', undefined, 'at once'); // without waiting for the answer
  assert.match(await ann.refusal(), /is full/);
  ann.say('den', undefined, 'later');
  for (const content of ['at once', 'later']) {
    const { data } = await ann.hears({ type: 'message', room: 'den' });
    assert.deepEqual([data.username, data.content], ['ann', content]);
  }
  const guest = await chatTo(s);
  guest.send({ type: 'join', room: 'room', username: 'eve' });
  guest.send({ type: 'join', room: 'attic' });
  assert.equal((await guest.hears({ type: 'user_joined' })).username, 'Guest');
});

scenario('who has joined has that name from its next frame on', {}, async (s) => {
  const said = (room) => until(async () => {
    const { json } = await s.http.request(`/api/rooms/${room}/messages`);
    return json.length > 0 && json.map(({ username, content }) => [username, content]);
  }, 'something is said');
  const ann = await chatTo(s);
  ann.ws._socket.cork(); // all of it in one piece
  ann.send({ type: 'join', room: 'room', username: 'ann' });
  ann.say('room', undefined, 'one');
  ann.send({ type: 'leave', room: 'room' });
  ann.send({ type: 'join', room: 'den', username: 'bob' });
  ann.say('den', undefined, 'two');
  ann.send({ type: 'leave', room: 'den' });
  ann.send({ type: 'join', room: 'attic' });
  ann.ws._socket.uncork();
  await ann.hears({ type: 'user_joined', username: 'bob', users: ['bob'] });
  assert.deepEqual(await said('room'), [['ann', 'one']]);
  assert.deepEqual(await said('den'), [['bob', 'two']]);
  // what is said last is said, though the connection ends at once
  ann.ws._socket.cork();
  ann.send({ type: 'join', room: 'yard', username: 'cem' });
  ann.say('yard', undefined, 'three');
  ann.ws._socket.uncork();
  await ann.close();
  assert.deepEqual(await said('yard'), [['cem', 'three']]);
});

scenario('records count after a restart as before', (s) => {
  const dir = mkdtempSync(join(tmpdir(), 'broker-state-'));
  s.cleanup(() => rmSync(dir, { recursive: true, force: true }));
  return { 'state-dir': dir, 'max-records': 2 };
}, async (s) => {
  const socket = await s.socket();
  const [one, two, three] = await Promise.all(['one', 'two', 'three'].map((name) => socket.subscribe(name)));
  for (const identifier of [one, two]) {
    socket.join(identifier, 'ann', {});
    await socket.hearsPresence(identifier, 'join');
  }
  await s.broker.stop();
  const flags = { 'state-dir': s.broker.args[s.broker.args.indexOf('--state-dir') + 1], 'max-records': 2 };
  s.broker = await s.start({ ...flags, port: s.broker.port });
  const back = await s.open(`/cable?sid=${socket.sid}`);
  assert.equal((await back.hears({ type: 'welcome' })).restored_ids.length, 3);
  await back.settle(one);
  back.join(three, 'ann', {});
  assert.match((await back.hearsPresence(three, 'error')).reason, /at most 2 are allowed/);
  back.leave(one);
  back.join(three, 'ann', {});
  await back.hearsPresence(three, 'join', undefined);
});

const SMALL = {
  'max-subscriptions': 2,
  'max-identifier-size': 100,
  'max-stream-name-size': 10,
  'max-presence-id-length': 5,
  'max-presence-info-size': 10,
  'max-answer-size': 128,
};

scenario('each limit counts what it refuses', SMALL, async (s) => {
  await s.http.publish('room', 'x'.repeat(200));
  const [socket, identifier] = await s.member('room', 'ann', '12345678');
  const rejected = async (name) => {
    socket.send({ command: 'subscribe', identifier: name });
    await socket.hears({ type: 'reject_subscription', identifier: name });
  };
  const refused = async (command, more) => {
    socket.send({ command, identifier, ...more });
    return (await socket.hearsPresence(identifier, 'error')).reason;
  };
  const expect = async (limit, ask) => {
    const since = await s.http.metrics();
    const answer = await ask();
    await s.counts({ [refusals(limit)]: 1 }, { since });
    return answer;
  };
  await expect('identifier_size', () => rejected(identify('x', { pad: 'x'.repeat(100) })));
  await expect('stream_name_size', () => rejected(identify('x'.repeat(11))));
  await expect('presence_id_length', () => refused('join', { presence: { id: 'ann123' } }));
  await expect('presence_info_size', () => refused('join', { presence: { id: 'ann', info: '123456789' } }));
  await socket.subscribe('2');
  await expect('subscriptions', () => rejected(identify('3')));
  await expect('answer_size', async () => {
    socket.send({ command: 'history', identifier, history: { since: 1 } });
    await socket.hears({ type: 'reject_history', identifier });
  });
  for (const id of ['bob', 'cid', 'dan', 'eve']) await s.member('room', id, '12345678');
  const list = await expect('answer_size', () => refused('presence'));
  assert.match(list, /^the list has \d+ bytes, at most 128 are allowed: ask for the number alone$/);
  assert.equal(await socket.count(identifier), 5);
  assert.equal((await s.http.users('room')).records.length, 5, 'the application gets it');
  await s.counts({ 'broker_commands_total{outcome="refused"}': 7 });
});
