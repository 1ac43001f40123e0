// The application's own say in who is present: it reads, puts and deletes over HTTP.

import assert from 'node:assert/strict';
import { chatterIn } from './support/chat.js';
import { Http } from './support/http.js';
import { LATE, pass, until } from './support/patience.js';
import { phoenixIn, phoenixMember } from './support/phoenix.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive } from './support/sign.js';
import { typedTo } from './support/typed.js';

const ROOM = 'room';

/** A request about a stream's members, or one of them. */
function api(s, method, stream, id, body) {
  const path = `/api/presence/${encodeURIComponent(stream)}${id === undefined ? '' : `/${encodeURIComponent(id)}`}`;
  const headers = body === undefined ? {} : { 'content-type': 'application/json' };
  const text = typeof body === 'string' || body === undefined ? body : JSON.stringify(body);
  return s.http.request(path, { method, headers, body: text });
}

const get = (s, stream, id) => api(s, 'GET', stream, id);
const put = (s, id, body, stream = ROOM) => api(s, 'PUT', stream, id, body);
const remove = (s, id, stream = ROOM) => api(s, 'DELETE', stream, id);

scenario('the members are listed with each of their sessions', {}, async (s) => {
  assert.deepEqual((await get(s, ROOM)).json.total, 0);
  await s.member(ROOM, 'ann', { n: 1 });
  await s.member(ROOM, 'ann', { n: 2 });
  await s.member(ROOM, 'bob', 'text');
  const { status, json } = await get(s, ROOM);
  assert.equal(status, 200);
  assert.deepEqual(Object.keys(json).sort(), ['records', 'total', 'type']);
  assert.deepEqual([json.type, json.total], ['info', 2]);
  const [ann, bob] = json.records;
  assert.deepEqual([ann.id, ann.info, bob.id, bob.info], ['ann', { n: 2 }, 'bob', 'text']);
  assert.deepEqual(ann.metas.map(({ n }) => n), [1, 2]);
  assert.equal(new Set(ann.metas.map(({ phx_ref }) => phx_ref)).size, 2);
  assert.deepEqual(Object.keys(bob.metas[0]).sort(), ['info', 'phx_ref']);
  assert.deepEqual((await get(s, ROOM, 'ann')).json, ann);
  const missing = await get(s, ROOM, 'nobody');
  assert.equal(missing.status, 404);
  assert.match(missing.text, /\w+ \w+/, 'and says so');
  assert.equal((await get(s, 'elsewhere', 'ann')).status, 404);
});

scenario('metas are those that Phoenix clients know', {}, async (s) => {
  const ann = await phoenixIn(s, ROOM, 'ann', { join: { meta: { n: 1 } } });
  await ann.sees({ ann: 1 });
  const { json } = await get(s, ROOM, 'ann');
  assert.deepEqual(json.metas, ann.members.ann);
});

scenario('who is put is there for everyone', {}, async (s) => {
  const [watcher, identifier] = await s.subscriber(ROOM);
  const phoenix = await phoenixIn(s, ROOM, 'ann');
  await watcher.hearsPresence(identifier, 'join');
  const { status, json } = await put(s, 'lamp', { info: { on: true } });
  assert.equal(status, 201);
  assert.deepEqual([json.id, json.info], ['lamp', { on: true }]);
  const join = { type: 'join', id: 'lamp', info: { on: true } };
  assert.deepEqual(await watcher.hearsPresence(identifier, 'join'), join);
  await phoenix.sees({ ann: 1, lamp: 1 });
  assert.equal(phoenix.members.lamp[0].on, true);
  const again = await put(s, 'lamp', { info: { on: false } });
  assert.equal(again.status, 200);
  const update = { type: 'update', id: 'lamp', info: { on: false } };
  assert.deepEqual(await watcher.hearsPresence(identifier, 'update'), update);
  await until(() => phoenix.members.lamp[0].on === false, 'the update has come');
  assert.deepEqual(phoenix.devices, { ann: 1, lamp: 1 });
  assert.equal((await put(s, 'lamp', { info: { on: false } })).status, 200);
  await watcher.settle(identifier);
  watcher.hearsNothing('the same once more is no news');
});

scenario('who is deleted is gone for everyone', {}, async (s) => {
  const [watcher, identifier] = await s.subscriber(ROOM);
  const chat = await chatterIn(s, ROOM, 'bob');
  await put(s, 'lamp', {});
  await chat.hears({ type: 'user_joined', username: 'lamp' });
  const { status, json } = await remove(s, 'lamp');
  assert.equal(status, 200);
  assert.deepEqual(json, { removed: 1 });
  assert.deepEqual(await watcher.hearsPresence(identifier, 'leave'), { type: 'leave', id: 'lamp' });
  assert.deepEqual(await chat.hears({ type: 'user_left' }), { type: 'user_left', username: 'lamp', users: ['bob'] });
  assert.equal((await remove(s, 'lamp')).status, 404);
  assert.equal((await get(s, ROOM, 'lamp')).status, 404);
});

scenario('clients can be taken out, whatever they speak, and can come back', { 'presence-ttl': '300ms' }, async (s) => {
  const [watcher, identifier] = await s.subscriber(ROOM);
  const [cable] = await s.member(ROOM, 'ann', 1);
  const [phoenix, joinRef] = await phoenixMember(s, ROOM, 'ann');
  const { status, json } = await remove(s, 'ann');
  assert.equal(status, 200);
  assert.deepEqual(json, { removed: 2 });
  assert.equal((await watcher.hearsPresence(identifier, 'leave')).id, 'ann');
  assert.equal((await s.http.users(ROOM)).total, 0);
  await s.http.publish(ROOM, { n: 1 });
  await cable.hears({ message: { n: 1 } });
  await phoenix.hears({ event: 'message' });
  await phoenix.ask(ROOM, 'presence:track', { meta: { back: true } }, joinRef);
  cable.join(identifier, 'ann', { back: true });
  await cable.settle(identifier);
  assert.equal((await get(s, ROOM, 'ann')).json.metas.length, 2);
  cable.terminate();
  phoenix.terminate();
  await until(async () => (await s.http.users(ROOM)).total === 0, 'the TTL is over');
});

scenario('who is taken out is not put back by the end of its connection', { 'presence-ttl': '300ms' }, async (s) => {
  const [watcher, identifier] = await s.subscriber(ROOM);
  const typed = await typedTo(s);
  typed.say('presence.join', { user: 'ann', room: ROOM });
  await watcher.hearsPresence(identifier, 'join');
  await remove(s, 'ann');
  await watcher.hearsPresence(identifier, 'leave');
  await typed.close();
  await pass(700);
  await watcher.settle(identifier);
  watcher.hearsNothing();
  await s.counts({ broker_presence_records: 0, broker_presence_members: 0 });
});

scenario('who is put for a time is there for that time, unless put again', {}, async (s) => {
  const [watcher, identifier] = await s.subscriber(ROOM);
  await put(s, 'lamp', { ttl: '4s' });
  await pass(1500);
  const since = performance.now();
  await put(s, 'lamp', { ttl: '4s' });
  await watcher.hearsPresence(identifier, 'join');
  assert.equal((await watcher.hearsPresence(identifier, 'leave', 4000 + LATE)).id, 'lamp');
  const waited = performance.now() - since;
  assert.ok(waited >= 3940 && waited < 4000 + LATE, `gone after ${waited} ms`);
  assert.equal((await remove(s, 'lamp')).status, 404);
  watcher.hearsNothing();
});

scenario('who is put without a time stays', { 'presence-ttl': '100ms' }, async (s) => {
  await put(s, 'lamp', {});
  await put(s, 'door', undefined);
  await put(s, 'bell', { ttl: '200ms' });
  await put(s, 'bell', { info: 1 });
  await pass(1000);
  assert.deepEqual(await s.http.ids(ROOM), ['lamp', 'door', 'bell']);
  assert.deepEqual((await s.http.users(ROOM)).records[0], { id: 'lamp', info: null });
});

scenario('what is put is beside what a client holds', { 'presence-ttl': '100ms' }, async (s) => {
  const [ann, identifier] = await s.member(ROOM, 'ann', { by: 'client' });
  const { status, json } = await put(s, 'ann', { info: { by: 'application' } });
  assert.equal(status, 201, 'a record of its own');
  assert.equal(json.metas.length, 2);
  ann.leave(identifier);
  await ann.settle(identifier);
  assert.deepEqual((await s.http.users(ROOM)).records, [{ id: 'ann', info: { by: 'application' } }]);
});

scenario('names and ids are percent-decoded', {}, async (s) => {
  const names = ['room/1', 'é ü', 'a%2Fb', 'x?y#z', '😀'];
  for (const name of names) {
    assert.equal((await put(s, name, { info: name }, name)).status, 201);
    assert.equal((await get(s, name, name)).json.info, name);
    assert.deepEqual(await s.http.ids(name), [name]);
    assert.equal((await remove(s, name, name)).status, 200);
  }
});

scenario('the list of users is what it was', {}, async (s) => {
  await put(s, 'lamp', { info: 1 });
  const answer = await s.http.request(`/api/presence/${ROOM}/users`);
  assert.deepEqual(answer.json, { type: 'info', total: 1, records: [{ id: 'lamp', info: 1 }] });
});

for (const [what, id, body] of [
  ['no JSON', 'lamp', 'hello'],
  ['a list', 'lamp', '[]'],
  ['a time that is none', 'lamp', { ttl: 'soon' }],
  ['a time below nothing', 'lamp', { ttl: -5 }],
  ['an info that is too large', 'lamp', { info: 'x'.repeat(5000) }],
  ['an id that is too long', 'x'.repeat(129), {}],
]) {
  scenario(`nobody is put with ${what}, and the reason is told`, {}, async (s) => {
    const { status, text } = await put(s, id, body);
    assert.ok(status === 400 || status === 422, `HTTP ${status}`);
    assert.match(text, /\w+ \w+/);
    assert.equal((await s.http.users(ROOM)).total, 0);
  });
}

scenario('infos pass through byte for byte', {}, async (s) => {
  const info = '{"n":9007199254740993,"f":1.0,"t":"\\u00e9"}';
  await put(s, 'lamp', `{"info":${info}}`);
  const { text } = await s.http.request(`/api/presence/${ROOM}/users`);
  assert.ok(text.includes(info), text);
  assert.ok((await get(s, ROOM, 'lamp')).text.includes(`"info":${info}`));
});

scenario('a stream is as full by this way as by any other', { 'max-members': 2 }, async (s) => {
  await put(s, 'a', {});
  await put(s, 'b', {});
  const { status, text } = await put(s, 'c', {});
  assert.ok(status >= 400 && status < 500, `HTTP ${status}`);
  assert.match(text, /full/);
  assert.deepEqual(await s.http.ids(ROOM), ['a', 'b']);
});

scenario('other methods are refused by name', {}, async (s) => {
  assert.equal((await api(s, 'POST', ROOM, 'lamp', {})).status, 405);
  assert.equal((await api(s, 'DELETE', ROOM)).status, 405);
});

scenario('with a secret it takes the key of the API', { secret: SECRET }, async (s) => {
  for (const key of [undefined, 'wrong', derive('broadcast-cable')]) {
    s.http = new Http(s.broker.origin, key);
    const answers = await Promise.all([get(s, ROOM), get(s, ROOM, 'a'), put(s, 'a', {}), remove(s, 'a')]);
    assert.deepEqual(answers.map(({ status }) => status), [401, 401, 401, 401]);
  }
  s.http = new Http(s.broker.origin, derive('api-cable'));
  assert.equal((await put(s, 'a', {})).status, 201);
  assert.equal((await get(s, ROOM)).json.total, 1);
  assert.equal((await remove(s, 'a')).status, 200);
});
