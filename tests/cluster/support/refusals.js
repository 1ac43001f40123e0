// Ways in which Redis refuses appends or doesn't get to them, and what must come of each.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { pass, until, within } from '../../clients/support/patience.js';
import { GONE, ROOM, TTL, cluster } from './cluster.js';

const QUICK = { 'engine-timeout': '1s' };

/** Longer than lease and TTL. */
const OUTAGE = 2700;

/** Time after an outage until changes are taken again, in ms. */
const RECOVERY = 5000;

/** A command on a connection that was there before. */
function held(redis) {
  const socket = connect(redis.port, '127.0.0.1');
  return async (line) => {
    const answered = new Promise((resolve) => socket.once('data', (data) => resolve(data.toString())));
    socket.write(`${line}\r\n`);
    assert.match(await within(answered, line), /^[+:]/, line);
  };
}

/** Ways to refuse: what begins it, and what ends it unless that is time alone. */
const REFUSALS = {
  'has no memory left': {
    says: /raise its `maxmemory`/,
    begin: (redis) => redis.command('CONFIG', 'SET', 'maxmemory', '1'),
    end: (redis) => redis.command('CONFIG', 'SET', 'maxmemory', '0'),
  },
  'permits no appends any more': {
    says: /ACL rules/,
    begin: (redis) => redis.command('ACL', 'SETUSER', 'default', '-xadd'),
    end: (redis) => redis.command('ACL', 'SETUSER', 'default', '+xadd'),
  },
  'permits no channels any more': {
    says: /ACL rules/,
    begin: (redis) => redis.command('ACL', 'SETUSER', 'default', 'resetchannels'),
    end: (redis) => redis.command('ACL', 'SETUSER', 'default', 'allchannels'),
  },
  'takes no clients any more': {
    says: /raise its `maxclients`/,
    async begin(redis) {
      this.say = held(redis);
      await this.say('CONFIG SET maxclients 1');
      await this.say('CLIENT KILL TYPE pubsub');
      await this.say('CLIENT KILL TYPE normal SKIPME yes');
    },
    async end() {
      await this.say('CONFIG SET maxclients 1000');
    },
  },
  'pauses writes': { begin: (redis) => redis.command('CLIENT', 'PAUSE', String(OUTAGE), 'WRITE') },
  'pauses its clients': { begin: (redis) => redis.command('CLIENT', 'PAUSE', String(OUTAGE), 'ALL') },
  sleeps: {
    async begin(redis) {
      redis.command('DEBUG', 'SLEEP', String(OUTAGE / 1000)).catch(() => {});
      const answer = () => redis.command('PING').then(() => false, () => false);
      await until(() => Promise.race([answer(), pass(200).then(() => true)]), 'Redis sleeps');
    },
  },
};

/** Declares a test of a way to refuse. */
export function refuses(what) {
  const { says, begin, end } = REFUSALS[what];
  cluster(`Redis ${what} for longer than lease and TTL: changes are refused, nobody leaves`, QUICK, async (c, a, b) => {
    const watchers = await c.watchers();
    await c.members(a, ['ann']);
    await c.members(b, ['bob']);
    await a.http.publish(ROOM, 'before');
    await Promise.all(watchers.map((watcher) => watcher.hearsPublication('before')));
    const way = { begin, end };
    const since = performance.now();
    await way.begin(c.redis);
    await pass(100);
    const refused = await Promise.all(c.nodes.flatMap((node, at) => [
      node.http.post('/_broadcast', { stream: ROOM, data: JSON.stringify({ refused: at }) }),
      node.put(`late ${at}`),
    ]));
    for (const { status, text } of refused) assert.equal(status, 503, text);
    await Promise.all(c.nodes.map((node) => node.isHealthy(503)));
    for (const node of c.nodes) assert.equal((await node.http.request('/live')).status, 200);
    for (const watcher of watchers) {
      assert.ok(watcher.isOpen, 'clients stay');
      assert.deepEqual(watcher.publications.map(([, , message]) => message), ['before'], 'no client hears what others don’t');
      assert.ok(!watcher.events.some(({ id }) => id.startsWith('late')));
    }
    await pass(since + OUTAGE - performance.now());
    await way.end?.(c.redis);
    if (says) for (const { broker } of c.nodes) assert.match(broker.log, says);
    const taken = () => a.http.publish(ROOM, 'after').then(() => true, () => false);
    await until(taken, 'changes are taken again', RECOVERY);
    await Promise.all(watchers.map((watcher) => watcher.hearsPublication('after')));
    await Promise.all(c.nodes.map((node) => node.isHealthy()));
    await pass(GONE + TTL);
    await c.check(watchers);
    for (const { leaves, publications } of watchers) {
      assert.deepEqual(leaves, []);
      for (const at of c.nodes.keys()) {
        assert.ok(publications.filter(([, , message]) => message.refused === at).length <= 1, 'what was refused comes once at most');
      }
    }
  }, { nodes: 2, flags: ['--enable-debug-command', 'yes'] });
}
