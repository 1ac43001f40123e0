// Which protocols are spoken, and where; and that a secret is one for all of them.

import assert from 'node:assert/strict';
import { pass, until } from './support/patience.js';
import { EventStream, eventsUrl, openEvents } from './support/events.js';
import { Http } from './support/http.js';
import { phoenixIn } from './support/phoenix.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, fromNow, sign, token } from './support/sign.js';
import { Socket } from './support/socket.js';
import { typedTo } from './support/typed.js';

/** Where each protocol is by default, and what one says to a WebSocket there to follow a room. */
const SOCKETS = {
  'action-cable': {
    path: '/cable',
    follow: (room, more) =>
      JSON.stringify({
        command: 'subscribe',
        identifier: JSON.stringify({ channel: '$pubsub', stream_name: room, ...more }),
      }),
  },
  phoenix: {
    path: '/socket/websocket?vsn=2.0.0',
    follow: (room, more) => JSON.stringify(['1', '1', room, 'phx_join', { ...more }]),
  },
  typed: {
    path: '/',
    follow: (room, more) => JSON.stringify({ type: 'presence.join', payload: { user: 'ann', room, ...more } }),
  },
  chat: {
    path: '/chat',
    follow: (room, more) => JSON.stringify({ type: 'join', room, username: 'ann', ...more }),
  },
};

/** What becomes of a WebSocket's handshake at a path: 101, or the status of the refusal. */
async function handshake(s, path, options = {}) {
  try {
    const socket = await s.open(path, { protocols: [], kind: AnySocket, ...options });
    socket.terminate();
    return 101;
  } catch (error) {
    if (!error.response) throw error;
    return error.response.statusCode;
  }
}

/** A WebSocket that takes whatever is said to it. */
class AnySocket extends Socket {
  read(text) {
    return { said: JSON.parse(text) };
  }
}

/** The status that a request for a stream of events is answered with. */
async function streaming(s, query = { stream: 'room' }, headers = {}) {
  try {
    const stream = await openEvents(s, query, headers);
    stream.close();
    return 200;
  } catch (error) {
    if (!error.response) throw error;
    return error.response.statusCode;
  }
}

const polling = async (s, path = '/socket') => (await s.http.request(`${path}/longpoll?vsn=2.0.0`)).status;

scenario('all protocols are spoken when nothing else is said', {}, async (s) => {
  for (const { path } of Object.values(SOCKETS)) assert.equal(await handshake(s, path), 101, path);
  assert.equal(await polling(s), 200);
  assert.equal(await streaming(s), 200);
  assert.equal((await s.http.request('/')).status, 200);
});

for (const only of Object.keys(SOCKETS)) {
  scenario(`what is off isn't there: ${only} alone`, { protocols: only }, async (s) => {
    for (const [name, { path }] of Object.entries(SOCKETS)) {
      assert.equal(await handshake(s, path), name === only ? 101 : 404, path);
    }
    assert.equal(await polling(s), only === 'phoenix' ? 200 : 404);
    assert.equal(await streaming(s), 404);
    assert.equal((await s.http.request('/')).status, 200, 'for the person with a browser');
  });
}

scenario('server-sent events can be alone', { protocols: 'sse' }, async (s) => {
  for (const { path } of Object.values(SOCKETS)) assert.equal(await handshake(s, path), 404, path);
  assert.equal(await streaming(s), 200);
});

scenario('some protocols can be chosen', { protocols: 'chat, action-cable' }, async (s) => {
  const statuses = [];
  for (const { path } of Object.values(SOCKETS)) statuses.push(await handshake(s, path));
  assert.deepEqual(statuses, [101, 404, 404, 101]);
});

const ELSEWHERE = {
  'cable-path': '/ws/cable',
  'phoenix-path': '/live',
  'typed-path': '/presence',
  'chat-path': '/rooms/chat',
  'sse-path': '/stream',
};
scenario('every protocol can be elsewhere', ELSEWHERE, async (s) => {
  for (const { path } of Object.values(SOCKETS)) assert.equal(await handshake(s, path), 404, path);
  for (const path of ['/ws/cable', '/live/websocket?vsn=2.0.0', '/presence', '/rooms/chat']) {
    assert.equal(await handshake(s, path), 101, path);
  }
  assert.equal(await polling(s), 404);
  assert.equal(await polling(s, '/live'), 200);
  assert.equal(await streaming(s), 404);
  const stream = await EventStream.open(eventsUrl(s, { stream: 'room' }, '/stream'));
  s.cleanup(() => stream.close());
  const ann = await phoenixIn(s, 'room', 'ann', { path: '/live' });
  await ann.sees({ ann: 1 });
  await typedTo(s, '/presence');
});

scenario('a path takes its own method and nothing more of it', {}, async (s) => {
  for (const path of ['/chat', '/cable', '/socket/websocket?vsn=2.0.0']) {
    const { status, text } = await s.http.request(path);
    assert.equal(status, 426, path);
    assert.match(text, /WebSocket/);
  }
  for (const path of ['/chat/x', '/socket', '/events/x', '/nothing']) {
    assert.equal((await s.http.request(path)).status, 404, path);
  }
});

const SECURE = { secret: SECRET, 'presence-ttl': '100ms' };
const ROOM = 'room';

const BAD_TOKENS = {
  'no token': () => undefined,
  nonsense: () => 'nonsense',
  'a token of another secret': () => token({}, { secret: 'other' }),
  'an expired token': () => token({ exp: fromNow(-1) }),
  'a token without a signature': () => `${token({}, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`,
};

const withToken = (path, jid) => (jid ? `${path}${path.includes('?') ? '&' : '?'}jid=${jid}` : path);

for (const [what, make] of Object.entries(BAD_TOKENS)) {
  scenario(`with ${what} nobody gets in by any protocol`, SECURE, async (s) => {
    s.http = new Http(s.broker.origin, derive('api-cable'));
    const publisher = new Http(s.broker.origin, derive('broadcast-cable'));
    for (const { path, follow } of Object.values(SOCKETS)) {
      let socket;
      try {
        socket = await s.open(withToken(path, make()), { protocols: [], kind: AnySocket });
      } catch (error) {
        const status = error.response?.statusCode;
        assert.ok(status === 401 || status === 403, `${path}: ${error}`);
        continue;
      }
      // some clients are told in a frame why they are closed
      socket.send(follow(ROOM));
      socket.send(follow(ROOM, { signed_stream_name: sign(ROOM), stream_name: undefined }));
      await publisher.publish(ROOM, { secret: 'for members' });
      await socket.closing();
      assert.ok(socket.transcript.length <= 1, socket.transcript.join('\n'));
      assert.ok(!socket.transcript.join().includes('for members'));
    }
    const query = { signed_stream: sign(ROOM), presence_id: 'ann' };
    const jid = make();
    assert.equal(await streaming(s, jid ? { ...query, jid } : query), 401);
    const polled = (await s.http.request(withToken('/socket/longpoll?vsn=2.0.0', jid))).json;
    assert.equal(polled.status, 403);
    assert.equal((await s.http.users(ROOM)).total, 0);
  });
}

scenario('with a token, what isn’t signed is followed by no protocol', SECURE, async (s) => {
  s.http = new Http(s.broker.origin, derive('api-cable'));
  const publisher = new Http(s.broker.origin, derive('broadcast-cable'));
  const forgeries = [
    {},
    { signed_stream_name: ROOM },
    { signed_stream_name: sign(ROOM, 'other') },
    { signed_stream_name: `${sign('other').split('--')[0]}--${sign(ROOM).split('--')[1]}` },
    { signed_stream_name: null },
  ];
  const others = [{ signed_stream_name: sign('other') }];
  for (const [name, { path, follow }] of Object.entries(SOCKETS)) {
    const socket = await s.open(withToken(path, token()), { protocols: [], kind: AnySocket });
    const named = name === 'action-cable' ? forgeries : [...forgeries, ...others];
    for (const more of named) socket.send(follow(ROOM, more));
    await pass(200);
    await publisher.publish(ROOM, { secret: 'for members' });
    await publisher.publish('lobby', { secret: 'for members' });
    await pass(200);
    assert.ok(!socket.transcript.join().includes('for members'), `${name}: ${socket.transcript.join('\n')}`);
    assert.equal(socket.ws.readyState, 1, `${name}: a refusal is no end`);
  }
  for (const query of [{ stream: ROOM }, ...forgeries.slice(1, 4).map((it) => ({ signed_stream: it.signed_stream_name }))]) {
    assert.equal(await streaming(s, { jid: token(), ...query }), 401, JSON.stringify(query));
  }
  assert.equal((await s.http.users(ROOM)).total, 0);
  assert.equal((await s.http.users('lobby')).total, 0);
});

scenario('with a token and a signed name every protocol follows', SECURE, async (s) => {
  const publisher = new Http(s.broker.origin, derive('broadcast-cable'));
  const signed_stream_name = sign(ROOM);
  const sockets = [];
  for (const { path, follow } of Object.values(SOCKETS)) {
    const socket = await s.open(withToken(path, token()), { protocols: [], kind: AnySocket });
    socket.send(follow(ROOM, { signed_stream_name, stream_name: undefined }));
    sockets.push(socket);
  }
  const events = await openEvents(s, { signed_stream: signed_stream_name, jid: token() });
  await events.hears({ event: 'confirm_subscription' });
  s.http = new Http(s.broker.origin, derive('metrics-cable'));
  await s.counts({ broker_subscriptions: sockets.length + 1 });
  await publisher.publish(ROOM, { secret: 'for members' });
  await events.hears({ json: { secret: 'for members' } });
  for (const socket of sockets) {
    await until(() => socket.transcript.some((text) => /for members/.test(text)), 'the publication comes');
  }
});

scenario('pages of other sites are kept out of every protocol', { 'allowed-origins': 'app.example.io' }, async (s) => {
  for (const { path } of Object.values(SOCKETS)) {
    assert.equal(await handshake(s, path, { origin: 'https://evil.example' }), 403, path);
    assert.equal(await handshake(s, path, { origin: 'https://app.example.io' }), 101, path);
  }
  assert.equal(await streaming(s, { stream: ROOM }, { origin: 'https://evil.example' }), 403);
});

scenario('the limit of connections is one for all', { 'max-connections': 3 }, async (s) => {
  await s.open('/chat', { protocols: [], kind: AnySocket });
  await s.open('/', { protocols: [], kind: AnySocket });
  await openEvents(s, { stream: ROOM });
  await s.connections(3);
  for (const { path } of Object.values(SOCKETS)) assert.equal(await handshake(s, path), 503, path);
  assert.equal(await streaming(s), 503);
  const polled = (await s.http.request('/socket/longpoll?vsn=2.0.0')).json;
  assert.equal(polled?.token, undefined);
});

for (const [flags, says] of [
  [{ protocols: 'chat,pusher' }, /pusher/],
  [{ protocols: '' }, /protocol/],
  [{ 'chat-path': '/cable' }, /cable-path/],
  [{ 'typed-path': 'presence' }, /slash/],
  [{ 'sse-path': '/api' }, /endpoint/],
]) {
  scenario(`a broker doesn't start with ${JSON.stringify(flags)}, and says why`, {}, async (s) => {
    await assert.rejects(s.start(flags), (error) => {
      assert.match(error.message, says);
      return true;
    });
  });
}
