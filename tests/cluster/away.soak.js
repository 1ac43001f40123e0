// The engine is away while much is to be done: what waits for it takes a bounded amount of memory.

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { memory } from '../clients/support/vitals.js';
import { ROOM, cluster } from './support/cluster.js';

const MIB = 1024 * 1024;

/** A request's body, how many are sent, and how many at a time. */
const BYTES = MIB / 2;
const REQUESTS = 240;
const AT_A_TIME = 16;

/** What may wait and is being read, and once more in batches; the rest is the allocator's. */
const BOUND = 2 * (32 * MIB + AT_A_TIME * BYTES) + 24 * MIB;

cluster('while the engine is away, what waits for it is bounded, and the rest is refused', { 'engine-timeout': '1s' }, async (c, a) => {
  const watchers = await c.watchers();
  const { ann: [ann, identifier] } = await c.members(a, ['ann']);
  await a.http.publish(ROOM, 'before');
  const before = memory(a.broker);
  c.engine.pause();
  const data = 'x'.repeat(BYTES - 1000);
  const statuses = new Map();
  let peak = 0;
  let rest = REQUESTS;
  const publish = async () => {
    while (rest > 0) {
      rest -= 1;
      const { status } = await a.http.post('/_broadcast', { stream: `room/${rest % 64}`, data, meta: { transient: true } });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      peak = Math.max(peak, memory(a.broker) - before);
    }
  };
  // of clients, what isn't read waits with them
  for (let n = 0; n < 100; n += 1) ann.whisper(identifier, { n, data: 'x'.repeat(60_000) });
  await Promise.all(Array.from({ length: AT_A_TIME }, publish));
  assert.deepEqual([...statuses], [[503, REQUESTS]]);
  c.t.diagnostic(`${(peak / MIB).toFixed(0)} MiB more at most`);
  assert.ok(peak < BOUND, `${(peak / MIB).toFixed(0)} MiB more`);
  c.engine.resume();
  await until(() => a.http.publish(ROOM, 'after').then(() => true, () => false), 'changes are taken again', 20_000);
  await pass(500);
  await ann.settle(identifier);
  await c.check(watchers);
  const whispers = watchers[0].told.filter(({ message }) => message.data).map(({ message }) => message.n);
  assert.deepEqual(whispers, Array.from({ length: 100 }, (_, n) => n), 'what clients said meanwhile comes once, in order');
  for (const { leaves } of watchers) assert.deepEqual(leaves, []);
}, { nodes: 1 });
