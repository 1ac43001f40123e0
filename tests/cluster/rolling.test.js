// Deployments: all nodes are replaced one after the other, under load.

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { Load } from './support/load.js';
import { CableRoamer, PhoenixRoamer } from './support/roamer.js';
import { EACH, GONE, cluster } from './support/cluster.js';

/** Long enough to come back on a busy machine. */
const TTL = 4000;
const FLAGS = { 'presence-ttl': `${TTL}ms`, 'history-limit': 10_000, 'history-ttl': '1m' };

/** Each node with the others behind it. */
const turned = (nodes) => nodes.map((_, at) => [...nodes.slice(at), ...nodes.slice(0, at)]);

for (const [how, end, isParked, engines, flags = {}] of [
  ['stopped and started again', (node) => node.stop(), true, EACH],
  ['drained and started again', (node) => node.stop(), true, EACH, { 'shutdown-drain': '2s' }],
  ['killed and started again', (node) => node.kill(), false],
]) {
  cluster(`nodes are ${how}, one after the other: no member leaves, no publication is missed`, { ...FLAGS, ...flags }, async (c, ...nodes) => {
    const stays = await Promise.all(turned(nodes).map((order, at) => CableRoamer.enter(c, order, `cable ${at}`)));
    const phoenixes = await Promise.all(turned(nodes).map((order, at) => PhoenixRoamer.enter(c, order, `phoenix ${at}`)));
    const watchers = await Promise.all(turned(nodes).map((order) => CableRoamer.enter(c, order)));
    const ids = [0, 1, 2].flatMap((at) => [`cable ${at}`, `phoenix ${at}`]);
    await c.lists(ids);
    const load = Load.on(c, nodes);
    for (const node of nodes) {
      await pass(300);
      await end(node);
      await node.begin();
      await pass(300);
    }
    await load.end();
    await Promise.all(nodes.map((node, at) => node.kick(`guest ${at}`)));
    const listeners = [...stays, ...watchers];
    const end_ = { mark: 'the end' };
    await nodes[0].http.publish('room', end_);
    const isLast = ({ publications }) => publications.at(-1)?.message.mark === end_.mark;
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
  }, { engines });
}
