// The application ends a user's sessions: at whatever node they are, whichever node it asks.

import assert from 'node:assert/strict';
import { cableTo, next } from '../clients/support/anycable.js';
import { Http } from '../clients/support/http.js';
import { pass, within } from '../clients/support/patience.js';
import { phoenixSocketTo } from '../clients/support/phoenix.js';
import { SECRET, derive, token } from '../clients/support/sign.js';
import { EARLY, GONE, ROOM, THERE, cluster } from './support/cluster.js';

const SECURE = { secret: SECRET, 'public-streams': true, 'presence-id-claim': 'sub' };

const ids = (user) => JSON.stringify({ user });
const jid = (user, sub = user) => `jid=${token({ ext: ids(user), sub })}`;
const connect = (node, user, sub) => node.socket(`/cable?${jid(user, sub)}`);

/** Connections of a user, one at each of the nodes. */
const connectAll = (nodes, user, sub) => Promise.all(nodes.map((node) => connect(node, user, sub)));

const ending = (payload) => ({ command: 'disconnect', payload });

const keyed = (node, purpose) => new Http(node.broker.origin, derive(purpose));
const post = (node, body) => keyed(node, 'broadcast-cable').post('/_broadcast', body);

/** Ends sessions by asking a node; gives how many. */
async function disconnect(node, payload) {
  const { status, text, json } = await post(node, ending(payload));
  assert.equal(status, 201, text);
  return json.disconnected;
}

/** Waits until a node has that many parked sessions. */
function parked(node, count) {
  node.http = keyed(node, 'metrics-cable');
  return node.counts({ broker_sessions_parked: count });
}

for (const reconnect of [false, true]) {
  cluster(`all sessions of a user end at all nodes, reconnect: ${reconnect}`, SECURE, async (c, ...nodes) => {
    const byIdentifier = await connectAll(nodes, 'ann', '1');
    const byId = await connectAll(nodes, 'other', '42');
    const away = await connectAll(nodes, 'ann', '42');
    const bobs = await connectAll(nodes, 'bob');
    for (const socket of away) {
      await socket.subscribe(ROOM);
      socket.terminate();
    }
    await Promise.all(nodes.map((node) => parked(node, 1)));
    const [a, b] = nodes;
    assert.equal(await disconnect(a, { identifier: ids('nobody'), presence_id: '0' }), 0);
    assert.equal(await disconnect(b, { identifier: ids('ann'), presence_id: '42', reconnect }), 9);
    for (const socket of [...byIdentifier, ...byId]) {
      assert.deepEqual(await socket.hears({ type: 'disconnect' }), { type: 'disconnect', reason: 'remote', reconnect });
      assert.equal((await socket.closing()).code, 1000);
    }
    await Promise.all(nodes.map((node) => parked(node, 0)));
    for (const [at, node] of nodes.entries()) {
      const back = await node.open(`/cable?sid=${away[at].sid}&${jid('ann', '42')}`);
      assert.equal((await back.hears({ type: 'welcome' })).restored, undefined);
    }
    for (const bob of bobs) await bob.settle();
    assert.equal(await disconnect(a, { identifier: ids('ann') }), 3);
  });

  cluster(`@anycable/core at another node ${reconnect ? 'comes back' : 'stays away'}`, SECURE, async (c, a, b) => {
    const cable = cableTo(b, { auth: { token: token({ ext: ids('ann') }) }, logLevel: 'none' });
    await within(cable.connect(), 'the connection');
    const told = next(cable, reconnect ? 'disconnect' : 'close');
    const back = reconnect ? next(cable, 'connect') : pass(400);
    assert.equal(await disconnect(a, { identifier: ids('ann'), reconnect }), 1);
    assert.equal((await told).reason, 'remote');
    await back;
    assert.equal(cable.state, reconnect ? 'connected' : 'closed');
  }, { nodes: 2 });
}

cluster('what was published before comes before the end at all nodes, and nothing behind it', SECURE, async (c, ...nodes) => {
  const streams = Array.from({ length: 20 }, (_, n) => `room/${n}`);
  const saying = (text) => streams.map((stream) => ({ stream, data: JSON.stringify(text) }));
  for (let round = 0; round < 12; round += 1) {
    const sockets = await connectAll(nodes, 'ann');
    for (const socket of sockets) for (const stream of streams) await socket.subscribe(stream);
    const asked = nodes[round % nodes.length];
    assert.equal((await post(asked, saying('earlier'))).status, 201);
    const { status, json } = await post(asked, [...saying('before'), ending({ identifier: ids('ann') }), ...saying('after')]);
    assert.deepEqual([status, json], [201, { disconnected: nodes.length }]);
    for (const socket of sockets) {
      await socket.closing();
      const frames = socket.transcript.map((text) => JSON.parse(text));
      for (const text of ['earlier', 'before', 'after']) {
        const heard = frames.filter(({ message }) => message === text).length;
        assert.equal(heard, text === 'after' ? 0 : streams.length, `${text} in round ${round}`);
      }
      assert.equal(frames.at(-1).type, 'disconnect');
    }
  }
});

cluster('clients of other protocols are ended, too', { public: true, 'broadcast-key': derive('broadcast-cable') }, async (c, a, b) => {
  const phoenix = await phoenixSocketTo(b, 'vsn=2.0.0&user_id=42');
  assert.equal(await disconnect(a, { presence_id: '42' }), 1);
  assert.equal((await phoenix.closing()).code, 1000);
}, { nodes: 2 });

cluster('a killed node isn’t waited for once its lease is over', SECURE, async (c, a, b, d) => {
  const [first, second] = await connectAll([a, b, d], 'ann');
  const since = performance.now();
  await d.kill();
  assert.equal(await disconnect(a, { identifier: ids('ann') }), 2);
  assert.ok(performance.now() - since >= THERE - EARLY, 'until then it might have answered');
  for (const socket of [first, second]) await socket.hears({ type: 'disconnect', reason: 'remote' });
});

cluster('a node that is stopped isn’t waited for', { ...SECURE, 'node-lease': '30s' }, async (c, a, b, d) => {
  const [first, second] = await connectAll([a, b, d], 'ann');
  const [count] = await Promise.all([disconnect(a, { identifier: ids('ann') }), d.stop()]);
  assert.ok(count === 2 || count === 3, `${count} were ended`);
  for (const socket of [first, second]) await socket.hears({ type: 'disconnect', reason: 'remote' });
});

cluster('whoever has to wait longer than the timeout is told so', { ...SECURE, 'node-lease': '30s', 'engine-timeout': '1s' }, async (c, a, b, d) => {
  const [first, second, third] = await connectAll([a, b, d], 'ann');
  await d.broker.pause();
  const { status, json } = await post(a, ending({ identifier: ids('ann') }));
  assert.equal(status, 503);
  assert.match(json.error, /may happen all the same/);
  for (const socket of [first, second]) await socket.hears({ type: 'disconnect', reason: 'remote' });
  d.broker.kill('SIGCONT');
  await third.hears({ type: 'disconnect', reason: 'remote' });
});

cluster('a node that was believed dead ends its sessions when it goes on', SECURE, async (c, a, b) => {
  const [, late] = await connectAll([a, b], 'ann');
  await b.broker.pause();
  await pass(GONE);
  assert.equal(await disconnect(a, { identifier: ids('ann') }), 1);
  b.broker.kill('SIGCONT');
  await late.hears({ type: 'disconnect', reason: 'remote' });
}, { nodes: 2 });

cluster('a disconnect that was refused while its node was cut off never happens', { ...SECURE, 'engine-timeout': '1s' }, async (c, b) => {
  const [a, tunnel] = await c.addBehindTunnel();
  const sockets = await connectAll([a, b], 'ann');
  tunnel.lose();
  tunnel.shut();
  const { status, text } = await post(a, ending({ identifier: ids('ann') }));
  assert.equal(status, 503, text);
  await pass(GONE + 500);
  tunnel.open();
  await a.isHealthy();
  assert.equal(await disconnect(b, { identifier: ids('bob') }), 0); // comes behind
  for (const socket of sockets) await socket.settle();
  assert.equal(await disconnect(a, { identifier: ids('ann') }), 2);
}, { nodes: 1 });
