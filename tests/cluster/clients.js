// The clients' tests once more, with an engine: each broker that they start is the one node of a cluster of its own, on a
// server that this starts. Such a node has to show what one without an engine shows, but for `DIFFERENCES`.
//
//   BROKER_BIN=target/debug/broker ENGINE=nats node tests/cluster/clients.js presence.test.js order.test.js

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { run } from 'node:test';
import { spec as Spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { DIFFERENCES, FORGETTING } from './support/differences.js';
import { Nats } from './support/nats.js';
import { Redis } from './support/redis.js';

const ENGINES = { redis: Redis, nats: Nats };
const CONCURRENCY = 6;

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const folder = here('../clients');
const chosen = process.argv.slice(2);
const files = (chosen.length > 0 ? chosen : readdirSync(folder).filter((name) => name.endsWith('.test.js')))
  .map((name) => join(folder, basename(name)));

const engine = await ENGINES[process.env.ENGINE ?? 'redis'].start();
const flags = Object.entries(engine.flags(engine.port)).map(([name, value]) => `--${name}=${value}`);
process.env.NODE_ENGINE_FLAGS = flags.join(' ');
process.env.NODE_BIN = process.env.BROKER_BIN ?? here('../../target/debug/broker');
process.env.BROKER_BIN = here('./support/one-node.sh');
process.env.FORGETTING = FORGETTING;

const passed = new Set();
/** What was wrong, by test. */
const failed = new Map();

const tests = run({ files, concurrency: CONCURRENCY });
tests.on('test:pass', ({ name }) => passed.add(name));
tests.on('test:fail', ({ name, details: { error } }) => failed.set(name, inspect(error.cause ?? error, { depth: 5 })));
tests.compose(new Spec()).pipe(process.stdout);
await once(tests, 'end');
await engine.end();

const expected = new Map(DIFFERENCES.flatMap(({ names, ...difference }) => names.map((name) => [name, difference])));
const isExpected = ([name, error]) => expected.get(name)?.error.test(error);
const is = [...failed].filter(isExpected);
const faults = [...failed].filter((one) => !isExpected(one));
const past = [...expected.keys()].filter((name) => passed.has(name));
const say = (what, names) => names.length > 0 && console.log(`\n${what}\n${names.map((name) => `  ${name}`).join('\n')}`);
say('different with an engine, as expected:', is.map(([name]) => `${name}: ${expected.get(name).why}`));
say('no longer different (remove it from support/differences.js):', past);
say('different with an engine:', faults.map(([name]) => name));
console.log(`\n${passed.size} tests show the same with ${engine.name} as without an engine, ${failed.size} another thing`);
process.exitCode = faults.length + past.length > 0 || passed.size === 0 ? 1 : 0;
