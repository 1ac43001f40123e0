// NATS' streams are purged under load. A node that hasn't read everything then begins again, now and then.

import { recover } from './support/recover.js';
import { cluster } from './support/cluster.js';
import { Nats } from './support/nats.js';

cluster('NATS is purged under load: nobody leaves, nothing is lost', { 'engine-timeout': '10s', 'node-lease': '5s' }, async (c, a) => {
  await recover(c, a, (engine) => engine.empty());
}, { engines: [Nats] });
