// Sessions that are taken up again at another node: once, with all they had, and nobody else hears of it.

import assert from 'node:assert/strict';
import { cableTo, cut, follow, next } from '../clients/support/anycable.js';
import { Http } from '../clients/support/http.js';
import { pass, until } from '../clients/support/patience.js';
import { SECRET, derive, token } from '../clients/support/sign.js';
import { identify } from '../clients/support/socket.js';
import { Tunnel } from '../clients/support/tunnel.js';
import { ROOM, cluster } from './support/cluster.js';
import { CableRoamer } from './support/roamer.js';

/** Long enough to come back on a busy machine. */
const FLAGS = { 'presence-ttl': '4s', 'history-limit': 1000, 'history-ttl': '1m' };

/** How long it may take at most until a node that doesn't answer is waited for no longer, in ms. */
const PARTING = 2000;

/** Connects to a node and asks for a session; gives the socket and its welcome. */
async function resume(node, sid, query = '') {
  const socket = await node.open(`/cable?sid=${sid}&${query}`);
  const welcome = await socket.hears({ type: 'welcome' });
  socket.sid = welcome.sid;
  return [socket, welcome];
}

/** A client that is present in the room and follows other streams, in several partitions; and its identifiers. */
async function follower(node, id) {
  const [socket, room] = await node.member(ROOM, id);
  const others = [];
  for (let n = 0; n < 6; n += 1) others.push(await socket.subscribe(`${id}/${n}`));
  return [socket, [room, ...others]];
}

/** It has been restored with all it followed, under a new sid. */
function isRestored(welcome, identifiers, sid) {
  assert.deepEqual([...(welcome.restored_ids ?? [])].sort(), [...identifiers].sort());
  assert.equal(welcome.restored, true);
  assert.notEqual(welcome.sid, sid);
}

/** Asks for what was published behind a position; nothing of it comes twice. */
async function catchUp(socket, { epoch, offset }, messages) {
  const identifier = identify(ROOM);
  socket.send({ command: 'history', identifier, history: { streams: { [ROOM]: { epoch, offset } } } });
  await socket.hears({ type: 'confirm_history', identifier });
  await socket.settle(identifier);
  const told = socket.transcript.map((text) => JSON.parse(text)).filter((frame) => frame.offset > offset);
  assert.deepEqual(told.map((frame) => [frame.offset, frame.message]), messages.map((message, at) => [offset + 1 + at, message]));
}

/** Nobody saw these members come a second time, or go. */
async function unnoticed(c, watchers, ids) {
  await pass(4000 + 1500); // longer than the TTL
  await c.check(watchers);
  for (const { events } of watchers) {
    for (const id of ids) {
      const story = events.filter((event) => event.id === id).map(({ type }) => type);
      assert.deepEqual(story, ['join'], id);
    }
  }
}

for (const [how, end] of [
  ['was cut', async (ann, a) => {
    ann.terminate();
    await a.connections(1); // its watcher
  }],
  ['is still there', async () => {}],
  ['was closed as its node stopped', async (ann, a) => {
    await a.stop();
    assert.deepEqual(await ann.closing(), { code: 1001, reason: 'server_restart' });
    assert.ok(!ann.transcript.some((text) => text.includes('disconnect')), 'else a client drops its sid');
  }],
]) {
  cluster(`a session whose connection ${how} goes on at another node`, FLAGS, async (c, a, b, d) => {
    const watchers = await c.watchers([b, d]);
    const own = await a.watcher();
    const [ann, identifiers] = await follower(a, 'ann');
    await b.http.publish(ROOM, 'before');
    const position = await ann.hears({ message: 'before' });
    await end(ann, a);
    await d.http.publish(ROOM, 'meanwhile');
    await b.member(ROOM, 'bob');
    const [back, welcome] = await resume(b, ann.sid);
    isRestored(welcome, identifiers, ann.sid);
    if (how === 'is still there') {
      const farewell = { type: 'disconnect', reason: 'resumed', reconnect: false };
      assert.deepEqual(await ann.hears({ type: 'disconnect' }), farewell);
      assert.deepEqual(await ann.closing(), { code: 1000, reason: 'resumed' });
    } else {
      // its own join comes again if it wasn't confirmed yet
      await until(async () => (await back.hearsPresence(identify(ROOM), 'join')).id === 'bob', 'bob has joined');
    }
    await catchUp(back, position, ['meanwhile']);
    await d.http.publish(ROOM, 'after');
    await back.hears({ identifier: identify(ROOM), message: 'after' });
    await d.http.publish('ann/3', 'other');
    await back.hears({ identifier: identifiers[4], message: 'other' });
    assert.deepEqual((await back.list(identify(ROOM))).map(({ id }) => id), ['ann', 'bob']);
    for (const node of c.nodes.filter(({ broker }) => broker.running)) {
      const [, again] = await resume(node, ann.sid);
      assert.equal(again.restored, undefined, 'a sid works once');
    }
    await unnoticed(c, watchers, ['ann', 'bob']);
    if (own.isOpen) assert.deepEqual(own.leaves, []);
    back.leave(identify(ROOM));
    await Promise.all(watchers.map((watcher) => watcher.hearsLeave('ann')));
  });
}

cluster('a session goes from node to node as they are stopped and started again', FLAGS, async (c, ...nodes) => {
  let [ann, identifiers] = await follower(nodes[0], 'ann');
  await nodes[0].http.publish(ROOM, 'first');
  let position = await ann.hears({ message: 'first' });
  for (let round = 0; round < 6; round += 1) {
    const [from, to] = [nodes[round % 3], nodes[(round + 1) % 3]];
    await from.stop();
    await to.http.publish(ROOM, round);
    const [back, welcome] = await resume(to, ann.sid);
    isRestored(welcome, identifiers, ann.sid);
    await catchUp(back, position, [round]);
    position = { ...position, offset: position.offset + 1 };
    ann = back;
    await from.begin();
  }
  const watcher = await nodes[0].watcher();
  assert.deepEqual(watcher.members.map(({ id }) => id), ['ann']);
  await pass(4000 + 1500);
  await c.check([watcher]);
  assert.deepEqual(watcher.events, []);
});

cluster('all sessions of a node that stops go on at the others', FLAGS, async (c, a, b, d) => {
  const watchers = await c.watchers([b, d]);
  const ids = Array.from({ length: 40 }, (_, n) => `m${n}`);
  const followers = await Promise.all(ids.map((id) => follower(a, id)));
  await c.lists(ids);
  await a.stop();
  await Promise.all(followers.map(async ([{ sid }, identifiers], at) => {
    const [, welcome] = await resume(at % 2 ? b : d, sid);
    isRestored(welcome, identifiers, sid);
  }));
  await unnoticed(c, watchers, ids);
});

cluster('of many connections that want a session at once, one gets it', FLAGS, async (c, a, b, d) => {
  for (const end of [() => {}, () => a.stop()]) {
    const [ann] = await follower(a, 'ann');
    const [watcher] = await c.watchers([b]);
    await end();
    const nodes = c.nodes.filter(({ broker }) => broker.running);
    const asked = Array.from({ length: 40 }, (_, n) => resume(nodes[n % nodes.length], ann.sid));
    const got = (await Promise.all(asked)).filter(([, welcome]) => welcome.restored);
    assert.equal(got.length, 1);
    assert.equal(got[0][1].restored_ids.length, 7);
    await c.check([watcher]);
    got[0][0].leave(identify(ROOM));
    await watcher.hearsLeave('ann');
  }
});

cluster('the client of AnyCable goes on at another node when it was cut', FLAGS, async (c, ...nodes) => {
  const watchers = await c.watchers();
  const roamer = await CableRoamer.enter(c, nodes, 'ann');
  const sent = [];
  for (let round = 0; round < 6; round += 1) {
    const back = next(roamer.cable, 'connect');
    cut(roamer.cable);
    sent.push({ round });
    await nodes[round % 3].http.publish(ROOM, { round });
    assert.deepEqual(await back, { reconnect: true, restored: true }, `round ${round}`);
  }
  await until(() => roamer.publications.length === sent.length, 'it was told everything');
  assert.deepEqual(roamer.publications.map(({ message }) => message), sent);
  roamer.isGapless();
  assert.deepEqual(roamer.leaves, []);
  await unnoticed(c, watchers, ['ann']);
});

cluster('the client of AnyCable goes on at another node while its own believes that it is there', FLAGS, async (c, a, b) => {
  const watchers = await c.watchers();
  const tunnel = await Tunnel.to(a.broker);
  c.cleanup(() => tunnel.close());
  const cable = cableTo(c, {}, tunnel.url());
  const channel = await follow(cable, ROOM);
  const messages = [];
  channel.on('message', (message) => messages.push(message));
  await channel.presence.join('ann', {});
  await Promise.all(watchers.map((watcher) => watcher.hears('join', 'ann')));
  const back = next(cable, 'connect');
  tunnel.lose();
  await a.http.publish(ROOM, 'lost');
  const url = new URL(cable.transport.url);
  url.host = b.broker.origin;
  cable.transport.setURL(url.href);
  cut(cable);
  assert.deepEqual(await back, { reconnect: true, restored: true });
  await b.http.publish(ROOM, 'after');
  await until(() => messages.length === 2, 'it was told everything');
  assert.deepEqual(messages, ['lost', 'after']);
  await a.connections(1); // its watcher: the old one is closed
  await unnoticed(c, watchers, ['ann']);
});

const SECURE = { ...FLAGS, secret: SECRET, 'public-streams': true, 'presence-id-claim': 'sub' };
const ids = (user) => JSON.stringify({ user });
const jid = (user) => `jid=${token({ ext: ids(user), sub: user })}`;

cluster('a session is its owner’s at every node', SECURE, async (c, a, b) => {
  const ann = await a.socket(`/cable?${jid('ann')}`);
  const away = await a.socket(`/cable?${jid('ann')}`);
  for (const socket of [ann, away]) await socket.subscribe(ROOM);
  const denied = async (sid) => assert.equal((await resume(b, sid, jid('bob')))[1].restored, undefined);
  await denied(ann.sid);
  await ann.settle();
  assert.equal((await resume(b, ann.sid, jid('ann')))[1].restored, true);
  await a.stop();
  await denied(away.sid);
  assert.equal((await resume(b, away.sid, jid('ann')))[1].restored, true);
  const metrics = await new Http(b.broker.origin, derive('metrics-cable')).metrics();
  assert.equal(metrics.get('broker_resumes_total{outcome="resumed"}'), 2);
  assert.equal(metrics.get('broker_resumes_total{outcome="denied"}'), 1, 'the living node says no more than no');
}, { nodes: 2 });

cluster('what the application ends is not resumed, be its node gone', SECURE, async (c, a, b, d) => {
  const sockets = await Promise.all([1, 2].map(() => a.socket(`/cable?${jid('ann')}`)));
  const bob = await a.socket(`/cable?${jid('bob')}`);
  for (const socket of [...sockets, bob]) await socket.subscribe(ROOM);
  await a.stop();
  const http = new Http(b.broker.origin, derive('broadcast-cable'));
  const payload = { identifier: ids('ann') };
  const answer = await http.post('/_broadcast', { command: 'disconnect', payload });
  assert.deepEqual([answer.status, answer.json], [201, { disconnected: 2 }]);
  for (const { sid } of sockets) {
    for (const node of [b, d]) assert.equal((await resume(node, sid, jid('ann')))[1].restored, undefined);
  }
  assert.equal((await resume(d, bob.sid, jid('bob')))[1].restored, true);
  assert.deepEqual((await http.post('/_broadcast', { command: 'disconnect', payload })).json, { disconnected: 4 });
});

cluster('of a killed node, what was parked is resumed, and the rest begins anew', { ...FLAGS, 'node-lease': '30s' }, async (c, a, b, d) => {
  const watchers = await c.watchers([b, d]);
  const [ann] = await follower(a, 'ann');
  const [bob, identifiers] = await follower(a, 'bob');
  await c.lists(['ann', 'bob']);
  bob.terminate();
  await a.counts({ broker_connections: 1, broker_sessions_parked: 1 });
  await a.kill();
  const since = performance.now();
  const [[back, plain], [, restored]] = await Promise.all([resume(b, ann.sid), resume(d, bob.sid)]);
  assert.ok(performance.now() - since < PARTING + 1500, 'a dead node isn’t waited for long');
  assert.equal(plain.restored, undefined);
  isRestored(restored, identifiers, bob.sid);
  const room = await back.subscribe(ROOM);
  back.join(room, 'ann', {});
  await unnoticed(c, watchers, ['ann', 'bob']);
});
