// Typed JSON on `/`: what two people with websocat see, rooms, and what is refused.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { settle } from './support/mark.js';
import { pass } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { Http } from './support/http.js';
import { SECRET, derive, sign, token } from './support/sign.js';
import { OPENED, TypedSocket, typedTo } from './support/typed.js';
import { Wire } from './support/wire.js';

const LOBBY = 'lobby';
const SHORT = { 'presence-ttl': '300ms' };
/** For those who do something before it is over. */
const TTL = 4000;

/** What is written and told in the terminals of a manual, line by line. */
function conversations(manual) {
  const text = readFileSync(new URL(`../../${manual}`, import.meta.url), 'utf8');
  const all = [...text.matchAll(/^\$ websocat .*\n((?:\{.*\n)+)/gm)].map(([, lines]) => lines.trim().split('\n'));
  assert.equal(all.length, 2, manual);
  return all;
}

/** All that a socket was told, as it came. */
const told = ({ transcript }) => transcript.map((text) => JSON.parse(text));

scenario('two terminals see each other come and go', {}, async (s) => {
  const a = await typedTo(s);
  const b = await typedTo(s);
  await a.hears(OPENED);
  a.send('{"type":"presence.join","payload":{"user":"Alice"}}');
  for (const terminal of [a, b]) await terminal.hears({ type: 'presence.online', payload: { user: 'Alice' } });
  b.send('{"type":"presence.join","payload":{"user":"Bob"}}');
  for (const terminal of [a, b]) await terminal.hears({ type: 'presence.online', payload: { user: 'Bob' } });
  a.send('{"type":"presence.list","payload":{}}');
  await a.hears({ type: 'presence.current', payload: { users: ['Alice', 'Bob'] } });
  a.send('{"type":"presence.leave","payload":{"user":"Alice"}}');
  for (const terminal of [a, b]) await terminal.hears({ type: 'presence.offline', payload: { user: 'Alice' } });
  await settle(s, LOBBY, a, b);
  a.hearsNothing();
  b.hearsNothing('a list is for the one who asks');
});

scenario('frames are just those of the example', {}, async (s) => {
  const a = await typedTo(s);
  a.say('presence.join', { user: 'Alice' });
  a.say('presence.list');
  a.say('presence.leave', { user: 'Alice' });
  await a.hears({ type: 'presence.offline' });
  assert.deepEqual(a.transcript, [
    '{"type":"presence.system","payload":{"message":"A new connection opened"}}',
    '{"type":"presence.online","payload":{"user":"Alice"}}',
    '{"type":"presence.current","payload":{"users":["Alice"]}}',
    '{"type":"presence.offline","payload":{"user":"Alice"}}',
  ]);
});

for (const [number, example] of conversations('docs/TYPED.md').entries()) {
  scenario(`the manual shows what is told (${number + 1})`, {}, async (s) => {
    const terminal = await typedTo(s);
    assert.equal(example.shift(), terminal.transcript[0]);
    for (const line of example) {
      const { type, room, payload } = JSON.parse(line);
      if (/join|leave|list/.test(type)) {
        terminal.send(line);
      } else {
        if (type === 'message') await s.http.publish(room, payload);
        assert.equal((await terminal.hears({ type })).raw, line);
      }
    }
    terminal.hearsNothing();
  });
}

scenario('a line may end in a line break', {}, async (s) => {
  const a = await typedTo(s);
  a.send('{"type":"presence.join","payload":{"user":"Alice"}}\n');
  await a.hears({ type: 'presence.online', payload: { user: 'Alice' } });
});

scenario('a person who opens the address is told what is here', {}, async (s) => {
  const { status, headers, json } = await s.http.request('/');
  assert.equal(status, 200);
  assert.match(headers.get('content-type'), /^application\/json/);
  assert.deepEqual(Object.keys(json).sort(), ['hint', 'message']);
  for (const text of Object.values(json)) assert.match(text, /\w+ \w+/);
});

scenario('the address tells of itself wherever the socket is', { 'typed-path': '/typed' }, async (s) => {
  const { status, json } = await s.http.request('/');
  assert.equal(status, 200);
  assert.match(json.hint, /typed at \/typed/);
  await typedTo(s, '/typed');
});

scenario('whoever asks of the address doesn’t want a socket there', {}, async (s) => {
  const head = await s.http.request('/', { method: 'HEAD' });
  assert.deepEqual([head.status, head.text], [200, '']);
  // curl --http2 makes such an offer, which needn't be taken
  const wire = await Wire.connect(s.broker);
  wire.handshake(undefined, { Upgrade: 'h2c' }, 'GET / HTTP/1.1');
  assert.equal((await wire.answer()).status, 200);
  wire.destroy();
});

scenario('opening a socket is told to who is there, and to nobody of other protocols', {}, async (s) => {
  const [cable, identifier] = await s.subscriber(LOBBY);
  const a = await typedTo(s);
  const b = await typedTo(s);
  await a.hears(OPENED);
  await settle(s, LOBBY, a, b);
  a.hearsNothing();
  b.hearsNothing();
  await cable.hears({ type: undefined, identifier });
  cable.hearsNothing();
});

scenario('the list is in order of arrival and empty at first', {}, async (s) => {
  const watcher = await typedTo(s);
  assert.deepEqual(await watcher.list(), []);
  const users = ['zoe', 'ann', '10', 'Émile', '9'];
  for (const user of users) await (await typedTo(s)).join(user);
  assert.deepEqual(await watcher.list(), users);
});

scenario('two terminals of one user are one user', {}, async (s) => {
  const watcher = await typedTo(s);
  const one = await (await typedTo(s)).join('Alice');
  const two = await typedTo(s);
  two.say('presence.join', { user: 'Alice' });
  assert.deepEqual(await two.list(), ['Alice']);
  one.say('presence.leave', { user: 'Alice' });
  await settle(s, LOBBY, one, two, watcher);
  const people = () => told(watcher).filter(({ type }) => /online|offline/.test(type));
  assert.equal(people().length, 1, 'one arrival');
  two.say('presence.leave', { user: 'Alice' });
  await watcher.hears({ type: 'presence.offline', payload: { user: 'Alice' } });
});

scenario('joining again as the same user says nothing new', {}, async (s) => {
  const a = await (await typedTo(s)).join('Alice');
  a.say('presence.join', { user: 'Alice' });
  assert.deepEqual(await a.list(), ['Alice']);
  a.hearsNothing();
});

scenario('who left can join again, under another name too', {}, async (s) => {
  const a = await (await typedTo(s)).join('Alice');
  a.say('presence.leave', { user: 'Alice' });
  await a.join('Alison');
  assert.deepEqual(await a.list(), ['Alison']);
});

for (const [what, end] of [
  ['closes the terminal', (socket) => socket.close()],
  ['loses the connection', (socket) => socket.terminate()],
]) {
  scenario(`a user who ${what} is offline when the TTL is over`, { 'presence-ttl': `${TTL}ms` }, async (s) => {
    const watcher = await typedTo(s);
    const a = await (await typedTo(s)).join('Alice');
    await watcher.hears({ type: 'presence.online' });
    const since = performance.now();
    await end(a);
    assert.deepEqual(await watcher.list(), ['Alice'], 'within the TTL');
    await watcher.hears({ type: 'presence.offline', payload: { user: 'Alice' } });
    assert.ok(performance.now() - since >= TTL - 60, 'not before the TTL');
    assert.deepEqual(await watcher.list(), []);
  });
}

scenario('who comes back within the TTL was never away', { 'presence-ttl': `${TTL}ms` }, async (s) => {
  const watcher = await typedTo(s);
  const first = await (await typedTo(s)).join('Alice');
  await watcher.hears({ type: 'presence.online' });
  first.terminate();
  const again = await typedTo(s);
  again.say('presence.join', { user: 'Alice' });
  assert.deepEqual(await again.list(), ['Alice']);
  await pass(TTL + 300);
  assert.deepEqual(await watcher.list(), ['Alice']);
  await watcher.hears(OPENED);
  await watcher.hears(OPENED);
  watcher.hearsNothing();
});

scenario('an open socket without a word stays', SHORT, async (s) => {
  const watcher = await typedTo(s);
  await (await typedTo(s)).join('Alice');
  await pass(1000);
  assert.deepEqual(await watcher.list(), ['Alice']);
});

scenario('a room named in a frame is followed, and its frames name it', {}, async (s) => {
  const a = await typedTo(s);
  const b = await typedTo(s);
  await a.hears(OPENED);
  const room = 'den';
  assert.deepEqual(await b.list({ room }), [], 'to ask is to follow');
  a.say('presence.join', { user: 'Alice', room });
  for (const socket of [a, b]) {
    await socket.hears({ type: 'presence.online', payload: { user: 'Alice', room } });
  }
  b.say('presence.list', { room });
  await b.hears({ type: 'presence.current', payload: { users: ['Alice'], room } });
  assert.deepEqual(await a.list(), [], 'the default room is another one');
  const data = { n: 1 };
  await s.http.publish(room, data);
  for (const socket of [a, b]) await socket.hears({ type: 'message', room, payload: data });
  a.say('presence.leave', { user: 'Alice', room });
  for (const socket of [a, b]) {
    await socket.hears({ type: 'presence.offline', payload: { user: 'Alice', room } });
  }
  const far = await typedTo(s);
  for (const socket of [a, b]) await socket.hears(OPENED);
  await settle(s, LOBBY, a, b, far);
  for (const socket of [a, b, far]) socket.hearsNothing();
});

scenario('one may be in several rooms under several names', {}, async (s) => {
  const a = await (await typedTo(s)).join('Alice');
  await a.join('Al', { room: 'den' });
  assert.deepEqual(await s.http.ids(LOBBY), ['Alice']);
  assert.deepEqual(await s.http.ids('den'), ['Al']);
  await a.close();
});

scenario('naming the default room is like not naming it', {}, async (s) => {
  const a = await typedTo(s);
  a.say('presence.join', { user: 'Alice', room: LOBBY });
  await a.hears({ type: 'presence.online', payload: { user: 'Alice' } });
  assert.deepEqual(await a.list(), ['Alice']);
});

scenario('a publication is a message', {}, async (s) => {
  const a = await typedTo(s);
  for (const data of [{ n: 1 }, 'text', null, [1, 2]]) {
    await s.http.publish(LOBBY, data);
    assert.deepEqual(await a.hears({ type: 'message' }), { type: 'message', payload: data });
  }
  const text = '{ "n": 9007199254740993, "f": 1.0 }';
  await s.http.publishText(LOBBY, text);
  assert.equal((await a.hears({ type: 'message' })).raw, `{"type":"message","payload":${text}}`);
});

scenario('a whisper of another protocol is a whisper', {}, async (s) => {
  const [cable, identifier] = await s.subscriber(LOBBY);
  const a = await typedTo(s);
  cable.whisper(identifier, { typing: true });
  assert.deepEqual(await a.hears({ type: 'whisper' }), { type: 'whisper', payload: { typing: true } });
});

scenario('a user’s info is the name, for other protocols to see', {}, async (s) => {
  const [cable, identifier] = await s.subscriber(LOBBY);
  await (await typedTo(s)).join('Alice');
  const join = { type: 'join', id: 'Alice', info: { name: 'Alice' } };
  assert.deepEqual(await cable.hearsPresence(identifier, 'join'), join);
  await s.member(LOBBY, 'bob', 5);
  assert.deepEqual((await s.http.users(LOBBY)).records, [
    { id: 'Alice', info: { name: 'Alice' } },
    { id: 'bob', info: 5 },
  ]);
});

scenario('an update of another protocol is nothing that is shown here', {}, async (s) => {
  const a = await typedTo(s);
  const [cable, identifier] = await s.member(LOBBY, 'bob', { n: 1 });
  await a.hears({ type: 'presence.online', payload: { user: 'bob' } });
  cable.join(identifier, 'bob', { n: 2 });
  await cable.settle(identifier);
  await settle(s, LOBBY, a);
  a.hearsNothing();
});

scenario('keys that nobody knows are left alone', {}, async (s) => {
  const a = await typedTo(s);
  a.send({ id: 5, type: 'presence.join', payload: { colour: 'red', user: 'Alice' }, payloads: [] });
  await a.hears({ type: 'presence.online', payload: { user: 'Alice' } });
  a.send({ type: 'presence.list' });
  await a.hears({ type: 'presence.current', payload: { users: ['Alice'] } });
});

for (const [what, frame] of [
  ['no JSON', 'hello'],
  ['an unfinished object', '{"type":"presence.join","payload":'],
  ['a list', '[]'],
  ['a text', '"presence.list"'],
  ['no type', '{"payload":{"user":"Alice"}}'],
  ['a type that is no text', '{"type":5,"payload":{}}'],
  ['a type nobody knows', '{"type":"presence.fly","payload":{}}'],
  ['a type of the broker’s', '{"type":"presence.online","payload":{"user":"Alice"}}'],
  ['a payload that is none', '{"type":"presence.join","payload":"Alice"}'],
  ['no user', '{"type":"presence.join","payload":{}}'],
  ['an empty user', '{"type":"presence.join","payload":{"user":""}}'],
  ['a user that is no text', '{"type":"presence.join","payload":{"user":{"name":"Alice"}}}'],
  ['a user that is too long', JSON.stringify({ type: 'presence.join', payload: { user: 'x'.repeat(129) } })],
  ['a room that is no text', '{"type":"presence.list","payload":{"room":5}}'],
  ['an empty room', '{"type":"presence.list","payload":{"room":""}}'],
  ['a leave of nobody', '{"type":"presence.leave","payload":{"user":"Alice"}}'],
]) {
  scenario(`an error says what is wrong, to the one who did it: ${what}`, {}, async (s) => {
    const a = await typedTo(s);
    const b = await typedTo(s);
    await a.hears(OPENED);
    a.send(frame);
    assert.match(await a.refusal(), /\w+ \w+/, 'a sentence');
    await a.join('Ann');
    await b.hears({ type: 'presence.online', payload: { user: 'Ann' } });
    assert.deepEqual(await b.list(), ['Ann']);
    await settle(s, LOBBY, a, b);
    a.hearsNothing();
    b.hearsNothing();
  });
}

scenario('nobody leaves as somebody else, or becomes a second one', {}, async (s) => {
  const a = await (await typedTo(s)).join('Alice');
  await (await typedTo(s)).join('Bob');
  a.say('presence.leave', { user: 'Bob' });
  await a.refusal();
  a.say('presence.join', { user: 'Alison' });
  await a.refusal();
  assert.deepEqual(await a.list(), ['Alice', 'Bob']);
});

scenario('a leave without a name is one’s own', {}, async (s) => {
  const a = await (await typedTo(s)).join('Alice');
  a.say('presence.leave', {});
  await a.hears({ type: 'presence.offline', payload: { user: 'Alice' } });
});

scenario('what breaks the protocol ends its connection and no other', {}, async (s) => {
  const [a, b] = [await typedTo(s), await typedTo(s)];
  await a.hears(OPENED);
  a.ws.send(Buffer.from('{"type":"presence.list","payload":{}}'));
  assert.equal((await a.closing()).code, 1003);
  await settle(s, LOBBY, b);
});

scenario('pings of Action Cable are not for this protocol', { 'ping-interval': '100ms' }, async (s) => {
  const a = await typedTo(s);
  await pass(400);
  assert.equal(a.transcript.length, 1);
  assert.deepEqual(a.pings, []);
});

const SECURE = { secret: SECRET, 'presence-id-claim': 'sub' };
scenario('with a secret it takes a token and a signed name', SECURE, async (s) => {
  s.http = new Http(s.broker.origin, derive('api-cable'));
  const jid = token({ sub: 'ann' });
  const a = await s.open(`/?jid=${jid}`, { kind: TypedSocket, protocols: [] });
  a.say('presence.list');
  await a.refusal();
  a.say('presence.join', { user: 'ann', room: 'den', signed_stream_name: sign('other') });
  await a.refusal();
  const signed_stream_name = sign('den');
  a.say('presence.join', { user: 'bob', room: 'den', signed_stream_name });
  await a.refusal();
  assert.equal((await s.http.users('den')).total, 0);
  a.say('presence.join', { user: 'ann', room: 'den', signed_stream_name });
  await a.hears({ type: 'presence.online', payload: { user: 'ann', room: 'den' } });
  a.say('presence.join', { user: 'ann', signed_stream_name: sign(LOBBY) });
  await a.hears({ type: 'presence.online', payload: { user: 'ann' } });
  assert.deepEqual(await s.http.ids('den'), ['ann']);
  assert.deepEqual(await s.http.ids(LOBBY), ['ann']);
});
