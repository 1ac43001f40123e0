// A node that stays with an old primary while the others go on with a new one. What it told its clients there, nobody else
// knows: it begins again by itself, and they are told what the others know.

import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BINARY } from '../clients/support/broker.js';
import { pass, until } from '../clients/support/patience.js';
import { identify } from '../clients/support/socket.js';
import { Tunnel } from '../clients/support/tunnel.js';
import { GONE, LOST, ROOM, cluster } from './support/cluster.js';
import { Redis } from './support/redis.js';
import { CableRoamer, PhoenixRoamer } from './support/roamer.js';

/** Long enough for a node to be away, to begin again, and for its clients to come back. */
const TTL = 12_000;
const FLAGS = { 'engine-timeout': '10s', 'presence-ttl': `${TTL}ms`, 'history-limit': 1000, 'history-ttl': '1m' };

/** A node that can be sent to another Redis: `[node, to]`. */
async function movable(c) {
  const target = { port: c.redis.port };
  const tunnel = await Tunnel.to(target);
  c.cleanup(() => tunnel.close());
  const to = (redis) => {
    target.port = redis.port;
    tunnel.reset();
  };
  return [await c.newNode(tunnel.server.address().port).begin(), to];
}

/** A replica of the cluster's Redis that has all it has. */
async function replica(c) {
  const redis = await Redis.start();
  c.cleanup(() => redis.kill());
  await redis.command('REPLICAOF', '127.0.0.1', String(c.redis.port));
  await until(async () => /master_link_status:up/.test(await redis.command('INFO', 'replication')), 'it has all');
  return redis;
}

/** Asks a node for what follows a position: the frames, and whether that could be had. */
async function historyAt(node, history) {
  const socket = await node.socket();
  const identifier = identify(ROOM);
  socket.send({ command: 'subscribe', identifier, history });
  await socket.hears({ type: 'confirm_subscription', identifier });
  const frames = [];
  for (;;) {
    const frame = await socket.hears({ identifier });
    if (frame.type === 'confirm_history') return { frames };
    if (frame.type === 'reject_history') return { isRefused: true };
    frames.push(frame);
  }
}

cluster('a node that was told what nobody else knows begins again, and its clients come back to what the others know', FLAGS, async (c) => {
  const [[a, move], ...others] = [await movable(c), await movable(c), await movable(c)];
  const [b, d] = others.map(([node]) => node);
  const redis = await replica(c);
  const watchers = await c.watchers([b, d]);
  const cable = await CableRoamer.enter(c, [a], 'ann');
  const phoenix = await PhoenixRoamer.enter(c, [a], 'pia');
  const [own] = await a.member(ROOM, 'una');
  await c.members(b, ['dan']);
  await c.lists(['ann', 'pia', 'una', 'dan']);
  await b.http.publish(ROOM, 'before');
  const before = await own.hears({ message: 'before' });

  await redis.command('REPLICAOF', 'NO', 'ONE');
  for (const [, moveOther] of others) moveOther(redis);
  await until(() => b.http.publish(ROOM, 'told to the others').then(() => true, () => false), 'the others go on');
  for (let n = 0; n < 5; n += 1) await a.http.publish(ROOM, 'told to one');
  await a.put('ghost');
  await until(async () => (await a.http.ids(ROOM)).includes('ghost'), 'it tells what nobody else knows');
  const [beyond] = [0, 1, 2, 3, 4].map(() => own.hears({ message: 'told to one' })).reverse();
  const fork = await beyond;
  assert.equal(fork.epoch, before.epoch);

  const { pid } = a.broker;
  move(redis);
  assert.deepEqual(await own.hears({ type: 'disconnect' }), { type: 'disconnect', reason: 'server_restart', reconnect: true });
  await a.hasBegunAgain();
  assert.equal(a.broker.pid, pid);
  assert.ok(a.broker.running, 'the process is the same');
  await a.broker.logs('this node closes its connections and begins again as a new one');
  assert.match(a.broker.log, /ERROR.*the log is lost/);
  await a.counts({ [LOST]: 1, broker_cluster_members: 3 });
  await b.counts({ [LOST]: 0, broker_cluster_members: 3 });

  await until(() => cable.moves > 0, 'the stock client is back');
  assert.equal(cable.restored, 0, 'with a session of its own');
  await c.members(a, ['una']);
  await c.lists(['ann', 'pia', 'una', 'dan']);
  await b.http.publish(ROOM, 'after');
  await until(() => cable.publications.at(-1)?.message === 'after', 'it hears what follows');
  assert.ok(cable.missed > 0, 'it was told that it may have missed something');
  await phoenix.topic.sees({ ann: 1, pia: 1, una: 1, dan: 1 });

  const known = await watchers[0].hearsPublication('told to the others');
  const positionOf = ({ epoch, offset }) => ({ streams: { [ROOM]: { epoch, offset } } });
  for (const node of [a, b, d]) {
    assert.deepEqual(await historyAt(node, positionOf(fork)), { isRefused: true }, 'a position that nobody else knows');
    assert.deepEqual(await historyAt(node, positionOf(before)), { isRefused: true });
    const { frames } = await historyAt(node, positionOf(known));
    assert.deepEqual(frames.map(({ message }) => message), ['after']);
  }
  await pass(GONE + TTL + 500);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, []);
  await c.lists(['ann', 'pia', 'una', 'dan']);
}, { nodes: 0, timeout: 120_000 });

/** Has nodes find another log in the place of one of theirs, by the number of the time. */
async function losing(c) {
  const key = await c.redis.keyOf(c.flags['cluster-name'], 0);
  return (time) => c.redis.command('HSET', `${key}:meta`, 'id', String(time));
}

cluster('a node that is lost again and again waits longer each time, and stops when it is told to', {}, async (c, a) => {
  const lose = await losing(c);
  const { pid } = a.broker;
  for (const [times, wait] of [[1, '0s'], [2, '1s']]) {
    await lose(times);
    await a.broker.logs(`wait=${wait}`);
    await a.hasBegunAgain(times);
  }
  assert.equal(a.broker.pid, pid);
  await lose(3);
  await a.broker.logs('wait=2s');
  await a.isHealthy(503);
  assert.equal((await a.http.request('/live')).status, 200);
  await a.stop();
}, { nodes: 1 });

/** Another file takes the place of one. */
function replace(file, text, mode) {
  writeFileSync(`${file}.new`, text, { mode });
  renameSync(`${file}.new`, file);
}

/** A node of a program of its own, whose file changes before the node is lost. */
async function lostAfter(c, change) {
  const dir = mkdtempSync(join(tmpdir(), 'broker-file-'));
  c.cleanup(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'broker');
  copyFileSync(BINARY, file);
  const node = await c.newNode(undefined, { binary: file }).begin();
  change(file);
  await (await losing(c))(1);
  return node;
}

for (const [what, change, saysSo] of [
  ['replaced by another one: that is what begins', (file) => replace(file, `#!/bin/sh\necho new >&2\nexec ${BINARY} "$@"\n`, 0o755), true],
  ['removed: the program that ran begins', unlinkSync, false],
]) {
  cluster(`the file of a node that is lost was ${what}`, {}, async (c) => {
    const node = await lostAfter(c, change);
    const { pid } = node.broker;
    await node.broker.logs('begins again as a new one');
    await node.hasBegunAgain();
    assert.equal(node.broker.pid, pid);
    assert.ok(node.broker.running, 'the process is the same');
    assert.equal(/^new$/m.test(node.broker.log), saysSo);
  }, { nodes: 0 });
}

cluster('the file of a node that is lost was replaced by one that can’t be run: its process ends and says so', {}, async (c) => {
  const { broker } = await lostAfter(c, (file) => replace(file, 'no program', 0o644));
  assert.deepEqual(await broker.exited(), { code: 1, signal: null });
  assert.match(broker.log, /ERROR this node can't begin again by itself: start it anew error=\S+\/broker can't be run: /);
}, { nodes: 0 });
