// A replica takes the place of Redis that nobody made the primary.

import { pass } from '../clients/support/patience.js';
import { cluster } from './support/cluster.js';
import { LONG, byName, nothingIsLost } from './support/failover.js';
import { Load } from './support/load.js';

cluster('a name that leads to a replica that was left alone for a while: nobody leaves, nothing is lost', LONG, async (c) => {
  const { primary, replica, leadTo } = await byName(c);
  const [a, b] = c.nodes;
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  await c.members(b, ['bob']);
  const load = Load.on(c);
  await pass(300);
  await replica.command('REPLICAOF', 'NO', 'ONE');
  await b.put('lamp');
  await pass(500);
  await primary.kill();
  leadTo(replica);
  await nothingIsLost(c, watchers, load);
}, { nodes: 0 });
