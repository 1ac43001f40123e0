// Deployments: all nodes are replaced one after the other, under load.

import { EACH, cluster } from './support/cluster.js';
import { FLAGS, underLoad } from './support/rolling.js';

for (const [how, end, isParked, engines, flags = {}] of [
  ['stopped and started again', (node) => node.stop(), true, EACH],
  ['drained and started again', (node) => node.stop(), true, EACH, { 'shutdown-drain': '2s' }],
  ['killed and started again', (node) => node.kill(), false],
]) {
  cluster(`nodes are ${how}, one after the other: no member leaves, no publication is missed`, { ...FLAGS, ...flags }, async (c, ...nodes) => {
    const restart = (node) => async () => {
      await end(node);
      await node.begin();
    };
    await underLoad(c, nodes, nodes.map(restart), { isParked });
  }, { engines });
}
