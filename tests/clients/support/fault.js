// A fault, and what must not have come of it: the broker serves on, nothing is left over, and
// everyone knows exactly who is present.

import assert from 'node:assert/strict';
import { PATIENCE, until } from './patience.js';
import { eventsOf, replay } from './replay.js';
import { scenario } from './scenario.js';
import { restingVitals, returnsTo } from './vitals.js';

/** Where the bystanders are. */
export const ROOM = 'room';

/** How many connections the bystanders are. */
export const BYSTANDERS = 3;

/** What the broker keeps of those who are gone, it keeps no longer than a test can wait. */
const SHORT = { 'presence-ttl': '300ms', 'sessions-ttl': '300ms' };

/**
 * Declares a test of a fault. `run` does the harm and sees to what is special about it; whatever
 * it opened on `s` is closed then, and within the TTL (and `patience`, in ms, on top) all has to be
 * as it was. `run` gets the scenario and the bystanders.
 */
export function fault(name, flags, run, { patience = PATIENCE, mebibytes, ...options } = {}) {
  const harm = async (s) => {
    s.http.headers.connection = 'close'; // nothing is open that a look has left behind
    const bystanders = await Bystanders.gather(s);
    await bystanders.areServed(); // what is made with the first use is made before the first look
    const before = await restingVitals(s);
    const mark = s.opened;
    await run(s, bystanders);
    s.close(mark);
    await isOver(s, before, { mebibytes, ms: patience });
    await bystanders.areExact(patience);
    await bystanders.areServed();
    await returnsTo(s, before, { mebibytes, ms: patience });
  };
  scenario(name, { ...SHORT, ...flags }, harm, options);
}

/**
 * Does the same harm again and again: `harm(round)`, after which all has to be as it was before.
 * Memory may be little more than after the second round, when what is made once is made; the
 * allocator's own moods are up to a mebibyte.
 */
export async function rounds(s, bystanders, count, harm, { mebibytes = 2, ms = PATIENCE } = {}) {
  assert.ok(count > 2, 'there is something to compare');
  const before = await restingVitals(s);
  const mark = s.opened;
  let second;
  for (let round = 1; round <= count; round += 1) {
    await harm(round);
    s.close(mark);
    const bounds = round > 2 ? { mebibytes } : { mebibytes: Infinity };
    const now = await isOver(s, second ?? before, { ...bounds, ms });
    await bystanders.areExact(ms);
    if (round === 2) second = now;
  }
}

/**
 * All that was said over connections that have ended has been followed, and all is as it was before. Who comes now
 * is let in after everybody who has come: till then some may be in the kernel's hands, with what they said.
 */
async function isOver(s, before, bounds) {
  const comes = async () => (await s.socket()).close();
  const isIn = () => comes().then(() => true, () => false); // who has gone may have left no room yet
  await until(isIn, 'a newcomer is let in', bounds.ms);
  return returnsTo(s, before, bounds);
}

/** A watcher and two members who see all of what happens around them. */
class Bystanders {
  #s;
  /** `[socket, identifier]` of each. */
  #all = [];
  #said = 0;

  static async gather(s) {
    const bystanders = new Bystanders();
    bystanders.#s = s;
    for (let n = 0; n < BYSTANDERS; n += 1) bystanders.#all.push(await s.subscriber(ROOM));
    const [, ...members] = bystanders.#all;
    for (const [at, [socket, identifier]] of members.entries()) {
      const { id, info } = bystanders.present[at];
      socket.join(identifier, id, info);
      await bystanders.settle();
    }
    return bystanders;
  }

  /** Who is there when all harm is done. */
  get present() {
    return [
      { id: 'ann', info: { n: 1 } },
      { id: 'bob', info: { n: 2 } },
    ];
  }

  /** The one who only watches, and the identifier of all: `[socket, identifier]`. */
  get watcher() {
    return this.#all[0];
  }

  /** Everything said so far has come to everyone. */
  async settle() {
    for (const [socket, identifier] of this.#all) await socket.settle(identifier);
  }

  /** Presence events that the watcher got. */
  get events() {
    return eventsOf(this.watcher[0]);
  }

  /** Everyone's replay is everyone's list, that of HTTP, and who is really there. */
  async areExact(ms = PATIENCE) {
    const there = async () => (await this.#s.http.users(ROOM)).total === this.present.length;
    await until(there, 'only the bystanders are present', ms);
    assert.deepEqual((await this.#s.http.users(ROOM)).records, this.present);
    for (const [socket, identifier] of this.#all) {
      assert.deepEqual(await socket.list(identifier), this.present, 'a list');
      assert.deepEqual(replay([], eventsOf(socket)), this.present, 'a replay');
    }
  }

  /** `/health` says 200; a newcomer hears and is heard of; what is published reaches all. */
  async areServed() {
    assert.equal(await this.#s.broker.health(), 200, '/health');
    const mark = this.#s.opened;
    const [newcomer, identifier] = await this.#s.member(ROOM, 'newcomer');
    const said = { said: (this.#said += 1) };
    await this.#s.http.publish(ROOM, said);
    for (const [socket] of this.#all) await socket.hears({ identifier, message: said });
    await newcomer.hears({ identifier, message: said });
    assert.deepEqual(await newcomer.list(identifier), [...this.present, { id: 'newcomer', info: {} }]);
    newcomer.leave(identifier);
    await newcomer.hearsPresence(identifier, 'leave');
    await newcomer.close();
    this.#s.close(mark);
    await this.areExact();
  }
}
