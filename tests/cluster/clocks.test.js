// The clocks of nodes jump, or are wrong: nobody leaves, and everything takes as long as ever.

import assert from 'node:assert/strict';
import { WallClock } from '../clients/support/wallclock.js';
import { ROOM, cluster, leaveBetween } from './support/cluster.js';
import { FLAGS, jumps } from './support/jumps.js';

const clock = new WallClock();
const late = new WallClock();
process.once('exit', () => {
  for (const one of [clock, late]) one.remove();
});

cluster('a node’s clock jumps an hour ahead and back: nobody leaves, nothing expires early', FLAGS, async (c, b) => {
  const a = await c.newNode(c.engine.port, { env: clock.env }).begin();
  await jumps(c, clock, a, b);
}, { nodes: 2 });

cluster('nodes whose clocks are an hour apart are one broker', FLAGS, async (c, b) => {
  clock.set('-1h');
  const a = await c.newNode(c.engine.port, { env: clock.env }).begin();
  late.set('+1h');
  const d = await c.newNode(c.engine.port, { env: late.env }).begin();
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  await a.http.publish(ROOM, 1);
  await d.put('bell', { info: {}, ttl: '1500ms' });
  await Promise.all(watchers.map((watcher) => watcher.hears('join', 'bell')));
  const since = performance.now();
  await d.http.publish(ROOM, 2);
  await leaveBetween(watchers, ['bell'], since, 1400, 1500);
  const second = Math.floor(Date.now() / 1000) - 10;
  for (const node of [a, b, d]) {
    const socket = await node.socket();
    const identifier = await socket.subscribe(ROOM);
    socket.send({ command: 'history', identifier, history: { since: second } });
    await socket.hears({ type: 'confirm_history', identifier });
    await socket.settle(identifier);
    assert.deepEqual(socket.unheard.filter(({ offset }) => offset).map(({ message }) => message), [1, 2]);
  }
  await c.check(watchers);
}, { nodes: 1 });
