// What a broker takes up: memory and files as the system counts them, the rest as it does itself.
// A fault that is over has to leave these as they were.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { FORGETTING, PATIENCE, pass, until } from './patience.js';

/** What has to be exactly what it was, whatever a connection can hold. */
const GAUGES = {
  tasks: 'broker_tasks',
  connections: 'broker_connections',
  sessions: 'broker_sessions',
  parked: 'broker_sessions_parked',
  subscriptions: 'broker_subscriptions',
  streams: 'broker_streams',
  members: 'broker_presence_members',
  records: 'broker_presence_records',
};

const MIB = 1024 * 1024;

/**
 * Memory of a process in bytes, a field of its status: what it has without mapped files (`RssAnon`), with
 * them (`VmRSS`), the most it had (`VmHWM`).
 */
export function memory({ pid }, field = 'RssAnon') {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(text.match(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm'))[1]) * 1024;
}

/** From now on; gives what tells how much more memory than now was ever in use since, in bytes. */
export function watchPeak(process) {
  writeFileSync(`/proc/${process.pid}/clear_refs`, '5'); // what was in use before is forgotten
  const before = memory(process, 'VmRSS');
  return () => memory(process, 'VmHWM') - before;
}

/** What a scenario's broker takes up now. */
export async function vitals({ broker, http }) {
  const files = readdirSync(`/proc/${broker.pid}/fd`).length; // before the connection of this look
  const metrics = await http.metrics();
  const counts = Object.entries(GAUGES).map(([what, name]) => {
    if (!metrics.names.includes(name)) throw new Error(`the broker doesn't tell ${name}`);
    return [what, metrics.get(name)];
  });
  return { ...Object.fromEntries(counts), files, memory: memory(broker) };
}

/** What of `before` is something else in `now`; memory may have grown by `more` bytes. */
function changes(before, now, more) {
  return Object.entries(before)
    .filter(([what, was]) => (what === 'memory' ? now.memory > was + more : now[what] !== was))
    .map(([what, was]) => `${what}: ${was} before, ${now[what]} now`);
}

/** How many looks in a row see the same of a broker that is at rest: one may see what is left of the one before. */
const LOOKS = 4;

/** Some looks in a row that see the same, and no session that is yet to end: nothing is on its way. */
export async function restingVitals(s) {
  let [last, alike] = [await vitals(s), 1];
  return until(async () => {
    await pass(50);
    const [before, now] = [last, await vitals(s)];
    last = now;
    alike = changes({ ...before, memory: 0, parked: 0 }, now, Infinity).length === 0 ? alike + 1 : 1;
    return alike >= LOOKS && now;
  }, 'the broker is at rest');
}

/** Waits until all is as it was before; gives what it is now. */
export async function returnsTo(s, before, { mebibytes = 4, ms = PATIENCE } = {}) {
  let now;
  let different = [];
  try {
    return await until(async () => {
      now = await vitals(s);
      different = changes(before, now, mebibytes * MIB);
      return different.length === 0 && now;
    }, 'what the fault took is given back', ms + FORGETTING);
  } catch (error) {
    throw new Error(`${error.message}; ${different.join('; ')}`);
  }
}
