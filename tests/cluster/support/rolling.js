// Nodes are replaced one after the other, under load: no member leaves, no publication is missed.

import assert from 'node:assert/strict';
import { pass, until } from '../../clients/support/patience.js';
import { GONE } from './cluster.js';
import { Load } from './load.js';
import { CableRoamer, PhoenixRoamer } from './roamer.js';

/** Long enough to come back on a busy machine. */
const TTL = 4000;

/** The flags of each node. */
export const FLAGS = { 'presence-ttl': `${TTL}ms`, 'history-limit': 10_000, 'history-ttl': '1m' };

/** Each node with the others behind it. */
const turned = (nodes) => nodes.map((_, at) => [...nodes.slice(at), ...nodes.slice(0, at)]);

/**
 * Does the `steps`, one after the other, each of which replaces some of the nodes. Stock clients at each of them notice
 * nothing; if their sessions are parked at the ends of nodes, these go along.
 */
export async function underLoad(c, nodes, steps, { isParked }) {
  const stays = await Promise.all(turned(nodes).map((order, at) => CableRoamer.enter(c, order, `cable ${at}`)));
  const phoenixes = await Promise.all(turned(nodes).map((order, at) => PhoenixRoamer.enter(c, order, `phoenix ${at}`)));
  const watchers = await Promise.all(turned(nodes).map((order) => CableRoamer.enter(c, order)));
  const ids = [0, 1, 2].flatMap((at) => [`cable ${at}`, `phoenix ${at}`]);
  await c.lists(ids);
  const load = Load.on(c, nodes);
  for (const step of steps) {
    await pass(300);
    await step();
    await pass(300);
    // npm @anycable/core closes a channel for good whose subscribe was under way when its connection ended
    await until(() => [...stays, ...watchers].every(({ channel }) => channel.state === 'connected'), 'all follow again');
  }
  await load.end();
  await Promise.all(nodes.map((node, at) => node.kick(`guest ${at}`)));
  const listeners = [...stays, ...watchers];
  const end = { mark: 'the end' };
  await nodes[0].http.publish('room', end);
  const isLast = ({ publications }) => publications.at(-1)?.message.mark === end.mark;
  await until(() => listeners.every(isLast), 'all were told the last publication');
  await pass(GONE + TTL + 500);
  for (const listener of listeners) {
    assert.ok(listener.moves > 0, 'it has moved');
    if (isParked) assert.equal(listener.restored, listener.moves, 'its session has come along');
    assert.deepEqual(listener.leaves.filter((id) => ids.includes(id)), []);
    load.wasTold(listener.publications.slice(0, -1).map(({ message }) => message.number), listener.id ?? 'a watcher');
    listener.isGapless();
  }
  for (const { leaves } of phoenixes) assert.deepEqual(leaves.filter((id) => ids.includes(id)), []);
  for (const { topic } of phoenixes) await topic.sees(Object.fromEntries(ids.map((id) => [id, 1])));
  await c.lists(ids);
}
