// Phoenix without WebSockets: the stock client over long polling, and the requests it makes.

import assert from 'node:assert/strict';
import { Agent, get } from 'node:http';
import { LongPoll } from 'phoenix';
import { eventsIn } from './support/events.js';
import { Http } from './support/http.js';
import { settle } from './support/mark.js';
import { pass, until, within } from './support/patience.js';
import { POLLING, Topic, answer, phoenixIn, phoenixTo } from './support/phoenix.js';
import { proxyTo } from './support/proxy.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, token } from './support/sign.js';

const LOBBY = 'room:lobby';

/** How long the broker waits for the next poll of a client, and what a busy machine takes on top. */
const PATIENCE_WITH_POLLS = 15_000 + 3000;

scenario('clients that poll and clients with a WebSocket are in one room', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann', POLLING);
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const cid = await phoenixIn(s, LOBBY, 'cid', POLLING);
  for (const topic of [ann, bob, cid]) await topic.sees({ ann: 1, bob: 1, cid: 1 });
  assert.equal((await ann.push('shout', { n: 1 })).status, 'ok');
  for (const topic of [bob, cid]) assert.deepEqual(await topic.hears('shout'), { n: 1 });
  await bob.push('shout', { n: 2 });
  for (const topic of [ann, cid]) assert.deepEqual(await topic.hears('shout'), { n: 2 });
  await cid.push('presence:update', { meta: { away: true } });
  for (const topic of [ann, bob]) await until(() => topic.members.cid[0].away, 'the update has come');
  await cid.leave();
  for (const topic of [ann, bob]) await topic.sees({ ann: 1, bob: 1 });
});

scenario('what is published while a client is between polls comes once and in order', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann', POLLING);
  for (let n = 0; n < 300; n += 1) await s.http.publish(LOBBY, { n }, { event: 'tick' });
  await settle(s, LOBBY, ann);
  const ticks = ann.story.filter(({ event }) => event === 'tick').map(({ payload }) => payload.n);
  assert.deepEqual(ticks, Array.from({ length: 300 }, (_, n) => n));
});

scenario('many pushes in one go are followed in order', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann', POLLING);
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const pushes = Array.from({ length: 250 }, (_, n) => answer(ann.channel.push('tick', { n })));
  assert.ok((await Promise.all(pushes)).every(({ status }) => status === 'ok'));
  await settle(s, LOBBY, bob);
  const ticks = bob.story.filter(({ event }) => event === 'tick').map(({ payload }) => payload.n);
  assert.deepEqual(ticks, Array.from({ length: 250 }, (_, n) => n));
});

scenario('a client that has nothing to say stays longer than a poll', { 'presence-ttl': '100ms' }, async (s) => {
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const ann = await phoenixIn(s, LOBBY, 'ann', POLLING);
  await bob.sees({ bob: 1, ann: 1 });
  let errors = 0;
  ann.client.onError(() => (errors += 1));
  const before = bob.story.length;
  await pass(13_000);
  await settle(s, LOBBY, bob, ann);
  assert.equal(bob.story.length, before + 1, 'nobody came or went');
  assert.equal(errors, 0);
});

scenario('a client that polls no more is gone', { 'presence-ttl': '100ms' }, async (s) => {
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const ann = await phoenixIn(s, LOBBY, 'ann', POLLING);
  await bob.sees({ bob: 1, ann: 1 });
  ann.client.disconnect();
  await bob.sees({ bob: 1 }, PATIENCE_WITH_POLLS);
  await s.connections(1);
});

scenario('clients that poll find their way back after a restart', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann', POLLING);
  const bob = await phoenixIn(s, LOBBY, 'bob', POLLING);
  await ann.sees({ ann: 1, bob: 1 });
  const { port } = s.broker;
  const since = performance.now();
  assert.deepEqual(await s.broker.stop(), { code: 0, signal: null });
  assert.ok(performance.now() - since < 4000, 'polls that wait hold no stop up');
  const rejoining = [ann, bob].map((topic) => topic.rejoins());
  s.broker = await s.start({ port });
  await Promise.all(rejoining);
  for (const topic of [ann, bob]) await topic.sees({ ann: 1, bob: 1 }, 10_000);
  assert.equal(ann.channel.state, 'joined');
});

for (const [what, upgrade] of [
  ['refuses', (socket) => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n')],
  ['cuts', (socket) => socket.destroy()],
  ['swallows', () => {}],
]) {
  scenario(`where a proxy ${what} WebSockets the client polls`, {}, async (s) => {
    const proxy = await proxyTo(s, upgrade);
    const url = `${proxy}/socket`;
    const ann = await phoenixIn(s, LOBBY, 'ann', { url, longPollFallbackMs: 300 });
    const bob = await phoenixIn(s, LOBBY, 'bob', { longPollFallbackMs: 9000 });
    for (const topic of [ann, bob]) await topic.sees({ ann: 1, bob: 1 });
    assert.equal(ann.client.transport, LongPoll);
    assert.notEqual(bob.client.transport, LongPoll, 'where WebSockets work they are used');
    await s.http.publish(LOBBY, { n: 1 });
    for (const topic of [ann, bob]) assert.deepEqual(await topic.hears('message'), { n: 1 });
  });
}

/** Begins a session by hand; gives what polls it and what posts to it. */
async function begin(s, query = 'user_id=ann&vsn=2.0.0') {
  const path = `/socket/longpoll?${query}`;
  const opened = await s.http.request(`${path}&`);
  assert.equal(opened.status, 200);
  assert.equal(opened.json.status, 410, 'a session begins');
  const { token } = opened.json;
  assert.equal(typeof token, 'string');
  const url = `${path}&token=${encodeURIComponent(token)}`;
  return {
    token,
    url,
    async poll() {
      const { status, json } = await s.http.request(url);
      assert.equal(status, 200);
      return json;
    },
    async post(...frames) {
      const body = frames.map((frame) => (typeof frame === 'string' ? frame : JSON.stringify(frame)));
      const headers = { 'content-type': 'application/x-ndjson' };
      const answered = await s.http.request(url, { method: 'POST', headers, body: body.join('\n') });
      assert.equal(answered.status, 200);
      return answered.json;
    },
  };
}

/** The frames of an answer to a poll. */
const framesOf = ({ status, messages }) => {
  assert.equal(status, 200);
  return messages.map((message) => JSON.parse(message));
};

scenario('a session is begun, spoken to and asked', {}, async (s) => {
  const ann = await begin(s);
  const frames = [
    ['1', '1', LOBBY, 'phx_join', {}],
    [null, '2', 'phoenix', 'heartbeat', {}],
  ];
  assert.deepEqual(await ann.post(...frames), { status: 200 });
  const heard = [];
  await until(async () => {
    const polled = await ann.poll();
    assert.equal(polled.token, ann.token, 'every answer has the token');
    heard.push(...framesOf(polled));
    return heard.length >= 4;
  }, 'all has come');
  const events = heard.filter(([, , topic]) => topic === LOBBY).map(([, , , event]) => event);
  assert.deepEqual(events, ['phx_reply', 'presence_state', 'presence_diff']);
  assert.ok(heard.some(([, ref, topic]) => topic === 'phoenix' && ref === '2'));
  assert.deepEqual(await s.http.ids(LOBBY), ['ann']);
});

scenario('a poll waits until there is something, and is answered without it at last', {}, async (s) => {
  const ann = await begin(s);
  await ann.post(['1', '1', LOBBY, 'phx_join', {}]);
  for (let events = 0; events < 3; ) events += framesOf(await ann.poll()).length;
  const waiting = ann.poll();
  await pass(300);
  await s.http.publish(LOBBY, { n: 1 });
  const [[, , , event, payload]] = framesOf(await waiting);
  assert.deepEqual([event, payload], ['message', { n: 1 }]);
  const since = performance.now();
  const response = await within(fetch(s.http.base + ann.url), 'the poll to end', 15_000);
  const { status, token, messages } = await response.json();
  const waited = performance.now() - since;
  assert.deepEqual({ status, token, messages }, { status: 204, token: ann.token, messages: [] });
  assert.ok(waited > 5000 && waited < 15_000, `a poll of ${waited} ms`);
});

scenario('a second poll takes over from the first, and nothing is told twice or to nobody', {}, async (s) => {
  const ann = await begin(s);
  await ann.post(['1', '1', LOBBY, 'phx_join', {}]);
  for (let events = 0; events < 3; ) events += framesOf(await ann.poll()).length;
  // which of the two comes first is for the network to say
  const polls = [0, 1].map(async (at) => ({ at, polled: await ann.poll() }));
  const left = await within(Promise.race(polls), 'the first poll to be sent away');
  assert.equal(left.polled.status, 204);
  await s.http.publish(LOBBY, { n: 1 });
  const { polled } = await polls[1 - left.at];
  assert.equal(framesOf(polled).length, 1);
});

scenario('a session nobody knows is told from one that is there', {}, async (s) => {
  const { json } = await s.http.request('/socket/longpoll?user_id=ann&vsn=2.0.0&token=nonsense');
  assert.equal(json.status, 410);
  assert.equal(typeof json.token, 'string', 'a new one has begun');
  const posted = await s.http.request('/socket/longpoll?vsn=2.0.0&token=nonsense', {
    method: 'POST',
    body: '["1","1","room:lobby","phx_join",{}]',
  });
  assert.equal(posted.status, 200);
  assert.equal(posted.json.status, 410);
  assert.equal((await s.http.users(LOBBY)).total, 0);
});

scenario('a session’s token is a secret that can’t be guessed from another', {}, async (s) => {
  const tokens = [];
  for (let n = 0; n < 20; n += 1) tokens.push((await begin(s)).token);
  assert.equal(new Set(tokens).size, 20);
  for (const token of tokens) assert.ok(token.length >= 20, token);
});

scenario('what can’t be read is answered, and costs nobody else', {}, async (s) => {
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const ann = await begin(s);
  await ann.post('[nonsense', '["1"]', ['1', '1', LOBBY, 'phx_join', {}]);
  await bob.sees({ bob: 1, ann: 1 });
  await settle(s, LOBBY, bob);
});

scenario('a binary message ends its session, and costs nobody else', {}, async (s) => {
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const ann = await begin(s);
  await ann.post(['1', '1', LOBBY, 'phx_join', {}]);
  await bob.sees({ bob: 1, ann: 1 });
  await ann.post(btoa('\0\x01\x01\x01\x0112aebinary'));
  await until(async () => (await ann.poll()).status === 410, 'the session is over');
  await settle(s, LOBBY, bob);
});

scenario('text that is no UTF-8 ends its session, and costs nobody else', {}, async (s) => {
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const ann = await begin(s);
  await ann.post(['1', '1', LOBBY, 'phx_join', {}]);
  await bob.sees({ bob: 1, ann: 1 });
  const body = Buffer.from('["1","2","lobby","say",{"a":"\xff"}]', 'latin1');
  const { json } = await s.http.request(ann.url, { method: 'POST', body });
  assert.equal(json.status, 200);
  await until(async () => (await ann.poll()).status === 410, 'the session is over');
  await s.counts({ 'broker_connections_closed_total{reason="invalid_text"}': 1 });
  await settle(s, LOBBY, bob);
});

scenario('a client that speaks another version is refused in words it knows', {}, async (s) => {
  const { json } = await s.http.request('/socket/longpoll?user_id=ann&vsn=1.0.0');
  assert.equal(json.status, 403);
});

scenario('answers are for no cache, and for pages of other sites', {}, async (s) => {
  const origin = 'https://app.example.io';
  const polled = await s.http.request('/socket/longpoll?vsn=2.0.0', { headers: { origin } });
  assert.equal(polled.headers.get('cache-control'), 'no-store');
  assert.ok(['*', origin].includes(polled.headers.get('access-control-allow-origin')));
  const asked = await s.http.request('/socket/longpoll?vsn=2.0.0', {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'content-type,x-phoenix-authtoken',
    },
  });
  assert.ok(asked.status === 200 || asked.status === 204, `HTTP ${asked.status}`);
  assert.ok(['*', origin].includes(asked.headers.get('access-control-allow-origin')));
  assert.match(asked.headers.get('access-control-allow-headers'), /x-phoenix-authtoken/i);
  assert.match(asked.headers.get('access-control-allow-headers'), /content-type/i);
  assert.match(asked.headers.get('access-control-allow-methods'), /POST/i);
});

scenario('pages of other sites can be kept out', { 'allowed-origins': 'app.example.io' }, async (s) => {
  const path = '/socket/longpoll?vsn=2.0.0';
  const stranger = await s.http.request(path, { headers: { origin: 'https://evil.example' } });
  assert.equal(stranger.json?.token, undefined);
  const { json } = await s.http.request(path, { headers: { origin: 'https://app.example.io' } });
  assert.equal(json.status, 410);
  // a page of the broker's own origin says nothing when it reads
  const own = await s.http.request(path, { headers: { 'sec-fetch-site': 'same-origin' } });
  assert.equal(own.json.status, 410);
});

scenario('sessions that were begun and left are given back', { 'presence-ttl': '100ms' }, async (s) => {
  for (let n = 0; n < 50; n += 1) {
    const { post } = await begin(s, `user_id=user-${n}&vsn=2.0.0`);
    await post(['1', '1', LOBBY, 'phx_join', {}]);
  }
  await s.counts({ broker_presence_joins_total: 50 });
  const says = (m) => m.get('broker_presence_records') === 0 && m.get('broker_connections') === 0;
  await s.metrics(says, 'nothing is left', PATIENCE_WITH_POLLS + 3000);
});

scenario('a topic on a session that polls is left like any other', {}, async (s) => {
  const client = phoenixTo(s, { user: 'ann', ...POLLING });
  const [one, two] = [new Topic(client, 'room:1'), new Topic(client, 'room:2')];
  await Promise.all([one.join(), two.join()]);
  await two.sees({ ann: 1 });
  assert.equal((await one.leave()).status, 'ok'); // the client's own answer, before it has asked
  await until(async () => (await s.http.ids('room:1')).length === 0, 'the topic is left');
  assert.deepEqual(await s.http.ids('room:2'), ['ann']);
});

scenario('the application ends a user’s sessions that poll', { secret: SECRET }, async (s) => {
  s.http = new Http(s.broker.origin, derive('broadcast-cable'));
  const ext = JSON.stringify({ user: 'ann' });
  const ann = await begin(s, `vsn=2.0.0&jid=${token({ ext })}`);
  const bob = await begin(s, `vsn=2.0.0&jid=${token()}`);
  const waiting = ann.poll();
  await pass(200);
  const payload = { identifier: ext, reconnect: false };
  assert.equal((await s.http.post('/_broadcast', { command: 'disconnect', payload })).status, 201);
  assert.equal((await waiting).status, 410); // if it came late, it is offered another session
  assert.deepEqual(await ann.post([null, '1', 'phoenix', 'heartbeat', {}]), { status: 410 });
  assert.deepEqual(await bob.post([null, '1', 'phoenix', 'heartbeat', {}]), { status: 200 });
});

scenario('polls that wait and streams of events make no room for others', {}, async (s) => {
  const readers = await Promise.all(Array.from({ length: 5 }, () => eventsIn(s, LOBBY)));
  const ids = Array.from({ length: 10 }, (_, n) => `user-${n}`);
  const sessions = await Promise.all(ids.map((id) => begin(s, `user_id=${id}&vsn=2.0.0`)));
  for (const { post } of sessions) await post(['1', '1', LOBBY, 'phx_join', {}]);
  await until(async () => (await s.http.users(LOBBY)).total === 10, 'all have joined');
  await s.http.publish(LOBBY, 'all are in');
  for (const { poll } of sessions) {
    await until(async () => /all are in/.test((await poll()).messages), 'everything is heard');
  }
  const waiting = sessions.map(async ({ url }) => (await fetch(s.http.base + url)).json());
  await pass(1000);
  // all of these are in use, and more than there is room for
  const health = async (attempt = 1) => {
    const wire = await s.wire();
    wire.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
    // who is silent for too long, here for want of a processor, makes room and comes again
    return wire.answer(20_000).catch((error) => {
      if (attempt === 5) throw error;
      return health(attempt + 1);
    });
  };
  const crowd = Array.from({ length: 72 }, () => health());
  for (const answer of crowd) assert.equal((await answer).status, 200);
  const crowded = (m) => m.get('broker_handshake_failures_total', { reason: 'crowded' }) >= 10;
  await s.metrics(crowded, 'others have made room');
  await s.http.publish(LOBBY, { n: 1 });
  for (const poll of waiting) assert.equal((await poll).status, 200);
  for (const reader of readers) await reader.hears({ json: { n: 1 } });
}, { openFiles: 200 });

/** So many files leave places for so many connections. */
const FEW_FILES = { openFiles: 150 };
const CONNECTIONS = 150 - 32 - 64;

/** Begins as many sessions as there are places, and more, over one connection; gives their tokens. */
async function takeAllPlaces(s) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  s.cleanup(() => agent.destroy());
  const open = () => new Promise((resolve, reject) => {
    const options = { agent, host: '127.0.0.1', port: s.broker.port, path: '/socket/longpoll?vsn=2.0.0' };
    get(options, (answer) => resolve(answer.setEncoding('utf8').toArray())).once('error', reject);
  });
  const answers = await Promise.all(Array.from({ length: 2 * CONNECTIONS }, open));
  return answers.map((parts) => JSON.parse(parts.join('')).token);
}

scenario('sessions that nobody polls keep nobody out', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann', POLLING);
  const [bob, identifier] = await s.subscriber('room');
  const tokens = await takeAllPlaces(s);
  assert.ok(tokens.every((token) => typeof token === 'string'), 'nobody is refused');
  for (let n = 0; n < 10; n += 1) {
    const [newcomer] = await s.member('room', `user-${n}`);
    await bob.hearsPresence(identifier, 'join');
    newcomer.terminate();
  }
  const cid = await phoenixIn(s, LOBBY, 'cid', POLLING);
  for (const topic of [ann, cid]) await topic.sees({ ann: 1, cid: 1 });
  assert.ok((await s.http.metrics()).get('broker_connections') <= CONNECTIONS + 1);
  assert.equal(ann.channel.state, 'joined', 'who polls has stayed');
}, FEW_FILES);

scenario('sessions that were polled once make room a second later', {}, async (s) => {
  const tokens = (await takeAllPlaces(s)).slice(-CONNECTIONS);
  const polls = tokens.map(async (token) => {
    const wire = await s.wire();
    wire.write(`GET /socket/longpoll?vsn=2.0.0&token=${token} HTTP/1.1\r\nHost: x\r\n\r\n`);
    return wire;
  });
  const wires = await Promise.all(polls);
  await pass(300);
  for (const wire of wires) wire.destroy();
  await s.roomFor(() => s.socket());
}, FEW_FILES);

scenario('clients whose polls wait keep their places', { 'max-connections': 3 }, async (s) => {
  const sessions = await Promise.all(['ann', 'bob', 'cid'].map((id) => begin(s, `user_id=${id}&vsn=2.0.0`)));
  const polls = sessions.map(({ poll }) => poll());
  await s.connections(3);
  await pass(1500); // longer than a client between two polls is waited for
  for (let n = 0; n < 5; n += 1) {
    await assert.rejects(s.socket(), /HTTP 503/);
    assert.equal((await s.http.request('/socket/longpoll?vsn=2.0.0')).status, 503);
  }
  for (const { post } of sessions) await post(['1', '1', LOBBY, 'phx_join', {}]);
  for (const poll of polls) assert.equal((await poll).status, 200);
  await s.connections(3);
});
