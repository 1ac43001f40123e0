// The application ends a user's connections.

import assert from 'node:assert/strict';
import { cableTo, next } from './support/anycable.js';
import { eventsIn } from './support/events.js';
import { Http } from './support/http.js';
import { pass, within } from './support/patience.js';
import { phoenixMember, phoenixSocketTo } from './support/phoenix.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, token } from './support/sign.js';

const ENDPOINTS = [['/_broadcast', 'broadcast-cable'], ['/api/publish', 'api-cable']];
const SECURE = { secret: SECRET, 'public-streams': true, 'presence-ttl': '0s' };

const ids = (user) => JSON.stringify({ user });
const connect = (s, user) => s.socket(`/cable?jid=${token({ ext: ids(user) })}`);

const ending = (payload) => ({ command: 'disconnect', payload });

/** Ends sessions; gives how many. */
async function disconnect(s, identifier, more = {}, [path, purpose] = ENDPOINTS[0]) {
  const http = new Http(s.broker.origin, derive(purpose));
  const answer = await http.post(path, ending({ identifier, ...more }));
  assert.equal(answer.status, 201, answer.text);
  assert.deepEqual(Object.keys(answer.json), ['disconnected']);
  return answer.json.disconnected;
}

/** Ends the sessions of a presence id. */
const disconnectId = (s, presence_id) => disconnect(s, undefined, { presence_id });

for (const endpoint of ENDPOINTS) {
  for (const [more, reconnect] of [[{}, false], [{ reconnect: false }, false], [{ reconnect: true }, true]]) {
    scenario(`${endpoint[0]} ends all sessions of a user, ${JSON.stringify(more)}`, SECURE, async (s) => {
      const ann = [await connect(s, 'ann'), await connect(s, 'ann'), await connect(s, 'ann')];
      const bob = await connect(s, 'bob');
      assert.equal(await disconnect(s, ids('ann'), more, endpoint), 3);
      for (const socket of ann) {
        const frame = await socket.hears({ type: 'disconnect' });
        assert.deepEqual(frame, { type: 'disconnect', reason: 'remote', reconnect });
        assert.deepEqual(await socket.closing(), { code: 1000, reason: 'remote' });
      }
      await bob.settle();
      s.http = new Http(s.broker.origin, derive('metrics-cable'));
      await s.counts({ 'broker_connections_closed_total{reason="remote"}': 3 });
      await s.connections(1);
      await connect(s, 'ann');
      await disconnect(s, ids('bob'), more, endpoint);
      await bob.hears({ type: 'disconnect' });
    });
  }
}

scenario('identifiers that are another value are somebody else’s', SECURE, async (s) => {
  const ann = await connect(s, 'ann');
  const big = await s.socket(`/cable?jid=${token({ ext: '{"user":9007199254740993}' })}`);
  for (const other of ['ann', '', '{}', '{"user":"Ann"}', '{"user":["ann"]}', '{"user":"ann","more":1}', '{"user":"ann"']) {
    assert.equal(await disconnect(s, other), 0, other);
  }
  for (const other of ['9007199254740992', '"9007199254740993"', '9007199254740993.5']) {
    assert.equal(await disconnect(s, `{"user":${other}}`), 0, other);
  }
  for (const socket of [ann, big]) await socket.settle();
  assert.equal(await disconnect(s, '{"user":9007199254740993}'), 1);
  await big.hears({ type: 'disconnect' });
});

for (const [ext, identifier] of [
  ['{"user": 42}', '{"user":42}'],
  ['{"user":42}', '{ "user" : 42 }\n'],
  ['{"user":42,"account":"a"}', '{"account":"a","user":42}'],
  ['{"user":42.0}', '{"user":42}'],
  ['{"user":1e2}', '{"user":100}'],
  ['{"user":9007199254740993}', '{ "user": 9007199254740993 }'],
  ['{"name":"\\u00e9\\/"}', '{"name":"é/"}'],
  ['no JSON', 'no JSON'],
]) {
  scenario(`identifiers are compared as JSON: ${identifier.trim()} ends ${ext}`, SECURE, async (s) => {
    const socket = await s.socket(`/cable?jid=${token({ ext })}`);
    assert.equal(await disconnect(s, identifier), 1);
    await socket.hears({ type: 'disconnect', reason: 'remote' });
  });
}

const BY_CLAIM = { ...SECURE, 'presence-id-claim': 'sub' };

scenario('a presence id ends the connections whose token gave it, with and without identifiers', BY_CLAIM, async (s) => {
  const sockets = [];
  for (const claims of [{ ext: undefined, sub: '42' }, { ext: undefined, sub: 42 }, { ext: ids('ann'), sub: '42' }]) {
    sockets.push(await s.socket(`/cable?jid=${token(claims)}`));
  }
  const other = await s.socket(`/cable?jid=${token({ ext: '"42"', sub: '7' })}`);
  assert.equal(await disconnectId(s, '43'), 0);
  assert.equal(await disconnectId(s, '42'), 3);
  for (const socket of sockets) await socket.hears({ type: 'disconnect', reason: 'remote' });
  await other.settle();
});

scenario('who goes by either name is ended, and counted once', BY_CLAIM, async (s) => {
  const claims = [{ ext: ids('ann'), sub: '42' }, { ext: ids('ann'), sub: '7' }, { ext: ids('bob'), sub: '42' }];
  const sockets = await Promise.all(claims.map((it) => s.socket(`/cable?jid=${token(it)}`)));
  const cem = await s.socket(`/cable?jid=${token({ ext: ids('cem'), sub: '7' })}`);
  assert.equal(await disconnect(s, ids('ann'), { presence_id: '42' }), 3);
  for (const socket of sockets) await socket.hears({ type: 'disconnect' });
  await cem.settle();
});

scenario('a presence id ends the connections whose handshake gave it', { 'public': true, 'broadcast-key': derive('broadcast-cable') }, async (s) => {
  const phoenix = await phoenixSocketTo(s, 'vsn=2.0.0&user_id=42');
  const events = await eventsIn(s, 'room', { presence_id: '42' });
  const cable = await s.socket();
  const identifier = await cable.subscribe('room');
  cable.join(identifier, '42', {});
  await cable.settle(identifier);
  assert.equal(await disconnectId(s, '42'), 2);
  assert.equal((await phoenix.closing()).code, 1000);
  await events.hears({ event: 'disconnect' });
  await cable.settle();
});

scenario('sessions without a connection count, too', BY_CLAIM, async (s) => {
  const jid = token({ ext: ids('ann'), sub: '42' });
  const [here, away, idle] = await Promise.all([1, 2, 3].map(() => s.socket(`/cable?jid=${jid}`)));
  for (const socket of [here, away]) await socket.subscribe('room');
  s.http = new Http(s.broker.origin, derive('metrics-cable'));
  for (const socket of [away, idle]) socket.terminate();
  await s.counts({ broker_connections: 1, broker_sessions_parked: 1 });
  assert.equal(await disconnectId(s, '42'), 2);
  await s.counts({ broker_connections: 0, broker_sessions_parked: 0 });
  assert.equal(await disconnectId(s, '42'), 0);
});

scenario('what stands before a disconnect in an array is delivered before the end', SECURE, async (s) => {
  const http = new Http(s.broker.origin, derive('broadcast-cable'));
  const streams = Array.from({ length: 20 }, (_, n) => `room/${n}`);
  for (let round = 0; round < 20; round += 1) {
    const ann = await connect(s, 'ann');
    for (const stream of streams) await ann.subscribe(stream);
    const before = streams.map((stream) => ({ stream, data: '"before"' }));
    const after = streams.map((stream) => ({ stream, data: '"after"' }));
    const answer = await http.post('/_broadcast', [...before, ending({ identifier: ids('ann') }), ...after]);
    assert.deepEqual([answer.status, answer.json], [201, { disconnected: 1 }]);
    await ann.closing();
    const frames = ann.transcript.map((text) => JSON.parse(text));
    const messages = frames.filter((frame) => frame.message).map((frame) => frame.message);
    assert.deepEqual(messages, streams.map(() => 'before'), `round ${round}`);
    assert.equal(frames.at(-1).type, 'disconnect');
  }
});

scenario('so it is in every protocol', { public: true, 'broadcast-key': derive('broadcast-cable') }, async (s) => {
  const http = new Http(s.broker.origin, derive('broadcast-cable'));
  for (let round = 0; round < 10; round += 1) {
    const [phoenix] = await phoenixMember(s, 'room', '42');
    const events = await eventsIn(s, 'room', { presence_id: '42' });
    const watcher = await s.socket();
    const watching = await watcher.subscribe('room');
    watcher.whisper(watching, { whispered: round });
    await watcher.settle(watching);
    const answer = await http.post('/_broadcast', [{ stream: 'room', data: JSON.stringify({ round }) }, ending({ presence_id: '42' })]);
    assert.deepEqual(answer.json, { disconnected: 2 });
    await phoenix.hears({ event: 'whisper' });
    await phoenix.hears({ event: 'message', payload: { round } });
    await phoenix.closing();
    await events.hears({ event: undefined, json: { whispered: round } });
    await events.hears({ event: undefined, json: { round } });
    await events.hears({ event: 'disconnect' });
    await watcher.hears({ message: { round } });
    s.close(s.opened - 1);
    watcher.terminate();
    await s.connections(0);
  }
});

scenario('so it is for a client that polls, whether it waits for something or not', {}, async (s) => {
  for (let round = 0; round < 20; round += 1) {
    const user = `user-${round}`;
    const path = `/socket/longpoll?vsn=2.0.0&user_id=${user}`;
    const poll = async (token) => (await s.http.request(token ? `${path}&token=${token}` : path)).json;
    const { token: mine } = await poll();
    await s.http.post(`${path}&token=${mine}`, '["1","1","room","phx_join",{}]');
    let told = '';
    while (!told.includes('presence_diff')) told += (await poll(mine)).messages.join();
    const waits = round % 2 === 0 ? [poll(mine)] : [];
    const batch = [{ stream: 'room', data: `{"round":${round}}` }, ending({ presence_id: user })];
    const answer = await s.http.post('/_broadcast', batch);
    assert.deepEqual(answer.json, { disconnected: 1 });
    for (let last = {}; last.status !== 410; told += last.messages?.join() ?? '') {
      last = await (waits.pop() ?? poll(mine));
    }
    assert.ok(told.includes(`{"round":${round}}`), told);
  }
});

scenario('what is published behind the answer reaches nobody who was disconnected', SECURE, async (s) => {
  const http = new Http(s.broker.origin, derive('broadcast-cable'));
  const [ann, bob] = [await connect(s, 'ann'), await connect(s, 'bob')];
  for (const socket of [ann, bob]) await socket.subscribe('room');
  await http.publish('room', 'before');
  assert.equal(await disconnect(s, ids('ann')), 1);
  await http.publish('room', 'after');
  await bob.hears({ message: 'after' });
  await ann.closing();
  const heard = ann.transcript.map((text) => JSON.parse(text)).filter((frame) => frame.message);
  assert.deepEqual(heard.map(({ message }) => message), ['before']);
});

scenario('a client that doesn’t read is ended all the same', SECURE, async (s) => {
  const http = new Http(s.broker.origin, derive('broadcast-cable'));
  const ann = await connect(s, 'ann');
  await ann.subscribe('room');
  ann.ws.pause();
  await http.publish('room', 'x'.repeat(500_000));
  assert.equal(await disconnect(s, ids('ann')), 1);
  s.http = new Http(s.broker.origin, derive('metrics-cable'));
  await s.counts({ broker_connections: 0, 'broker_connections_closed_total{reason="remote"}': 1 });
});

scenario('a batch is followed as a whole or not at all', SECURE, async (s) => {
  const ann = await connect(s, 'ann');
  const identifier = await ann.subscribe('room');
  ann.join(identifier, 'ann', {});
  await ann.hearsPresence(identifier, 'join');
  const watcher = await connect(s, 'bob');
  const watching = await watcher.subscribe('room');
  const http = new Http(s.broker.origin, derive('broadcast-cable'));
  const gone = { command: 'disconnect', payload: { identifier: ids('ann') } };
  const bad = await http.post('/_broadcast', [gone, { stream: 'room' }]);
  assert.equal(bad.status, 422);
  await ann.settle();
  assert.equal((await http.post('/_broadcast', [{ stream: 'room', data: '1' }, gone])).status, 201);
  await ann.hears({ identifier, message: 1 });
  await ann.hears({ type: 'disconnect', reason: 'remote' });
  await watcher.hears({ identifier: watching, message: 1 });
  assert.equal((await watcher.hearsPresence(watching, 'leave')).id, 'ann');
});

scenario('nobody ends a session without the key', SECURE, async (s) => {
  const ann = await connect(s, 'ann');
  const command = { command: 'disconnect', payload: { identifier: ids('ann') } };
  for (const [path] of ENDPOINTS) assert.equal((await s.http.post(path, command)).status, 401);
  await ann.settle();
});

for (const reconnect of [true, false]) {
  scenario(`@anycable/core ${reconnect ? 'comes back' : 'stays away'} as it is told`, SECURE, async (s) => {
    const cable = cableTo(s, { auth: { token: token({ ext: ids('ann') }) }, logLevel: 'none' });
    await within(cable.connect(), 'the connection');
    const told = next(cable, reconnect ? 'disconnect' : 'close');
    const back = reconnect ? next(cable, 'connect') : pass(400);
    await disconnect(s, ids('ann'), { reconnect });
    assert.equal((await told).reason, 'remote');
    await back;
    assert.equal(cable.state, reconnect ? 'connected' : 'closed');
  });
}
