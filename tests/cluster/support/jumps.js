// A clock that jumps while clients come and go: nobody leaves, and everything takes as long as ever.

import assert from 'node:assert/strict';
import { pass } from '../../clients/support/patience.js';
import { ROOM, TTL, leaveBetween } from './cluster.js';
import { Load } from './load.js';

const STEPS = ['+1h', '-1h', '+0'];
/** Of the nodes. */
export const FLAGS = { 'node-lease': '2s', 'engine-timeout': '10s', 'history-ttl': '20s' };

/** What `clock` does, as members of the nodes `a` and `b` see it. */
export async function jumps(c, clock, a, b) {
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  const ghosts = await c.members(b, STEPS.map((_, at) => `ghost ${at}`));
  await a.put('lamp', { ttl: '10m' });
  const load = Load.on(c);
  for (const [at, step] of STEPS.entries()) {
    clock.set(step);
    await pass(300);
    const since = performance.now();
    ghosts[`ghost ${at}`][0].terminate();
    await a.put(`bell ${at}`, { ttl: '1500ms' });
    await leaveBetween(watchers, [`ghost ${at}`], since, TTL, TTL);
    await leaveBetween(watchers, [`bell ${at}`], since, 1500, 1500);
  }
  await load.end();
  await c.check(watchers);
  for (const watcher of watchers) {
    load.isIn(watcher);
    const expected = STEPS.flatMap((_, at) => [`ghost ${at}`, `bell ${at}`]);
    assert.deepEqual(watcher.leaves.filter((id) => !id.startsWith('guest')), expected);
  }
  for (const { broker } of c.nodes) assert.doesNotMatch(broker.log, /counts as dead|believed this one dead/);
  const [{ publications }] = watchers;
  for (const node of c.nodes) {
    const kept = (await node.http.metrics()).get('broker_history_publications');
    assert.equal(kept, Math.min(100, publications.length), 'the history is kept');
  }
}
