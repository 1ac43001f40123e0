// The chat room: frames of its page, tabs, coming back, history, typing.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { runInNewContext } from 'node:vm';
import WebSocket from 'ws';
import { ChatSocket, chatTo, chatterIn } from './support/chat.js';
import { Http } from './support/http.js';
import { settle } from './support/mark.js';
import { pass, until } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, sign, token } from './support/sign.js';

const ROOM = 'general';
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

/** What the page is given by `/api/rooms/…/messages`. */
async function messagesOf(s, room) {
  const answer = await s.http.request(`/api/rooms/${encodeURIComponent(room)}/messages`);
  assert.equal(answer.status, 200, answer.text);
  assert.match(answer.headers.get('content-type'), /^application\/json/);
  return answer.json;
}

scenario('the frames of a conversation', { 'presence-ttl': '200ms' }, async (s) => {
  const ann = await chatTo(s);
  ann.send('{"type":"join","room":"general","username":"ann"}');
  await ann.hears({ type: 'user_joined' });
  assert.deepEqual(ann.transcript, [
    '{"type":"user_list","users":["ann"]}',
    '{"type":"user_joined","username":"ann","users":["ann"]}',
  ]);
  const bob = await chatTo(s);
  bob.send('{"type":"join","room":"general","username":"bob"}');
  for (const socket of [ann, bob]) {
    const { users } = await socket.hears({ type: 'user_joined', username: 'bob' });
    assert.deepEqual(users, ['ann', 'bob']);
  }
  assert.deepEqual(JSON.parse(bob.transcript[0]), { type: 'user_list', users: ['ann', 'bob'] });
  await ann.hears({ type: 'user_list' });
  ann.send('{"type":"message","room":"general","username":"ann","content":"hi"}');
  for (const socket of [ann, bob]) {
    const { data, ...frame } = await socket.hears({ type: 'message' });
    assert.deepEqual(frame, { type: 'message', room: ROOM });
    assert.deepEqual(Object.keys(data), ['username', 'content', 'timestamp']);
    assert.deepEqual([data.username, data.content], ['ann', 'hi']);
    assert.match(data.timestamp, RFC_3339);
    assert.ok(Math.abs(Date.parse(data.timestamp) - Date.now()) < 10_000, data.timestamp);
  }
  ann.send('{"type":"typing","room":"general","username":"ann"}');
  assert.deepEqual(await bob.hears({ type: 'typing' }), { type: 'typing', username: 'ann' });
  await bob.close();
  assert.deepEqual(await ann.hears({ type: 'user_left' }), { type: 'user_left', username: 'bob', users: ['ann'] });
  await settle(s, ROOM, ann);
  ann.hearsNothing('typing is for the others');
});

scenario('the client of the manual is one', {}, async (s) => {
  const manual = readFileSync(new URL('../../docs/CHAT.md', import.meta.url), 'utf8');
  const [, script] = manual.match(/```js\n([^]*?)```/);
  await s.http.publish(ROOM, 'before');
  const bob = await chatterIn(s, ROOM, 'bob');
  const lines = [];
  const sockets = [];
  const world = {
    WebSocket: class extends WebSocket {
      constructor(url) {
        super(url);
        sockets.push(this);
      }
    },
    console: { log: (line) => lines.push(line) },
    fetch,
    // what is said after a second is said when it has been let in
    setTimeout: async (say, ms) => {
      assert.equal(ms, 1000);
      await until(() => lines.includes('here: bob, ann'), 'the client is let in');
      say();
    },
  };
  runInNewContext(script.replaceAll('127.0.0.1:8080', s.broker.origin), world);
  assert.equal((await bob.hears({ type: 'message' })).data.content, 'hi');
  bob.say(ROOM, 'bob', 'hello');
  const shown = ['system: before', 'bob: hello'];
  await until(() => shown.every((line) => lines.includes(line)), 'the client to show what was said');
  assert.deepEqual(new Set(lines), new Set(['here: bob, ann', 'system: before', 'ann: hi', 'bob: hello']));
  for (const socket of sockets) socket.terminate();
});

scenario('who gives no name is a guest', {}, async (s) => {
  const one = await chatTo(s);
  assert.deepEqual(await one.enter(ROOM), ['Guest']);
  const two = await chatTo(s);
  assert.deepEqual(await two.enter(ROOM), ['Guest']);
  two.say(ROOM, undefined, 'hi');
  assert.equal((await one.hears({ type: 'message' })).data.username, 'Guest');
});

scenario('two tabs are one user', { 'presence-ttl': '200ms' }, async (s) => {
  const ann = await chatterIn(s, ROOM, 'ann');
  const tabs = [await chatterIn(s, ROOM, 'bob')];
  await ann.hears({ type: 'user_joined', username: 'bob' });
  const tab = await chatTo(s);
  assert.deepEqual(await tab.enter(ROOM, 'bob'), ['ann', 'bob']);
  tabs.push(tab);
  await settle(s, ROOM, ann, ...tabs);
  for (const socket of [ann, ...tabs]) socket.hearsNothing('nobody hears of the second tab');
  await tabs[0].close();
  await pass(500);
  await settle(s, ROOM, ann, tab);
  ann.hearsNothing('one tab is left');
  await tab.close();
  assert.deepEqual(await ann.hears({ type: 'user_left' }), { type: 'user_left', username: 'bob', users: ['ann'] });
});

const TTL = 4000;
scenario('a page that is loaded again was never away', { 'presence-ttl': `${TTL}ms` }, async (s) => {
  const ann = await chatterIn(s, ROOM, 'ann');
  for (let round = 0; round < 2; round += 1) {
    const bob = await chatTo(s);
    assert.deepEqual(await bob.enter(ROOM, 'bob'), ['ann', 'bob']);
    await pass(100);
    await bob.close();
    await pass(500);
  }
  const bob = await chatTo(s);
  assert.deepEqual(await bob.enter(ROOM, 'bob'), ['ann', 'bob']);
  await pass(TTL + 300);
  await settle(s, ROOM, ann);
  await ann.hears({ type: 'user_joined', username: 'bob' });
  ann.hearsNothing('bob came once');
});

scenario('the list with events is that behind what is told together', {}, async (s) => {
  const watcher = await chatterIn(s, ROOM, 'watcher');
  const [crowd] = await s.subscriber(ROOM);
  const identifiers = [];
  for (let n = 0; n < 30; n += 1) identifiers.push(await crowd.subscribe(ROOM, { n }));
  crowd.ws._socket.cork(); // so that all is in the broker's hands at the same time
  identifiers.forEach((identifier, n) => crowd.join(identifier, `user-${n}`, {}));
  for (const identifier of identifiers.slice(10, 20)) crowd.leave(identifier);
  crowd.ws._socket.uncork();
  await crowd.settle(identifiers[0]);
  await settle(s, ROOM, watcher);
  const told = watcher.unheard;
  assert.equal(told.length, 40);
  const present = ['watcher'];
  for (const [at, { type, username, users }] of told.entries()) {
    if (type === 'user_joined') present.push(username);
    else present.splice(present.indexOf(username), 1);
    const isLast = at + 1 === told.length || !isDeepStrictEqual(users, told[at + 1].users);
    if (isLast) assert.deepEqual(users, present, `${type} of ${username}`);
  }
});

scenario('rooms are apart, and one may be in several', {}, async (s) => {
  const ann = await chatterIn(s, ROOM, 'ann');
  assert.deepEqual(await ann.enter('other', 'annie'), ['annie']);
  await ann.hears({ type: 'user_joined', username: 'annie' });
  const bob = await chatterIn(s, 'other', 'bob');
  await ann.hears({ type: 'user_joined', username: 'bob' });
  bob.say('other', 'bob', 'hi');
  assert.equal((await ann.hears({ type: 'message' })).room, 'other');
  ann.say(ROOM, 'ann', 'anyone?');
  assert.equal((await ann.hears({ type: 'message' })).room, ROOM);
  await settle(s, 'other', bob);
  assert.deepEqual(bob.unheard.filter(({ room }) => room === ROOM), []);
});

scenario('messages are kept, typing isn’t', {}, async (s) => {
  assert.deepEqual(await messagesOf(s, ROOM), []);
  const ann = await chatterIn(s, ROOM, 'ann');
  const said = [];
  for (const content of ['one', 'two', '<b>three</b> "é" 😀\n']) {
    ann.typing(ROOM, 'ann');
    ann.say(ROOM, 'ann', content);
    said.push((await ann.hears({ type: 'message' })).data);
  }
  const messages = await messagesOf(s, ROOM);
  assert.deepEqual(messages, said, 'what was sent, oldest first');
  for (const message of messages) {
    assert.deepEqual(Object.keys(message), ['username', 'content', 'timestamp']);
  }
  assert.deepEqual(await messagesOf(s, 'room/with a slash?'), []);
  const deep = await chatterIn(s, 'room/with a slash?', 'ann');
  deep.say('room/with a slash?', 'ann', 'hi');
  await deep.hears({ type: 'message' });
  assert.equal((await messagesOf(s, 'room/with a slash?'))[0].content, 'hi');
});

scenario('a history of nothing but the newest', { 'history-limit': 3 }, async (s) => {
  const ann = await chatterIn(s, ROOM, 'ann');
  for (let n = 0; n < 5; n += 1) ann.say(ROOM, 'ann', String(n));
  for (let n = 0; n < 5; n += 1) await ann.hears({ type: 'message', room: ROOM });
  await settle(s, ROOM, ann);
  const contents = (await messagesOf(s, ROOM)).map(({ content }) => content);
  assert.equal(contents.length, 3);
  assert.deepEqual(contents.slice(0, 2), ['3', '4']);
});

scenario('what the application publishes is a message, live and later', {}, async (s) => {
  const ann = await chatterIn(s, ROOM, 'ann');
  const whole = { username: 'bob', content: 'hi', timestamp: '2020-01-01T00:00:00Z' };
  const cases = [
    [whole, 'bob', 'hi'],
    [{ username: 'bot', content: 'beep' }, 'bot', 'beep'],
    [{ content: 'maintenance at 5' }, 'system', 'maintenance at 5'],
    ['plain text', 'system', 'plain text'],
    [{ n: 1 }, 'system', '{"n":1}'],
    [[1, 2], 'system', '[1,2]'],
    [null, 'system', 'null'],
  ];
  const shown = [];
  for (const [data, username, content] of cases) {
    await s.http.publish(ROOM, data);
    const frame = await ann.hears({ type: 'message', room: ROOM });
    assert.deepEqual([frame.data.username, frame.data.content], [username, content]);
    assert.match(frame.data.timestamp, RFC_3339);
    shown.push(frame.data);
  }
  assert.equal(shown[0].timestamp, whole.timestamp, 'a message passes as it is');
  const now = Date.now();
  for (const { timestamp } of shown.slice(1)) assert.ok(Math.abs(Date.parse(timestamp) - now) < 10_000);
  assert.deepEqual(await messagesOf(s, ROOM), shown);
});

scenario('a whisper is shown if it is of typing', {}, async (s) => {
  const ann = await chatterIn(s, ROOM, 'ann');
  const bob = await chatterIn(s, ROOM, 'bob');
  const [cable, identifier] = await s.subscriber(ROOM);
  await ann.hears({ type: 'user_joined', username: 'bob' });
  cable.whisper(identifier, { typing: 'somebody' });
  await cable.settle(identifier);
  bob.typing(ROOM, 'bob');
  assert.deepEqual(await ann.hears({ type: 'typing' }), { type: 'typing', username: 'bob' });
  assert.deepEqual((await cable.hears({ identifier, message: { username: 'bob' } })).message, { username: 'bob' });
  await settle(s, ROOM, ann);
  ann.hearsNothing('what other protocols whisper means nothing here');
});

scenario('a user’s info is the name, and members of other protocols are users', {}, async (s) => {
  const [cable, identifier] = await s.member(ROOM, 'carl', { any: 'info' });
  const ann = await chatTo(s);
  assert.deepEqual(await ann.enter(ROOM, 'ann'), ['carl', 'ann']);
  const join = { type: 'join', id: 'ann', info: { name: 'ann' } };
  assert.deepEqual(await cable.hearsPresence(identifier, 'join'), join);
  await ann.hears({ type: 'user_joined', username: 'ann' });
  cable.join(identifier, 'carl', { another: 'info' });
  cable.leave(identifier);
  const left = { type: 'user_left', username: 'carl', users: ['ann'] };
  assert.deepEqual(await ann.hears({ type: 'user_left' }), left);
  ann.hearsNothing('an update is no news of users');
});

scenario('a name that is edited after entering is the name of what is said then', {}, async (s) => {
  const ann = await chatterIn(s, ROOM, 'ann');
  const bob = await chatterIn(s, ROOM, 'bob');
  bob.typing(ROOM, 'Robert');
  bob.say(ROOM, 'Robert', 'hi');
  assert.equal((await ann.hears({ type: 'typing' })).username, 'Robert');
  assert.equal((await ann.hears({ type: 'message' })).data.username, 'Robert');
  assert.deepEqual(await s.http.ids(ROOM), ['ann', 'bob'], 'who is there is who entered');
});

scenario('entering again as the same user gives the list again, and no second user', {}, async (s) => {
  const bob = await chatterIn(s, ROOM, 'bob');
  const ann = await chatterIn(s, ROOM, 'ann');
  await bob.hears({ type: 'user_joined', username: 'ann' });
  assert.deepEqual(await ann.enter(ROOM, 'ann'), ['bob', 'ann']);
  ann.say(ROOM, 'ann', 'once');
  for (const socket of [ann, bob]) await socket.hears({ type: 'message' });
  await settle(s, ROOM, ann, bob);
  for (const socket of [ann, bob]) socket.hearsNothing();
});

for (const [what, frame] of [
  ['no JSON', 'hello'],
  ['a list', '[]'],
  ['no type', '{"room":"general"}'],
  ['a type nobody knows', '{"type":"fly","room":"general"}'],
  ['a type of the broker’s', '{"type":"user_joined","room":"general","username":"bob","users":[]}'],
  ['a join without a room', '{"type":"join","username":"bob"}'],
  ['a room that is no text', '{"type":"join","room":{},"username":"bob"}'],
  ['an empty room', '{"type":"join","room":"","username":"bob"}'],
  ['an empty name', '{"type":"join","room":"general","username":""}'],
  ['a name that is no text', '{"type":"join","room":"general","username":5}'],
  ['a name that is too long', JSON.stringify({ type: 'join', room: ROOM, username: 'x'.repeat(129) })],
  ['a message without content', '{"type":"message","room":"general","username":"bob"}'],
  ['content that is no text', '{"type":"message","room":"general","username":"bob","content":{}}'],
  ['a message to a room not entered', '{"type":"message","room":"other","username":"bob","content":"hi"}'],
  ['typing in a room not entered', '{"type":"typing","room":"other","username":"bob"}'],
]) {
  scenario(`an error says what is wrong, to the one who did it: ${what}`, {}, async (s) => {
    const ann = await chatterIn(s, ROOM, 'ann');
    const other = await chatterIn(s, 'other', 'ann');
    const bob = await chatTo(s);
    if (what.includes('message') || what.includes('content')) await bob.enter(ROOM, 'bob');
    bob.send(frame);
    assert.match(await bob.refusal(), /\w+ \w+/, 'a sentence');
    assert.deepEqual(await messagesOf(s, ROOM), []);
    assert.deepEqual(await messagesOf(s, 'other'), []);
    await bob.enter(ROOM, 'bob');
    await ann.hears({ type: 'user_joined', username: 'bob' });
    await settle(s, ROOM, ann);
    await settle(s, 'other', other);
    ann.hearsNothing();
    other.hearsNothing();
  });
}

scenario('who has no name is a guest; an empty one is none', {}, async (s) => {
  const ann = await chatTo(s);
  for (const username of ['', '  ']) {
    ann.send({ type: 'join', room: ROOM, username });
    assert.match(await ann.refusal(), /empty/);
  }
  assert.deepEqual(await s.http.ids(ROOM), []);
  assert.deepEqual(await ann.enter(ROOM, null), ['Guest']);
});

scenario('what breaks the protocol ends its connection and no other', {}, async (s) => {
  const ann = await chatterIn(s, ROOM, 'ann');
  const bob = await chatterIn(s, ROOM, 'bob');
  ann.ws.send(Buffer.from([1, 2, 3]));
  assert.equal((await ann.closing()).code, 1003);
  await settle(s, ROOM, bob);
});

// to speak in a room is a right of its own
const SECURE = { secret: SECRET, 'presence-id-claim': 'sub', 'streams-whisper': true };
scenario('with a secret it takes a token and a signed name', SECURE, async (s) => {
  s.http = new Http(s.broker.origin, derive('api-cable'));
  const publisher = new Http(s.broker.origin, derive('broadcast-cable'));
  const signed_stream_name = sign(ROOM);
  const enter = async (sub) => {
    const socket = await s.open(`/chat?jid=${token({ sub })}`, { kind: ChatSocket, protocols: [] });
    socket.send({ type: 'join', room: ROOM, username: sub, signed_stream_name });
    await socket.hears({ type: 'user_list' });
    await socket.hears({ type: 'user_joined', username: sub });
    return socket;
  };
  const stranger = await s.open(`/chat?jid=${token({ sub: 'eve' })}`, { kind: ChatSocket, protocols: [] });
  for (const join of [
    {},
    { signed_stream_name: sign('other') },
    { signed_stream_name: sign(ROOM, 'other') },
    { signed_stream_name, username: 'ann' },
  ]) {
    stranger.send({ type: 'join', room: ROOM, username: 'eve', ...join });
    await stranger.refusal();
  }
  const ann = await enter('ann');
  const bob = await enter('bob');
  await ann.hears({ type: 'user_joined', username: 'bob' });
  stranger.send({ type: 'message', room: ROOM, username: 'ann', content: 'spoof' });
  await stranger.refusal();
  bob.say(ROOM, 'ann', 'spoof');
  await bob.refusal();
  bob.typing(ROOM, 'ann');
  await bob.refusal();
  bob.say(ROOM, 'bob', 'hi');
  assert.equal((await ann.hears({ type: 'message' })).data.content, 'hi');
  await publisher.publish(ROOM, 'from the application');
  await ann.hears({ type: 'message' });
  ann.hearsNothing('nothing came in another’s name');
  assert.deepEqual(await s.http.ids(ROOM), ['ann', 'bob']);
  const anonymous = new Http(s.broker.origin);
  assert.equal((await anonymous.request(`/api/rooms/${ROOM}/messages`)).status, 401);
  assert.equal((await messagesOf(s, ROOM)).length, 2);
});

scenario('a page reads what was said with what it connects with', SECURE, async (s) => {
  s.http = new Http(s.broker.origin);
  const path = `/api/rooms/${ROOM}/messages`;
  const read = async (query, headers) => (await s.http.request(`${path}?${query}`, { headers })).status;
  const jid = token({ sub: 'ann' });
  const signed = `signed_stream_name=${sign(ROOM)}`;
  assert.equal(await read(`jid=${jid}&${signed}`), 200);
  assert.equal(await read(signed, { 'x-jid': jid }), 200);
  assert.equal(await read('', { authorization: `Bearer ${derive('api-cable')}` }), 200);
  for (const [query, headers] of [
    [''],
    [signed],
    [`jid=${jid}`],
    [`jid=${token({ sub: 'ann' }, { secret: 'other' })}&${signed}`],
    [`jid=${jid}&signed_stream_name=${sign('other')}`],
    [`jid=${jid}&signed_stream_name=${sign(ROOM, 'other')}`],
    ['', { authorization: `Bearer ${derive('broadcast-cable')}` }],
  ]) {
    assert.equal(await read(query, headers), 401, query);
  }
  const refused = await s.http.request(path);
  assert.match(refused.json.error, /no token.*Bearer KEY/);
  assert.equal(refused.headers.get('www-authenticate'), 'Bearer');
});

scenario('the key of the API closes nothing that clients may follow', { 'api-key': 'k' }, async (s) => {
  s.http = new Http(s.broker.origin);
  assert.deepEqual(await messagesOf(s, ROOM), []);
});

scenario('pages of any origin may read where all may connect', {}, async (s) => {
  const path = `/api/rooms/${ROOM}/messages`;
  const { status, headers } = await s.http.request(path, { headers: { origin: 'http://a.example' } });
  assert.deepEqual([status, headers.get('access-control-allow-origin')], [200, '*']);
  const wanted = { origin: 'http://a.example', 'access-control-request-headers': 'authorization, x-jid' };
  const asked = await s.http.request(path, { method: 'OPTIONS', headers: wanted });
  assert.equal(asked.status, 204);
  assert.equal(asked.headers.get('access-control-allow-methods'), 'GET');
  assert.equal(asked.headers.get('access-control-allow-headers'), 'authorization, x-jid');
});

scenario('pages of allowed origins may read', { 'allowed-origins': 'a.example' }, async (s) => {
  const path = `/api/rooms/${ROOM}/messages`;
  for (const [origin, status, allowed] of [
    ['http://a.example', 200, 'http://a.example'],
    ['http://b.example', 403, null],
    [undefined, 200, null], // a page of the broker's own origin says nothing
  ]) {
    const answer = await s.http.request(path, { headers: origin ? { origin } : {} });
    const told = [answer.status, answer.headers.get('access-control-allow-origin')];
    assert.deepEqual(told, [status, allowed], origin);
    assert.equal(answer.headers.get('vary'), 'Origin');
  }
});

scenario('what was said is told where chat is spoken alone', { protocols: 'typed' }, async (s) => {
  const { status } = await s.http.request(`/api/rooms/${ROOM}/messages`);
  assert.equal(status, 404);
});

scenario('who leaves a room hears no more of it, and is gone at once', {}, async (s) => {
  const ann = await chatterIn(s, ROOM, 'ann');
  const bob = await chatterIn(s, ROOM, 'bob');
  bob.send({ type: 'leave', room: ROOM });
  const left = { type: 'user_left', username: 'bob', users: ['ann'] };
  assert.deepEqual(await ann.hears({ type: 'user_left' }), left);
  bob.say(ROOM, 'bob', 'still here?');
  assert.match(await bob.refusal(), /join/);
  ann.say(ROOM, 'ann', 'bye');
  await ann.hears({ type: 'message' });
  assert.deepEqual(await bob.enter(ROOM, 'rob'), ['ann', 'rob'], 'and may come back as somebody else');
  await bob.hears({ type: 'user_joined', username: 'rob' });
  bob.hearsNothing();
});

scenario('nobody is two users in one room', {}, async (s) => {
  const ann = await chatterIn(s, ROOM, 'ann');
  ann.send({ type: 'join', room: ROOM, username: 'bob' });
  assert.match(await ann.refusal(), /another/);
  assert.deepEqual(await s.http.ids(ROOM), ['ann']);
  ann.say(ROOM, undefined, 'me');
  assert.equal((await ann.hears({ type: 'message' })).data.username, 'ann', 'who one is without a name');
});

scenario('where clients may not speak, a chat is for reading', { 'streams-secret': SECRET }, async (s) => {
  const [ann, bob] = [await chatTo(s), await chatTo(s)];
  const signed_stream_name = sign(ROOM);
  await ann.enter(ROOM, 'ann', { signed_stream_name });
  assert.deepEqual(await bob.enter(ROOM, 'bob', { signed_stream_name }), ['ann', 'bob']);
  bob.say(ROOM, 'bob', 'hi');
  assert.match(await bob.refusal(), /may not/);
  bob.typing(ROOM, 'bob');
  assert.match(await bob.refusal(), /may not/);
  await s.http.publish(ROOM, { username: 'bot', content: 'news' });
  assert.equal((await ann.hears({ type: 'message' })).data.content, 'news');
  assert.ok(!ann.unheard.some(({ type }) => type === 'typing'));
});
