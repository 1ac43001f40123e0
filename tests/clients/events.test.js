// Server-sent events: what stands in the stream, coming back where one was, being present by it.

import assert from 'node:assert/strict';
import http from 'node:http';
import { EventStream, eventSourceTo, eventsIn, eventsUrl, openEvents } from './support/events.js';
import { Http } from './support/http.js';
import { settle } from './support/mark.js';
import { pass, until, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, fromNow, sign, token } from './support/sign.js';
import { identify } from './support/socket.js';
import { Tunnel } from './support/tunnel.js';

const ROOM = 'room';

/** The status that a request for a stream is refused with. */
async function refusal(s, query, headers) {
  try {
    await openEvents(s, query, headers);
  } catch (error) {
    return error.response?.statusCode ?? error;
  }
  throw new Error('it was let in');
}

/** Waits until so many subscriptions are there: that of a raw stream is confirmed to nobody. */
function follows(s, count) {
  return s.counts({ broker_subscriptions: count });
}

scenario('a stream begins with a welcome and a confirmation', { 'ping-interval': '0' }, async (s) => {
  const stream = await eventsIn(s, ROOM);
  assert.match(stream.headers['content-type'], /^text\/event-stream/);
  assert.match(stream.headers['cache-control'], /no-cache|no-store/);
  assert.equal(stream.headers['content-length'], undefined);
  const [welcome, confirmation, rest] = stream.body.split('\n\n');
  assert.match(welcome, /^event: welcome\ndata: \{"type":"welcome"[^\n]*\}$/);
  const identifier = identify(ROOM);
  const data = JSON.stringify({ identifier, type: 'confirm_subscription' });
  const [line, json] = confirmation.split('\ndata: ');
  assert.equal(line, 'event: confirm_subscription');
  assert.deepEqual(JSON.parse(json), JSON.parse(data));
  assert.equal(rest, '');
});

scenario('a publication is an event without a name, with an id', {}, async (s) => {
  const stream = await eventsIn(s, ROOM);
  await s.http.publishText(ROOM, '{ "n": 9007199254740993 }');
  const { event, data, id } = await stream.hears({});
  assert.equal(event, undefined);
  assert.equal(data, '{ "n": 9007199254740993 }');
  const [, offset, epoch, name] = id.match(/^(\d+)\/([^/]+)\/(.*)$/);
  assert.deepEqual([offset, name], ['1', ROOM]);
  const [socket, identifier] = await s.subscriber(ROOM);
  await s.http.publish(ROOM, 2);
  const frame = await socket.hears({ identifier });
  assert.equal((await stream.hears({})).id, `${frame.offset}/${frame.epoch}/${frame.stream_id}`);
  assert.equal(frame.epoch, epoch, 'a position is the same in every protocol');
});

scenario('pings come as events', { 'ping-interval': '100ms' }, async (s) => {
  const since = performance.now();
  const stream = await eventsIn(s, ROOM);
  const pings = () => stream.body.match(/^event: ping\ndata: \{"type":"ping","message":\d+\}$/gm)?.length ?? 0;
  await until(() => pings() >= 5, 'pings come');
  const [count, waited] = [pings(), performance.now() - since];
  assert.ok(count <= 1 + waited / 100, `${count} pings in ${waited} ms`);
});

scenario('presence comes as the message of Action Cable’s frame', {}, async (s) => {
  const stream = await eventsIn(s, ROOM);
  const [ann, identifier] = await s.member(ROOM, 'ann', { n: 1 });
  assert.deepEqual(await stream.hearsPresence('join'), { type: 'join', id: 'ann', info: { n: 1 } });
  ann.join(identifier, 'ann', { n: 2 });
  assert.deepEqual(await stream.hearsPresence('update'), { type: 'update', id: 'ann', info: { n: 2 } });
  ann.leave(identifier);
  assert.deepEqual(await stream.hearsPresence('leave'), { type: 'leave', id: 'ann' });
  assert.ok(!/^id:/m.test(stream.body), 'presence has no position');
});

scenario('line breaks in data are several lines of it', {}, async (s) => {
  const stream = await eventsIn(s, ROOM);
  const source = eventSourceTo(s, eventsUrl(s, { stream: ROOM }));
  await source.hears('confirm_subscription');
  for (const text of ['one\ntwo', 'one\n\nevent: leave\ndata: x\n\n', 'a\r\nb\rc\n', ': no comment', '']) {
    await s.http.publish(ROOM, text);
    const heard = await stream.hears({});
    const lines = text.replace(/\r\n|\r/g, '\n');
    assert.equal(heard.data, lines);
    assert.equal(heard.event, undefined);
    assert.ok(heard.id, 'the id is that of the whole');
    assert.equal((await source.hears('message')).data, lines);
  }
  await s.http.publishText(ROOM, '{"a":1,\r\n"b":[\n]}');
  assert.deepEqual((await stream.hears({})).json, { a: 1, b: [] });
  assert.deepEqual(JSON.parse((await source.hears('message')).data), { a: 1, b: [] });
  await s.member(ROOM, 'ann\nbob', 'a\r\nb');
  assert.deepEqual(await stream.hearsPresence('join'), { type: 'join', id: 'ann\nbob', info: 'a\r\nb' });
});

scenario('each event leaves in one piece', { 'ping-interval': '100ms' }, async (s) => {
  const stream = await eventsIn(s, ROOM);
  for (let n = 0; n < 50; n += 1) {
    await s.http.publish(ROOM, 'x\n'.repeat(n));
    await s.member(ROOM, `user-${n}`, { text: 'y'.repeat(n) });
  }
  await settle(s, ROOM, stream);
  for (const piece of stream.pieces) assert.ok(piece.endsWith('\n\n'), JSON.stringify(piece));
});

scenario('a large publication comes whole', {}, async (s) => {
  const stream = await eventsIn(s, ROOM);
  const text = 'line\n'.repeat(40_000);
  await s.http.publish(ROOM, text);
  assert.equal((await stream.hears({})).data, text);
});

scenario('a stream can be named in several ways', {}, async (s) => {
  const ways = [
    [{ stream: ROOM }, identify(ROOM)],
    [{ identifier: identify(ROOM, { more: 1 }) }, identify(ROOM, { more: 1 })],
  ];
  for (const [query, identifier] of ways) {
    const stream = await openEvents(s, query);
    const { json } = await stream.hears({ event: 'confirm_subscription' });
    assert.equal(json.identifier, identifier);
    await s.http.publish(ROOM, { n: 1 });
    await stream.hears({ json: { n: 1 } });
  }
  const name = 'room/1 ?&"';
  const stream = await eventsIn(s, name);
  await s.http.publish(name, 1);
  assert.ok((await stream.hears({})).id.endsWith(`/${name}`));
});

scenario('a stream of any name is come back to', {}, async (s) => {
  for (const name of ['room/1', 'a b?&"', 'é 😀', 'a\nb', ' ']) {
    const stream = await eventsIn(s, name);
    await s.http.publish(name, 1);
    const { id } = await stream.hears({});
    assert.match(id, /^1\/[^/]+\/[ -~]*$/, 'a header can have it');
    stream.close();
    await s.http.publish(name, 2);
    const again = await eventsIn(s, name, {}, { 'last-event-id': id });
    assert.equal((await again.hears({ event: undefined })).json, 2);
  }
});

// what a client sends back in a header has to be ASCII: others, fetch among them, fail instead
scenario('a stream of any name goes on where it was', {}, async (s) => {
  for (const name of ['Zimmer für Ömer', '部屋', 'two\nlines', 'end ']) {
    const tunnel = await Tunnel.to(s.broker);
    s.cleanup(() => tunnel.close());
    const url = `${tunnel.url('/events').replace(/^ws/, 'http')}?stream=${encodeURIComponent(name)}`;
    const source = eventSourceTo(s, url);
    await source.hears('confirm_subscription');
    await s.http.publish(name, 1);
    await source.hears('message');
    tunnel.reset();
    await s.http.publish(name, 2);
    await source.hears('welcome');
    assert.equal((await source.hears('message')).data, '2');
    source.close();
  }
});

scenario('without anything that names a stream there is none', {}, async (s) => {
  for (const query of [{}, { stream: '' }, { identifier: 'nonsense' }, { channel: 'ChatChannel' }]) {
    const status = await refusal(s, query);
    assert.ok(status === 400 || status === 401, `HTTP ${status} to ${JSON.stringify(query)}`);
  }
  await s.connections(0);
});

scenario('raw is what is published and nothing else', { 'ping-interval': '100ms' }, async (s) => {
  const stream = await openEvents(s, { stream: ROOM, raw: '1' });
  await follows(s, 1);
  await s.member(ROOM, 'ann', 1);
  await s.http.publish(ROOM, { n: 1 });
  await s.http.publish(ROOM, 'text');
  await stream.hears({ data: 'text' });
  await pass(300);
  const events = stream.body.split('\n\n').filter((block) => block && !block.startsWith(':'));
  assert.equal(events.length, 2, stream.body);
  assert.match(events[0], /^data: \{"n":1\}\nid: 1\/[^/\n]+\/room$/);
  assert.match(events[1], /^data: text\nid: 2\/[^/\n]+\/room$/);
});

scenario('who comes back with the last id gets what was missed', {}, async (s) => {
  const stream = await eventsIn(s, ROOM);
  await s.http.publish(ROOM, { n: 1 });
  const { id } = await stream.hears({});
  stream.close();
  for (const n of [2, 3]) await s.http.publish(ROOM, { n });
  const again = await eventsIn(s, ROOM, {}, { 'last-event-id': id });
  for (const n of [2, 3]) assert.deepEqual((await again.hears({ event: undefined })).json, { n });
  await s.http.publish(ROOM, { n: 4 });
  assert.deepEqual((await again.hears({ event: undefined })).json, { n: 4 });
  const ids = again.body.match(/^id: \d+/gm);
  assert.deepEqual(ids, ['id: 2', 'id: 3', 'id: 4']);
  const raw = await openEvents(s, { stream: ROOM, raw: 1 }, { 'last-event-id': id });
  for (const n of [2, 3, 4]) assert.deepEqual((await raw.hears({})).json, { n });
});

scenario('an id that says nothing here is no obstacle', {}, async (s) => {
  await s.http.publish(ROOM, { n: 1 });
  for (const id of ['nonsense', '1/other/room', '99999/x/room', '/', 'x/y/z', '1/a/another room']) {
    const stream = await eventsIn(s, ROOM, {}, { 'last-event-id': id });
    await settle(s, ROOM, stream);
    assert.ok(!stream.body.includes('{"n":1}'), `nothing is made up from ${id}`);
  }
});

scenario('history can be asked for since a time', {}, async (s) => {
  await s.http.publish(ROOM, { n: 1 });
  const since = Math.floor(Date.now() / 1000) - 60;
  const stream = await eventsIn(s, ROOM, { history_since: since });
  assert.deepEqual((await stream.hears({ event: undefined })).json, { n: 1 });
  await s.http.publish(ROOM, { n: 2 });
  assert.deepEqual((await stream.hears({ event: undefined })).json, { n: 2 });
  const later = await eventsIn(s, ROOM, { history_since: since + 3600 });
  await settle(s, ROOM, later);
  assert.ok(!later.body.includes('{"n":1}'));
});

scenario('the client of browsers is sent what it missed, once', {}, async (s) => {
  const tunnel = await Tunnel.to(s.broker);
  s.cleanup(() => tunnel.close());
  const url = `${tunnel.url('/events').replace(/^ws/, 'http')}?stream=${ROOM}`;
  const source = eventSourceTo(s, url);
  await source.hears('confirm_subscription');
  await s.http.publish(ROOM, { n: 1 });
  const first = await source.hears('message');
  assert.equal(first.data, '{"n":1}');
  tunnel.reset();
  await source.hears('error');
  await s.http.publish(ROOM, { n: 2 });
  await source.hears('welcome'); // after the three seconds of its own
  assert.equal((await source.hears('message')).data, '{"n":2}');
  await s.http.publish(ROOM, { n: 3 });
  const last = await source.hears('message');
  assert.equal(last.data, '{"n":3}');
  assert.equal(last.lastEventId, first.lastEventId.replace(/^1/, '3'));
});

scenario('who has a presence id is present while the stream is open', { 'presence-ttl': '1s' }, async (s) => {
  const [watcher, identifier] = await s.subscriber(ROOM);
  const info = { name: 'Ann' };
  const query = { presence_id: 'ann', presence_info: JSON.stringify(info) };
  const stream = await eventsIn(s, ROOM, query);
  assert.deepEqual(await watcher.hearsPresence(identifier, 'join'), { type: 'join', id: 'ann', info });
  assert.equal((await stream.hearsPresence('join')).id, 'ann', 'it hears of itself');
  await pass(1500);
  assert.equal(await watcher.count(identifier), 1, 'present without a word for longer than the TTL');
  const since = performance.now();
  stream.close();
  await watcher.hearsPresence(identifier, 'leave');
  assert.ok(performance.now() - since >= 940, 'the TTL is for streams, too');
  watcher.hearsNothing();
});

const TTL = 4000;
scenario('a page that is loaded again within the TTL was never away', { 'presence-ttl': `${TTL}ms` }, async (s) => {
  const [watcher, identifier] = await s.subscriber(ROOM);
  for (let round = 0; round < 3; round += 1) {
    const stream = await eventsIn(s, ROOM, { presence_id: 'ann' });
    await pass(100);
    stream.close();
    await pass(300);
  }
  await eventsIn(s, ROOM, { presence_id: 'ann' });
  await pass(TTL + 300);
  assert.equal(await watcher.count(identifier), 1);
  await watcher.hearsPresence(identifier, 'join');
  watcher.hearsNothing();
});

scenario('a stream without a presence id watches', {}, async (s) => {
  await eventsIn(s, ROOM);
  assert.equal((await s.http.users(ROOM)).total, 0);
});

for (const [what, query] of [
  ['an id that is too long', { presence_id: 'x'.repeat(129) }],
  ['an info that is no JSON', { presence_id: 'ann', presence_info: '{' }],
  ['an info that is too large', { presence_id: 'ann', presence_info: JSON.stringify('x'.repeat(5000)) }],
]) {
  scenario(`nobody is present with ${what}, and is told`, {}, async (s) => {
    let told;
    try {
      const stream = await openEvents(s, { stream: ROOM, ...query });
      told = (await stream.hearsPresence('error')).reason;
    } catch (error) {
      assert.ok([400, 401].includes(error.response?.statusCode), error);
      told = error.response.body;
    }
    assert.match(told, /\w+ \w+/);
    assert.equal((await s.http.users(ROOM)).total, 0);
  });
}

const SECURE = { secret: SECRET };
scenario('with a secret it takes a token and a signed name', SECURE, async (s) => {
  const jid = token();
  const signed_stream = sign(ROOM);
  const bad = [
    { signed_stream },
    { signed_stream, jid: 'nonsense' },
    { signed_stream, jid: token({ exp: fromNow(-1) }) },
    { signed_stream, jid: token({}, { secret: 'other' }) },
    { stream: ROOM, jid },
    { signed_stream: sign(ROOM, 'other'), jid },
    { signed_stream: ROOM, jid },
    { identifier: identify(ROOM), jid },
  ];
  for (const query of bad) assert.equal(await refusal(s, query), 401, JSON.stringify(query));
  const stream = await openEvents(s, { signed_stream, jid });
  await stream.hears({ event: 'confirm_subscription' });
  const publisher = new Http(s.broker.origin, derive('broadcast-cable'));
  await publisher.publish(ROOM, { n: 1 });
  await stream.hears({ json: { n: 1 } });
  const identifier = JSON.stringify({ channel: '$pubsub', signed_stream_name: signed_stream });
  const other = await openEvents(s, { identifier, jid });
  await other.hears({ event: 'confirm_subscription' });
  const header = await openEvents(s, { signed_stream }, { 'x-jid': jid });
  await header.hears({ event: 'confirm_subscription' });
});

scenario('the client of browsers gives up after a refusal', SECURE, async (s) => {
  const source = eventSourceTo(s, eventsUrl(s, { stream: ROOM }));
  assert.equal((await source.hears('error')).code, 401);
  assert.equal(source.readyState, source.CLOSED);
});

const BOUND = { ...SECURE, 'presence-id-claim': 'sub', 'public-streams': true };
scenario('a token says who is present', BOUND, async (s) => {
  s.http = new Http(s.broker.origin, derive('api-cable'));
  const jid = token({ sub: 'ann' });
  await eventsIn(s, ROOM, { jid, presence_id: 'ann' });
  assert.deepEqual(await s.http.ids(ROOM), ['ann']);
  try {
    await openEvents(s, { stream: ROOM, jid, presence_id: 'bob' });
  } catch (error) {
    assert.ok([400, 401, 403].includes(error.response?.statusCode), error);
  }
  assert.deepEqual(await s.http.ids(ROOM), ['ann'], 'nobody is there as somebody else');
});

scenario('pages of other sites may read it, unless they are kept out', {}, async (s) => {
  const origin = 'https://app.example.io';
  const stream = await eventsIn(s, ROOM, {}, { origin });
  assert.ok(['*', origin].includes(stream.headers['access-control-allow-origin']));
});

scenario('pages that may not connect are refused', { 'allowed-origins': 'app.example.io' }, async (s) => {
  assert.equal(await refusal(s, { stream: ROOM }, { origin: 'https://evil.example' }), 403);
  await eventsIn(s, ROOM, {}, { origin: 'https://app.example.io' });
  // a page of the broker's own origin says nothing when it reads, and an image elsewhere neither
  await eventsIn(s, ROOM, {}, { 'sec-fetch-site': 'same-origin' });
  assert.equal(await refusal(s, { stream: ROOM }, { 'sec-fetch-site': 'cross-site' }), 403);
});

scenario('nothing else can be done with the path', {}, async (s) => {
  const { status } = await s.http.request(`/events?stream=${ROOM}`, { method: 'DELETE' });
  assert.ok(status === 405 || status === 404, `HTTP ${status}`);
});

scenario('the application ends a user’s streams, and says whether they may come back', { ...SECURE, 'public-streams': true }, async (s) => {
  const ext = JSON.stringify({ user: 'ann' });
  const publisher = new Http(s.broker.origin, derive('broadcast-cable'));
  for (const reconnect of [true, false]) {
    const [ann, raw] = [{}, { raw: 1 }].map((more) => openEvents(s, { stream: ROOM, jid: token({ ext }), ...more }));
    const bob = await eventsIn(s, ROOM, { jid: token() });
    await (await ann).hears({ event: 'confirm_subscription' });
    await raw;
    s.http = new Http(s.broker.origin, derive('metrics-cable'));
    await follows(s, reconnect ? 3 : 4); // the bob of before is there still
    s.http = publisher;
    const payload = { identifier: ext, reconnect };
    assert.equal((await s.http.post('/_broadcast', { command: 'disconnect', payload })).status, 201);
    const { json, retry } = await (await ann).hears({ event: 'disconnect' });
    assert.deepEqual(json, { type: 'disconnect', reason: 'remote', reconnect });
    assert.equal(retry, reconnect ? undefined : '31536000000');
    for (const stream of [await ann, await raw]) await within(stream.ended, 'the stream to end');
    assert.equal((await raw).body, reconnect ? '' : 'retry: 31536000000\n\n');
    await settle(s, ROOM, bob);
  }
});

scenario('streams end with the broker, which says that it comes back', {}, async (s) => {
  const stream = await eventsIn(s, ROOM);
  const [, stopped] = await Promise.all([
    within(stream.ended, 'the stream to end', 10_000),
    s.broker.stop(),
  ]);
  assert.deepEqual(stopped, { code: 0, signal: null });
  const { json } = await stream.hears({ event: 'disconnect' });
  assert.deepEqual(json, { type: 'disconnect', reason: 'server_restart', reconnect: true });
});

scenario('what a stream took is given back', { 'presence-ttl': '100ms' }, async (s) => {
  for (let n = 0; n < 20; n += 1) {
    const stream = await eventsIn(s, ROOM, { presence_id: `user-${n}` });
    if (n % 2) stream.close();
    else stream.request.socket.resetAndDestroy();
  }
  const says = (m) => m.get('broker_connections') === 0 && m.get('broker_presence_records') === 0;
  await s.metrics(says, 'nothing is left');
});

scenario('a client that doesn’t read is let go, and costs nobody else', { 'max-outbox-size': '64KiB' }, async (s) => {
  const request = http.get(eventsUrl(s, { stream: ROOM }), { agent: false });
  s.cleanup(() => request.destroy());
  request.on('error', () => {});
  request.on('response', (response) => response.pause());
  const other = await eventsIn(s, ROOM);
  await s.connections(2);
  const text = 'x'.repeat(50_000);
  for (let n = 0; n < 400; n += 1) {
    await s.http.publish(ROOM, text);
    await other.hears({ event: undefined, data: text }); // no more waits for it than it is allowed
    if ((await s.http.metrics()).get('broker_connections') === 1) break;
  }
  await s.connections(1);
  await settle(s, ROOM, other);
});

// TCP_USER_TIMEOUT bounds how long a full socket is waited for while the outbox has room
const IMPATIENT = { 'liveness-interval': '1s', 'liveness-timeout': '1s', 'presence-ttl': '100ms' };
scenario('a client that doesn’t read is ended by its system', { ...IMPATIENT, 'max-outbox-size': '64MiB' }, async (s) => {
  const url = eventsUrl(s, { stream: ROOM, presence_id: 'ann' });
  const request = http.get(url, { agent: false });
  s.cleanup(() => request.destroy());
  request.on('error', () => {});
  request.on('response', (response) => response.pause());
  const other = await eventsIn(s, ROOM);
  await s.connections(2);
  const data = JSON.stringify('x'.repeat(50_000));
  const batch = Array.from({ length: 10 }, () => ({ stream: ROOM, data }));
  const since = performance.now(); // its time begins when its system is full, on the way
  for (let n = 0; n < 30; n += 1) assert.equal((await s.http.post('/_broadcast', batch)).status, 201);
  const metrics = await s.counts({ 'broker_connections_closed_total{reason="client_gone"}': 1 }, { ms: 15_000 });
  assert.ok(performance.now() - since > 1000, 'it had its time');
  assert.equal(metrics.get('broker_outbox_overflows_total'), 0);
  await until(async () => (await s.http.users(ROOM)).total === 0, 'it has left');
  await settle(s, ROOM, other);
});

scenario('it is a client in the statistics like any other', {}, async (s) => {
  await eventsIn(s, ROOM);
  await EventStream.open(eventsUrl(s, { stream: ROOM })).then((stream) => s.cleanup(() => stream.close()));
  await s.connections(2);
});
