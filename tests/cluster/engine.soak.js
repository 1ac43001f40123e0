// What takes longer about a Redis that isn't there.

import assert from 'node:assert/strict';
import { pass } from '../clients/support/patience.js';
import { cluster } from './support/cluster.js';

cluster('the log says every 10 s that Redis isn’t there', {}, async (c) => {
  await c.redis.kill();
  const { broker } = await c.newNode().spawn();
  await pass(25_000);
  const lines = broker.log.split('\n').filter((line) => /WARN.*Redis at/.test(line));
  assert.equal(lines.length, 3, lines.join('\n'));
}, { nodes: 0 });
