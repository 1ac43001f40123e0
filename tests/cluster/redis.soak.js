// More ways in which Redis refuses than `redis.test.js` has.

import { refuses } from './support/refusals.js';

refuses('permits no channels any more');
refuses('pauses its clients');
refuses('pauses writes');
refuses('sleeps');
