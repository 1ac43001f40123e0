// Thousands at a time: all of them gone at once, all of them coming and going without pause, all of them in one room.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { chatterIn } from './support/chat.js';
import { BYSTANDERS, fault, rounds } from './support/fault.js';
import { settle } from './support/mark.js';
import { FORGETTING, within } from './support/patience.js';
import { eventsOf, replay } from './support/replay.js';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';
import { watchPeak } from './support/vitals.js';

const CROWD = fileURLToPath(new URL('./support/thousands.js', import.meta.url));

/** How long a crowd may take for anything, in ms. */
const LONG = 60_000;

/** How much later than due the last of a crowd may go, in ms: a busy machine. */
const LATE = 20_000;

/** What a process needs to open besides the crowd's connections. */
const OTHER_FILES = 200;

/** A crowd in a process of its own. */
class Crowd {
  static async start(s, count) {
    const crowd = new Crowd();
    crowd.process = fork(CROWD, [String(s.broker.port)]);
    s.cleanup(() => crowd.process.kill('SIGKILL'));
    const here = await crowd.does('files');
    const there = (await s.http.metrics()).get('broker_open_file_limit');
    const least = count + OTHER_FILES;
    assert.ok(
      Math.min(here, there) >= least,
      `a process may open ${Math.min(here, there)} files here: raise the hard limit to ${least} or more (ulimit -Hn)`,
    );
    return crowd;
  }

  /** Gives an order and waits until it is followed. */
  async does(what, order = {}) {
    this.process.send({ what, ...order });
    const [{ answer, error }] = await within(once(this.process, 'message'), `the crowd to ${what}`, LONG);
    if (error) throw new Error(`the crowd could not ${what}: ${error}`);
    return answer;
  }
}

const MANY = 10_000;
const ROUNDS = 3;
const TTL = 3000;
/** The crowd answers no pings, and nobody is to be ended for that. */
const CALM = { 'presence-ttl': `${TTL}ms`, 'liveness-interval': '1h' };
const WATCHED = [0, 1, 499, 998, 999].map((n) => `crowd/${n}`);

fault('ten thousand members that are gone at once leave once each', CALM, async (s, bystanders) => {
  const crowd = await Crowd.start(s, MANY);
  const watchers = [];
  for (const stream of WATCHED) watchers.push([stream, (await s.subscriber(stream))[0]]);
  await rounds(s, bystanders, ROUNDS, async (round) => {
    await crowd.does('enter', { count: MANY, round });
    await s.counts({ broker_presence_records: MANY + bystanders.present.length }, { ms: LONG });
    const since = performance.now();
    await crowd.does('leave', { how: round % 2 === 1 ? 'reset' : 'fin' });
    for (const [stream, socket] of watchers) {
      const identifier = identify(stream);
      for (let n = 0; n < 10; n += 1) await socket.hearsPresence(identifier, 'leave', LONG);
      const waited = performance.now() - since;
      assert.ok(waited > TTL - 60, `they left after ${waited} ms, before the TTL`);
      assert.ok(waited < TTL + LATE, `they left after ${waited} ms`);
      await socket.settle(identifier);
      assert.deepEqual(replay([], eventsOf(socket)), [], `the replay of ${stream}`);
      assert.equal(eventsOf(socket).length, round * 20, 'each came once and left once');
    }
  }, { mebibytes: 8, ms: LONG });
  await s.counts({
    broker_connections: BYSTANDERS + watchers.length,
    'broker_presence_leaves_total{cause="expired"}': ROUNDS * MANY,
  });
}, { mebibytes: 128, timeout: 240_000 });

fault('two thousand that come, join and go over and over leave nothing', {}, async (s, bystanders) => {
  // from round 2 to round 6, half a kilobyte left of each would be too much
  const crowd = await Crowd.start(s, 2000);
  const [watcher, identifier] = await s.subscriber('crowd/7');
  await rounds(s, bystanders, 6, async (round) => {
    await crowd.does('visit', { count: 2000, round });
    await s.counts({ broker_presence_records: bystanders.present.length }, { ms: LONG });
    await watcher.settle(identifier);
    assert.deepEqual(replay([], eventsOf(watcher)), [], 'the replay of one room');
  }, { mebibytes: 4, ms: 10_000 });
}, { mebibytes: 64, timeout: 120_000 + 8 * FORGETTING });

const CROWDED = 'crowded';
/** Whose members are the crowd, and how many through each. */
const SOCKETS = 3;
const THROUGH_EACH = 1000;
/** Of members alone, that many lists of all of them would be 20 times as much. */
const MEBIBYTES = 32;
const MIB = 1024 * 1024;

/** Members of the crowd get its occupancy, at intervals. */
const COUNTING = { presence: 'occupancy' };

const IN_ONE_ROOM = {
  'presence-ttl': '1s',
  'sessions-ttl': '1s',
  'liveness-interval': '1h',
  'occupancy-interval': '1s',
  'max-outbox-size': `${MEBIBYTES}MiB`,
};
scenario('a crowd that goes at once is told to a chat in few lists', IN_ONE_ROOM, async (s) => {
  const chat = await chatterIn(s, CROWDED, 'ann');
  const deaf = await chatterIn(s, CROWDED, 'bob');
  await chat.hears({ type: 'user_joined', username: 'bob' });
  const crowd = [];
  const expected = ['ann', 'bob'];
  for (let n = 0; n < SOCKETS; n += 1) {
    const socket = await s.socket();
    crowd.push(socket);
    socket.ws._socket.cork();
    for (let m = 0; m < THROUGH_EACH; m += 1) {
      const presence = { id: `somebody-of-the-crowd-${n}-${m}`, info: {} };
      socket.send({ command: 'subscribe', identifier: identify(CROWDED, { ...COUNTING, m }), presence });
      expected.push(presence.id);
    }
    socket.ws._socket.uncork();
    await s.counts({ broker_presence_members: expected.length }, { ms: LONG });
  }
  await settle(s, CROWDED, chat);
  const came = chat.unheard;
  assert.deepEqual(came.map(({ username }) => username), expected.slice(2), 'each came once');
  assert.deepEqual(came.at(-1).users, expected, 'the last list has all');

  deaf.ws._socket.pause();
  const heard = chat.transcript.length;
  const peak = watchPeak(s.broker);
  for (const socket of crowd) socket.terminate();
  await s.metrics((now) => now.get('broker_presence_members') <= 2, 'all are gone', LONG);
  await settle(s, CROWDED, chat);
  const gone = chat.unheard.slice(came.length).filter(({ username }) => username !== 'bob');
  assert.ok(gone.every(({ type }) => type === 'user_left'));
  assert.deepEqual(new Set(gone.map(({ username }) => username)), new Set(expected.slice(2)));
  assert.equal(gone.length, SOCKETS * THROUGH_EACH, 'each left once');
  assert.deepEqual(gone.at(-1).users.filter((user) => user !== 'bob'), ['ann'], 'the last list has who is left');
  const bytes = chat.transcript.slice(heard).reduce((sum, text) => sum + text.length, 0);
  assert.ok(bytes < MEBIBYTES * MIB, `${bytes} bytes for one that reads`);
  const most = peak();
  assert.ok(most < MEBIBYTES * MIB, `${most / MIB} MiB were in use besides`);
}, { timeout: 120_000 });
