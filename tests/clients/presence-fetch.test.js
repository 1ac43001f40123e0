// Lists and events are extended by what the application says of those who join.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cableTo, follow, recordPresence } from './support/anycable.js';
import { Application, byName } from './support/application.js';
import { freePort } from './support/broker.js';
import { certificate } from './support/certificate.js';
import { Http } from './support/http.js';
import { LATE, until } from './support/patience.js';
import { phoenixIn } from './support/phoenix.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, identifySigned, token } from './support/sign.js';
import { identify } from './support/socket.js';

const ROOM = identify('room');

/** The flags of a broker that asks `s.application`, which answers as `answer` says. */
async function toAsk(s, answer, certificate) {
  s.application = await new Application(answer, certificate).open(await freePort()); // one it can come back to
  s.cleanup(() => s.application.close());
  // the application is in this process, which may be busy for longer than the second of the default
  return { 'presence-fetch-url': s.application.url, 'presence-fetch-timeout': '10s' };
}

/** A scenario whose broker asks an application. */
function asking(name, answer, run, more = {}) {
  scenario(name, async (s) => ({ ...(await toAsk(s, answer)), ...more }), run);
}

/** What an application answers that takes some milliseconds. */
const byNameAfter = (milliseconds) => async (asked) => {
  await sleep(milliseconds);
  return byName(asked);
};

/** Two subscribers of the room. */
const pair = async (s) => [(await s.subscriber('room'))[0], (await s.subscriber('room'))[0]];

/** A socket whose token says this of its client. */
const socketOf = (s, said) => s.socket(`/cable?jid=${token({ ext: JSON.stringify(said) })}`);

const known = (id) => ({ user: { name: id.toUpperCase() } });

/** How joins went, by outcome. */
const outcomes = (s, outcome, count) =>
  s.counts({ [`broker_presence_fetches_total{outcome="${outcome}"}`]: count });

asking('what the application says is in lists and events', byName, async (s) => {
  const [watcher, ann] = await pair(s);
  ann.join(ROOM, 'ann', { n: 1 });
  const join = { type: 'join', id: 'ann', info: { n: 1 }, data: known('ann') };
  assert.deepEqual(await watcher.hearsPresence(ROOM, 'join'), join);
  ann.join(ROOM, 'ann', { n: 2 });
  const update = { type: 'update', id: 'ann', info: { n: 2 }, data: known('ann') };
  assert.deepEqual(await watcher.hearsPresence(ROOM, 'update'), update);
  const record = { id: 'ann', info: { n: 2 }, data: known('ann') };
  assert.deepEqual(await watcher.list(ROOM), [record]);
  assert.deepEqual((await s.http.users('room')).records, [record]);
  const { json } = await s.http.request('/api/presence/room/ann');
  const [{ phx_ref }] = json.metas;
  assert.deepEqual(json, { ...record, metas: [{ n: 2, phx_ref }] });
  ann.leave(ROOM);
  assert.deepEqual(await watcher.hearsPresence(ROOM, 'leave'), { type: 'leave', id: 'ann' });
  const [{ method, url, headers, stream, ids }, ...more] = s.application.requests;
  assert.deepEqual([method, url, stream, ids], ['POST', '/presence?v=1', 'room', ['ann']]);
  assert.deepEqual(more, [], 'it was asked once');
  assert.equal(headers['content-type'], 'application/json');
  assert.equal(headers.host, `127.0.0.1:${s.application.port}`);
  assert.equal(headers.authorization, undefined, 'without a secret there is no key');
  await outcomes(s, 'fetched', 1);
  await outcomes(s, 'cached', 1);
});

asking('the stock client of Phoenix sees it beside the metas', (asked) => {
  const said = byName(asked);
  return Object.fromEntries(Object.entries(said).map(([id, more]) => [id, { metas: 'no', role: 1, ...more }]));
}, async (s) => {
  const ann = await phoenixIn(s, 'room', 'ann');
  await ann.sees({ ann: 1 });
  const bob = await phoenixIn(s, 'room', 'bob');
  for (const topic of [ann, bob]) {
    await topic.sees({ ann: 1, bob: 1 });
    const seen = topic.presence.list((id, { metas, ...more }) => [id, more, Array.isArray(metas)]);
    const expected = ['ann', 'bob'].map((id) => [id, { role: 1, ...known(id) }, true]);
    assert.deepEqual(seen.sort(), expected);
  }
  const second = await phoenixIn(s, 'room', 'bob');
  await ann.sees({ ann: 1, bob: 2 });
  await second.leave();
  await ann.sees({ ann: 1, bob: 1 });
  assert.deepEqual(ann.presence.state.bob.user, { name: 'BOB' });
});

asking('the stock client of AnyCable gets it with its events', byName, async (s) => {
  const watcher = await follow(cableTo(s), 'room');
  const events = recordPresence(watcher);
  const ann = await follow(cableTo(s), 'room');
  ann.presence.join('ann', { n: 1 });
  await until(() => events.length > 0, 'the join has come');
  assert.deepEqual(events, [{ type: 'join', id: 'ann', info: { n: 1 }, data: known('ann') }]);
  assert.deepEqual(await watcher.presence.info(), { ann: { n: 1 } }, 'its list is as ever');
});

asking('joining as part of subscribing and being put are asked about, too', byName, async (s) => {
  const [watcher] = await s.subscriber('room');
  const ann = await s.socket();
  await ann.subscribe('room', {}, { presence: { id: 'ann', info: 1 } });
  assert.deepEqual((await watcher.hearsPresence(ROOM, 'join')).data, known('ann'));
  const { json } = await s.http.request('/api/presence/room/bot', { method: 'PUT' });
  assert.deepEqual(json.data, known('bot'));
  assert.deepEqual((await watcher.hearsPresence(ROOM, 'join')).data, known('bot'));
});

asking('numbers pass as they are', () => ({ text: '{"ann": {"n":9007199254740993, "f":1.0}}' }), async (s) => {
  const [watcher] = await s.subscriber('room');
  await s.member('room', 'ann');
  const { raw } = await watcher.hears({ type: 'presence' });
  assert.ok(raw.includes('"data":{"n":9007199254740993, "f":1.0}'), raw);
});

asking('commands of one connection keep their order', byNameAfter(300), async (s) => {
  const [watcher, ann] = await pair(s);
  ann.join(ROOM, 'ann', 1);
  ann.whisper(ROOM, 'behind');
  ann.leave(ROOM);
  const order = [await watcher.hears({ identifier: ROOM }), await watcher.hears({ identifier: ROOM }), await watcher.hears({ identifier: ROOM })];
  assert.deepEqual(order.map(({ message }) => message.type ?? message), ['join', 'behind', 'leave']);
  assert.deepEqual(order[0].message.data, known('ann'));
  await ann.settle(ROOM);
  assert.equal(ann.unheard.filter(({ message }) => message?.type === 'error').length, 0);
});

let sayNow;
const saying = new Promise((resolve) => (sayNow = resolve));
asking('while one waits, others do not', async (asked) => {
  if (asked.ids.includes('slow')) await saying;
  return byName(asked);
}, async (s) => {
  const [slow] = await s.subscriber('room');
  const [watcher] = await s.subscriber('room');
  slow.join(ROOM, 'slow', 1);
  await s.application.asked(1);
  await s.http.publish('room', 'meanwhile');
  await watcher.hears({ message: 'meanwhile' });
  const [ann] = await s.subscriber('room');
  ann.join(ROOM, 'ann', 1);
  assert.equal((await watcher.hearsPresence(ROOM, 'join')).id, 'ann');
  sayNow();
  assert.deepEqual((await watcher.hearsPresence(ROOM, 'join')).data, known('slow'));
});

const ROOMS = Array.from({ length: 20 }, (_, number) => `room-${number}`);

asking('joins of a connection are asked about together', byNameAfter(300), async (s) => {
  const ann = await s.socket();
  const since = performance.now();
  for (const room of ROOMS) ann.send({ command: 'subscribe', identifier: identify(room), presence: { id: 'ann' } });
  for (const room of ROOMS) {
    assert.deepEqual((await ann.hearsPresence(identify(room), 'join')).data, known('ann'));
  }
  const took = performance.now() - since;
  assert.ok(took < 2000 + LATE, `${took} ms`);
  await outcomes(s, 'fetched', ROOMS.length);
});

asking('a join that waits holds up no other subscription of its connection', async (asked) => {
  if (asked.ids.includes('slow')) await new Promise(() => {});
  return byName(asked);
}, async (s) => {
  const [watcher, other] = await s.subscriber('other');
  const ann = await s.socket();
  await ann.subscribe('other');
  const room = await ann.subscribe('room');
  ann.join(room, 'slow', 1);
  ann.whisper(room, 'behind');
  ann.join(other, 'ann', 1);
  ann.whisper(other, 'not behind');
  assert.equal((await watcher.hearsPresence(other, 'join')).id, 'ann');
  await watcher.hears({ identifier: other, message: 'not behind' });
  await ann.hearsPresence(other, 'join');
  assert.deepEqual((await ann.list(other)).map(({ id }) => id), ['ann']);
  await ann.settle();
  ann.unsubscribe(other);
  assert.equal((await watcher.hearsPresence(other, 'leave')).id, 'ann');
  assert.deepEqual(await s.http.users('room').then(({ total }) => total), 0);
  ann.hearsNothing('the other one waits');
});

asking('not even a join that may be one too many holds up other subscriptions', async (asked) => {
  if (asked.ids.includes('slow')) await new Promise(() => {});
  return byName(asked);
}, async (s) => {
  const [watcher, other] = await s.subscriber('other');
  const ann = await s.socket();
  for (const room of ['other', 'third']) await ann.subscribe(room);
  ann.join(await ann.subscribe('room'), 'slow', 1);
  await s.application.asked(1);
  ann.whisper(other, 'not behind');
  await watcher.hears({ identifier: other, message: 'not behind' });
  assert.deepEqual(await ann.list(other), []);
  await ann.subscribe('fourth');
  await s.http.publish('other', 'meanwhile');
  await ann.hears({ message: 'meanwhile' });
  await ann.settle();
}, { 'max-records': 1 });

asking('what comes behind a join that waits keeps its order', byNameAfter(300), async (s) => {
  const [watcher] = await s.subscriber('room');
  const ann = await s.socket();
  const subscribe = (id) => ann.send({ command: 'subscribe', identifier: ROOM, presence: { id, info: 1 } });
  subscribe('ann');
  ann.whisper(ROOM, 'first');
  ann.unsubscribe(ROOM);
  subscribe('bob');
  ann.leave(ROOM);
  ann.join(ROOM, 'cid', 1);
  ann.whisper(ROOM, 'last');
  const said = [];
  while (said.at(-1) !== 'last') {
    const { message } = await watcher.hears({ identifier: ROOM });
    said.push(message.id ? `${message.type} ${message.id}` : message);
  }
  assert.deepEqual(said, ['join ann', 'first', 'leave ann', 'join bob', 'leave bob', 'join cid', 'last']);
  await ann.settle(ROOM);
  const told = ann.unheard.map(({ type, message }) => (message ? `${message.type} ${message.id ?? message.reason}` : type));
  const confirmed = 'confirm_subscription';
  assert.deepEqual(told, [confirmed, 'join ann', confirmed, 'join bob', 'leave bob', 'join cid']);
});

asking('what waits is bounded, and comes when there is room', byNameAfter(500), async (s) => {
  const [watcher, ann] = await pair(s);
  ann.join(ROOM, 'ann', 1);
  const texts = Array.from({ length: 500 }, (_, number) => `${number}`.padEnd(1000));
  for (const text of texts) ann.whisper(ROOM, text);
  assert.equal((await watcher.hearsPresence(ROOM, 'join')).id, 'ann');
  for (const text of texts) assert.equal((await watcher.hears({ identifier: ROOM })).message, text);
});

asking('a session that is resumed while the application is asked has joined', byNameAfter(500), async (s) => {
  const [watcher, ann] = await pair(s);
  ann.join(ROOM, 'ann', 1);
  ann.whisper(ROOM, 'behind');
  await s.application.asked(1);
  const back = await s.open(`/cable?sid=${ann.sid}`); // the broker thinks that the first one is there still
  const { restored_ids } = await back.hears({ type: 'welcome' });
  assert.deepEqual(restored_ids, [ROOM]);
  assert.deepEqual((await watcher.hearsPresence(ROOM, 'join')).data, known('ann'));
  await watcher.hears({ message: 'behind' });
  assert.deepEqual((await back.list(ROOM)).map(({ data }) => data), [known('ann')]);
  await watcher.settle(ROOM);
  watcher.hearsNothing('it never left');
});

asking('of a client that the application ends nothing more is followed', byNameAfter(500), async (s) => {
  const watcher = await socketOf(s, { user: 2 });
  const identifier = await watcher.subscribe('room');
  const ann = await socketOf(s, { user: 1 });
  await ann.subscribe('room');
  ann.join(identifier, 'ann', 1);
  ann.whisper(identifier, 'behind');
  await s.application.asked(1);
  const command = { command: 'disconnect', payload: { identifier: JSON.stringify({ user: 1 }) } };
  const http = new Http(s.broker.origin, derive('broadcast-cable'));
  assert.equal((await http.post('/_broadcast', command)).json.disconnected, 1);
  await ann.hears({ type: 'disconnect' });
  await sleep(600);
  await watcher.settle(identifier);
  watcher.hearsNothing('neither the join nor what came behind it');
}, { secret: SECRET, 'public-streams': true });

asking('an application that takes too long is not waited for', () => undefined, async (s) => {
  const [watcher] = await s.subscriber('room');
  const since = performance.now();
  const [ann] = await s.subscriber('room');
  ann.join(ROOM, 'ann', 1);
  assert.deepEqual(await watcher.hearsPresence(ROOM, 'join'), { type: 'join', id: 'ann', info: 1 });
  const waited = performance.now() - since;
  assert.ok(waited > 195 && waited < 200 + LATE, `${waited} ms`);
  await outcomes(s, 'timeout', 1);
  await s.broker.logs("it doesn't answer within 200ms");
}, { 'presence-fetch-timeout': '200ms' });

asking('a connection that ends while the application is asked joins and leaves', byNameAfter(400), async (s) => {
  const [watcher, ann] = await pair(s);
  ann.join(ROOM, 'ann', 1);
  await s.application.asked(1);
  ann.terminate();
  assert.equal((await watcher.hearsPresence(ROOM, 'join')).id, 'ann');
  assert.equal((await watcher.hearsPresence(ROOM, 'leave')).id, 'ann');
  assert.equal((await s.http.users('room')).total, 0);
}, { 'presence-ttl': '100ms' });

for (const [what, answer, outcome, says] of [
  ['an error', () => ({ status: 500, text: '{"ann":{"a":1}}' }), 'failed', 'it answers with status 500'],
  ['a redirection', () => ({ status: 302, headers: { location: '/' }, text: '' }), 'failed', 'it answers with status 302'],
  ['a page', () => ({ text: '<html></html>' }), 'invalid', 'is not a JSON object'],
  ['a list', () => ({ text: '[{"id":"ann"}]' }), 'invalid', 'is not a JSON object'],
  ['half an object', () => ({ text: '{"ann":{"a":' }), 'invalid', 'is not a JSON object'],
  ['a megabyte', () => ({ text: `{"ann":{"a":"${'x'.repeat(1 << 20)}"}}` }), 'invalid', 'is larger than'],
  ['nothing, and hangs up', (asked, response) => void response.destroy(), 'failed', 'the request failed'],
]) {
  asking(`when the application answers with ${what}, joins go on without`, answer, async (s) => {
    const [watcher] = await s.subscriber('room');
    for (const id of ['ann', 'bob']) {
      await s.member('room', id, 1);
      assert.deepEqual(await watcher.hearsPresence(ROOM, 'join'), { type: 'join', id, info: 1 });
    }
    await outcomes(s, outcome, 2);
    await s.broker.logs(says);
    assert.equal(s.broker.log.match(/failed to ask the application/g).length, 1, 'once in a while');
    s.application.answer = byName;
    await s.member('room', 'cid', 1);
    assert.deepEqual((await watcher.hearsPresence(ROOM, 'join')).data, known('cid'), 'it is well again');
  });
}

asking('what is no object, too large or unreadable is left out', ({ ids: [id] }) => ({
  text: `{"none":null,"text":"x","list":[],"large":{"x":"${'x'.repeat(4096)}"},"half":{"x":"\\ud800"},
    "deep":{"x":${'['.repeat(70)}${']'.repeat(70)}},"good":{"x":"${'x'.repeat(4000)}"}}`,
}), async (s) => {
  for (const id of ['none', 'text', 'list', 'large', 'half', 'deep', 'nobody', 'good']) await s.member('room', id);
  const { records } = await s.http.users('room');
  assert.deepEqual(records.filter(({ data }) => data).map(({ id }) => id), ['good']);
  await outcomes(s, 'fetched', 8);
});

asking('an application that is away is asked again when it is back', byName, async (s) => {
  const [watcher] = await s.subscriber('room');
  const { port } = s.application;
  s.application.close();
  await s.member('room', 'ann', 1);
  assert.deepEqual(await watcher.hearsPresence(ROOM, 'join'), { type: 'join', id: 'ann', info: 1 });
  await s.broker.logs("it can't be reached");
  const back = await new Application(byName).open(port);
  s.cleanup(() => back.close());
  await s.member('room', 'bob', 1);
  assert.deepEqual((await watcher.hearsPresence(ROOM, 'join')).data, known('bob'));
  const [ann] = await s.subscriber('room');
  ann.join(ROOM, 'ann', 1);
  const update = { type: 'update', id: 'ann', info: 1, data: known('ann') };
  assert.deepEqual(await watcher.hearsPresence(ROOM, 'update'), update, 'as it is known now');
});

asking('answers are kept for ten seconds, also that there is nothing to say', ({ ids }) => byName({ ids: ids.filter((id) => id !== 'cid') }), async (s) => {
  await s.member('room', 'dan');
  for (const id of ['ann', 'cid', 'ann', 'cid']) {
    await s.member('room', id);
    await s.http.request(`/api/presence/room/${id}`, { method: 'DELETE' });
  }
  assert.deepEqual(s.application.ids, ['dan', 'ann', 'cid']);
  await s.http.request('/api/presence/other/ann', { method: 'PUT' });
  assert.equal(s.application.requests.length, 4, 'another stream is another matter');
  await sleep(10_100);
  await s.member('room', 'ann');
  assert.deepEqual(s.application.ids, ['dan', 'ann', 'cid', 'ann', 'ann']);
  s.application.answer = () => ({ status: 503, text: '' });
  const [watcher] = await s.subscriber('room');
  await s.member('room', 'dan');
  assert.equal(s.application.ids.at(-1), 'dan', 'it was asked, and does not answer');
  assert.deepEqual((await watcher.list(ROOM))[0].data, known('dan'), 'what was known stays');
  watcher.hearsNothing('and nothing is different');
});

asking('a crowd is asked about in few requests, and each once', byNameAfter(50), async (s) => {
  const [watcher] = await s.subscriber('room');
  const crowd = await Promise.all(Array.from({ length: 250 }, () => s.subscriber('room')));
  crowd.forEach(([socket], number) => socket.join(ROOM, `id-${number % 125}`, 1));
  await until(async () => (await watcher.count(ROOM)) === 125, 'all are there');
  const records = await watcher.list(ROOM);
  assert.ok(records.every(({ id, data }) => data.user.name === id.toUpperCase()), 'all are known');
  const { requests, ids, connections } = s.application;
  assert.equal(new Set(ids).size, 125);
  assert.equal(ids.length, 125, 'nobody is asked about twice');
  assert.ok(requests.length < 40, `${requests.length} requests`);
  assert.ok(requests.every((request) => request.ids.length <= 100));
  assert.ok(connections <= 4, `${connections} connections`);
});

asking('so many that one request does not hold them', byNameAfter(100), async (s) => {
  const one = await s.socket();
  const names = Array.from({ length: 5 }, (_, number) => `room-${number}`);
  const first = await s.subscriber('first');
  first[0].join(first[1], 'first', 1);
  await s.application.asked(1); // under way, so the others gather
  const crowd = await Promise.all(Array.from({ length: 230 }, () => s.subscriber('room')));
  crowd.forEach(([socket], number) => socket.join(ROOM, `id-${number}`, 1));
  await until(async () => (await s.http.users('room')).total === 230, 'all are there');
  const sizes = s.application.requests.filter(({ stream }) => stream === 'room').map(({ ids }) => ids.length);
  assert.equal(sizes.reduce((sum, size) => sum + size), 230);
  assert.ok(Math.max(...sizes) <= 100 && sizes.length >= 3, `${sizes}`);
  for (const name of names) {
    const identifier = await one.subscribe(name);
    one.join(identifier, 'ann', 1);
    await one.hearsPresence(identifier, 'join');
  }
  const streams = s.application.requests.slice(-names.length).map(({ stream }) => stream);
  assert.deepEqual(streams, names, 'each stream has a request of its own');
});

asking('an application that closes its connections is asked all the same', (asked) => ({
  text: JSON.stringify(byName(asked)),
  headers: { connection: 'close' },
}), async (s) => {
  for (const id of ['ann', 'bob', 'cid']) await s.member('room', id);
  const { records } = await s.http.users('room');
  assert.deepEqual(records.map(({ data }) => data), ['ann', 'bob', 'cid'].map(known));
  assert.equal(s.application.connections, 3);
  s.application.answer = byName;
  for (const id of ['dan', 'eve', 'fay']) {
    await s.member('room', id);
    s.application.server.closeIdleConnections();
  }
  assert.equal((await s.http.users('room')).records.filter(({ data }) => data).length, 6);
});

asking('the application knows the broker by a key', byName, async (s) => {
  const ann = await socketOf(s, { user: 1 });
  const identifier = identifySigned('room');
  ann.send({ command: 'subscribe', identifier, presence: { id: 'ann' } });
  assert.deepEqual((await ann.hearsPresence(identifier, 'join')).data, known('ann'));
  const [{ headers }] = s.application.requests;
  assert.equal(headers.authorization, `Bearer ${derive('presence-fetch')}`);
}, { secret: SECRET });

const dir = mkdtempSync(join(tmpdir(), 'broker-state-'));
asking('what the application said is there after a restart', byName, async (s) => {
  s.cleanup(() => rmSync(dir, { recursive: true, force: true }));
  await s.member('room', 'ann', 1);
  await s.http.request('/api/presence/room/bot', { method: 'PUT' });
  const before = await s.http.users('room');
  assert.deepEqual(before.records.map(({ data }) => data), ['ann', 'bot'].map(known));
  const { port } = s.broker;
  s.broker.kill('SIGKILL');
  await s.broker.exited();
  s.broker = await s.start({ 'state-dir': dir, 'presence-fetch-url': s.application.url, port });
  assert.deepEqual(await s.http.users('room'), before);
}, { 'state-dir': dir });

const CERTIFICATE = certificate();
const AUTHORITY = mkdtempSync(join(tmpdir(), 'broker-authority-'));
process.once('exit', () => rmSync(AUTHORITY, { recursive: true, force: true }));
writeFileSync(join(AUTHORITY, 'cert.pem'), CERTIFICATE.cert);

const secure = (s) => toAsk(s, byName, CERTIFICATE);

scenario('over TLS', secure, async (s) => {
  const [watcher] = await s.subscriber('room');
  for (const id of ['ann', 'bob']) {
    await s.member('room', id, 1);
    const join = { type: 'join', id, info: 1, data: known(id) };
    assert.deepEqual(await watcher.hearsPresence(ROOM, 'join'), join);
  }
  assert.equal(s.application.connections, 1, 'the connection is used again');
  await outcomes(s, 'fetched', 2);
}, { env: { SSL_CERT_FILE: join(AUTHORITY, 'cert.pem') } });

scenario('a certificate that nobody vouches for is not trusted', secure, async (s) => {
  const [watcher] = await s.subscriber('room');
  await s.member('room', 'ann', 1);
  assert.deepEqual(await watcher.hearsPresence(ROOM, 'join'), { type: 'join', id: 'ann', info: 1 });
  await s.broker.logs("it can't be reached: invalid peer certificate");
  assert.deepEqual(s.application.requests, []);
});

scenario('without the setting nobody is asked', {}, async (s) => {
  const [watcher] = await s.subscriber('room');
  await s.member('room', 'ann', 1);
  assert.deepEqual(await watcher.hearsPresence(ROOM, 'join'), { type: 'join', id: 'ann', info: 1 });
  assert.equal((await s.http.metrics()).get('broker_presence_fetches_total'), 0);
});
