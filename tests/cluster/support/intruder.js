// Somebody who writes into the logs in Redis all the time: garbage, and what nodes wrote elsewhere or altered.

import assert from 'node:assert/strict';
import { pass } from '../../clients/support/patience.js';

const PARTITIONS = 64;

/** Time between two rounds, in ms. */
const PAUSE = 5;

/**
 * Appends as nodes do, to the partition of the keys: garbage; the last batch of another partition; the last batch
 * here with one byte altered, and again as it is; and a short one that says it is of another version. Redis has no
 * names for bytes in what nodes wrote, so it is done where these are.
 */
const APPEND = `
local meta, log, channel, other = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local id = redis.call('HGET', meta, 'id')
if not id then return 0 end
local function last(key)
  local entry = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  return entry and entry[2][4] or ''
end
local own, moved = last(log), last(other)
local altered = own
if #own > 30 then
  local at = 5 + math.random(#own - 5)
  altered = own:sub(1, at - 1) .. string.char((own:byte(at) + 1) % 256) .. own:sub(at + 1)
end
local forged = { 'garbage', '', moved, altered, own, 'brk\\9 of another version' }
for n, batch in ipairs(forged) do
  local head = redis.call('HINCRBY', meta, 'head', 1)
  local time = redis.call('TIME')
  local at = string.format('%.0f', time[1] * 1000 + n * 3600000)
  redis.call('XADD', log, head .. '-' .. n, 't', at, 'b', batch)
  redis.call('PUBLISH', channel, head .. '-' .. n .. ' ' .. at .. ' ' .. id .. ' ' .. batch)
end
return #forged
`;

export class Intruder {
  /** How much it has appended. */
  count = 0;
  #goes = true;
  #work;

  /** Begins to append to the logs of a cluster; ends with the test. */
  static on(c) {
    const intruder = new Intruder();
    c.cleanup(() => (intruder.#goes = false));
    intruder.#work = intruder.#append(c);
    return intruder;
  }

  async #append(c) {
    const all = await c.redis.command('KEYS', `${c.flags['cluster-name']}:{*}:meta`);
    const prefixes = all.split('\r\n').filter((line) => line.endsWith(':meta')).map((key) => key.slice(0, -5));
    const of = (partition) => prefixes.find((prefix) => prefix.includes(`{${partition}.`));
    for (let n = 0; this.#goes; n = (n + 7) % PARTITIONS) {
      const [own, other] = [of(n), of((n + 1) % PARTITIONS)];
      const keys = [`${own}:meta`, `${own}:log`];
      const reply = await c.redis.command('EVAL', APPEND, '2', ...keys, own, `${other}:log`);
      this.count += Number(reply.match(/^:(\d+)/)[1]);
      await pass(PAUSE);
    }
  }

  /** Ends when it has stopped. */
  async end() {
    this.#goes = false;
    await this.#work;
    assert.ok(this.count > 500, `it appended ${this.count}`);
  }
}
