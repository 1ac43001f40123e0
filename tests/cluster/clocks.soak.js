// The clock of the engine jumps.

import { cluster } from './support/cluster.js';
import { EngineClock } from './support/engine-clock.js';
import { FLAGS, jumps } from './support/jumps.js';

const clock = new EngineClock();

cluster('the engine’s clock jumps an hour ahead and back: nobody leaves, nothing expires early', FLAGS, async (c, a, b) => {
  await jumps(c, clock, a, b);
}, { env: clock.env });
