// The application ends a user's connections.

import assert from 'node:assert/strict';
import { cableTo, next } from './support/anycable.js';
import { Http } from './support/http.js';
import { pass, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, token } from './support/sign.js';

const ENDPOINTS = [['/_broadcast', 'broadcast-cable'], ['/api/publish', 'api-cable']];
const SECURE = { secret: SECRET, 'public-streams': true, 'presence-ttl': '0s' };

const ids = (user) => JSON.stringify({ user });
const connect = (s, user) => s.socket(`/cable?jid=${token({ ext: ids(user) })}`);

async function disconnect(s, identifier, more = {}, [path, purpose] = ENDPOINTS[0]) {
  const http = new Http(s.broker.origin, derive(purpose));
  const payload = { identifier, ...more };
  const answer = await http.post(path, { command: 'disconnect', payload });
  assert.equal(answer.status, 201, answer.text);
}

for (const endpoint of ENDPOINTS) {
  for (const [more, reconnect] of [[{}, false], [{ reconnect: false }, false], [{ reconnect: true }, true]]) {
    scenario(`${endpoint[0]} ends all sessions of a user, ${JSON.stringify(more)}`, SECURE, async (s) => {
      const ann = [await connect(s, 'ann'), await connect(s, 'ann'), await connect(s, 'ann')];
      const bob = await connect(s, 'bob');
      await disconnect(s, ids('ann'), more, endpoint);
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

scenario('identifiers are compared as they are', SECURE, async (s) => {
  const ann = await connect(s, 'ann');
  for (const other of ['ann', '{ "user": "ann" }', '', '{}', `${ids('ann')} `]) await disconnect(s, other);
  await ann.settle();
  await disconnect(s, ids('ann'));
  await ann.hears({ type: 'disconnect' });
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
