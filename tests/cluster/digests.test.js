// Nodes compare what they have, through the log: those that have the same are silent, and a difference is told and counted.

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { Load } from './support/load.js';
import { ROOM, cluster } from './support/cluster.js';

const compared = (outcome) => `broker_cluster_digests_total{outcome="${outcome}"}`;

/** A digest is due after six leases, and compared at the next one. */
const DIGESTS = 6 * 1000;

/** What comes before a batch ends with its format. */
const FORMAT = 1;

/** The number of an item of a batch that is a digest. */
const DIGEST = 6;

/** A number as it is in a batch: seven bits a byte, the lowest first. */
function encode(number) {
  const bytes = [];
  for (let rest = number; ; rest >>= 7n) {
    if (rest < 128n) return [...bytes, Number(rest)];
    bytes.push(Number(rest & 127n) | 128);
  }
}

/** All numbers of a batch that has but such. */
function decode(bytes) {
  const numbers = [0n];
  let shift = 0n;
  for (const byte of bytes) {
    numbers.push(numbers.pop() | (BigInt(byte & 127) << shift));
    shift = byte < 128 ? 0n : shift + 7n;
    if (byte < 128) numbers.push(0n);
  }
  return numbers.slice(0, -1);
}

/** The last batch of a log: the cursor, and its bytes. */
async function last(c, key) {
  const script = `local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
    return last[1] .. ' ' .. table.concat({ string.byte(last[2][4], 1, -1) }, ' ')`;
  const reply = await c.redis.command('EVAL', script, '1', `${key}:log`);
  const [id, ...bytes] = reply.split('\r\n').at(-1).split(' ');
  return { cursor: BigInt(id.split('-')[0]), bytes: bytes.map(Number) };
}

/** Appends a batch to a log, as if a node had. */
function append(c, key, bytes) {
  const script = `local cursor = redis.call('HINCRBY', KEYS[1], 'head', 1)
    return redis.call('XADD', KEYS[2], cursor .. '-1', 't', redis.call('TIME')[1] .. '000', 'b', string.char(${bytes}))`;
  return c.redis.command('EVAL', script, '2', `${key}:meta`, `${key}:log`);
}

cluster('nodes that have the same find no difference, whatever they do', { 'presence-ttl': '300ms' }, async (c, a) => {
  await c.members(a, ['ann', 'bob']);
  const load = Load.on(c);
  for (const node of c.nodes) await node.metrics((of) => of.get(compared('equal')) > 10, 'digests are compared', 6 * DIGESTS);
  await a.kill();
  await a.begin();
  await a.metrics((of) => of.get(compared('equal')) > 10, 'who has begun anew takes part', 6 * DIGESTS);
  await load.end();
  for (const node of c.nodes) await node.counts({ [compared('different')]: 0 });
});

cluster('the others log and count a node that differs', {}, async (c, a, b) => {
  const key = await c.redis.keyOf(c.flags['cluster-name'], 33);
  const { cursor, frame, rules } = await until(async () => {
    const { cursor, bytes } = await last(c, key).catch(() => ({ bytes: [] }));
    const begin = bytes.indexOf(FORMAT) + 1;
    const [rules, , , , items, kind] = decode(bytes.slice(begin));
    return items === 1n && kind === BigInt(DIGEST) && { cursor, frame: bytes.slice(0, begin), rules };
  }, 'a digest is in the log', 6 * DIGESTS);
  // a third node says that it had something else there
  const batch = [rules, 7n, 1n, 1n, 1n, BigInt(DIGEST), cursor << 12n, 12345n];
  await append(c, key, [...frame, ...batch.flatMap(encode)]);
  for (const node of [a, b]) {
    await node.counts({ [compared('different')]: 1 });
    await node.broker.logs("another node doesn't have what this one has");
    assert.match(node.broker.log, /ERROR.*partition=33 position=\d+ node=0000000000000007 theirs=0000000000003039 ours=/);
  }
  await b.http.publish(ROOM, 'on it goes');
  await pass(DIGESTS);
  for (const node of [a, b]) {
    await node.isHealthy();
    await node.counts({ [compared('different')]: 1 });
  }
}, { nodes: 2 });
