// A node that is stopped, and takes its time: until its last connection is closed it is a node like any other, and whoever
// is closed goes on at another one.

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { EACH, ROOM, cluster } from './support/cluster.js';
import { CableRoamer } from './support/roamer.js';

const LEASE = 3000;
const TTL = 2000;

/** The drain is longer than lease and TTL together. */
const FLAGS = { 'shutdown-drain': '6s', 'node-lease': `${LEASE}ms`, 'presence-ttl': `${TTL}ms`, 'history-limit': 1000, 'history-ttl': '1m' };

/** How many clients are at the node. */
const COUNT = 12;

cluster('a node that drains is a member until its last connection is closed, and each goes on elsewhere', FLAGS, async (c, a, b, d) => {
  const watchers = await c.watchers([b, d]);
  const roamers = [];
  for (let n = 0; n < COUNT; n += 1) roamers.push(await CableRoamer.enter(c, [a, b, d], `user ${n}`));
  const moved = () => roamers.filter(({ moves }) => moves > 0).length;
  const ended = a.stop();
  let published = 0;
  for (let at = 1; at < COUNT; at += 1) {
    await until(() => moved() >= at, `${at} have gone on elsewhere`);
    for (const node of [a, b]) await node.http.publish(ROOM, { number: (published += 1) });
    if (at === COUNT / 2) {
      const [stays] = roamers.filter(({ moves }) => moves === 0);
      await stays.channel.whisper({ still: 'there' });
      await Promise.all(watchers.map((watcher) => watcher.hearsPublication({ still: 'there' })));
      assert.equal(await a.broker.health(), 503);
      assert.equal((await b.http.metrics()).get('broker_cluster_members'), 3);
    }
  }
  await ended;
  await until(() => moved() === COUNT, 'all have gone on elsewhere');
  assert.match(b.broker.log, /a node has stopped/);
  await pass(LEASE + TTL + 500);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, []);
  for (const { id, publications, moves, restored } of roamers) {
    assert.deepEqual([moves, restored], [1, 1], 'its session has come along, once');
    const numbers = publications.map(({ message }) => message.number).filter((number) => number);
    assert.deepEqual(numbers, Array.from({ length: published }, (_, at) => at + 1), id);
  }
  for (const roamer of roamers) {
    roamer.publications = roamer.publications.filter(({ meta }) => meta); // a whisper has no position
    roamer.isGapless();
  }
  await c.lists(roamers.map(({ id }) => id), { nodes: [b, d] });
}, { engines: EACH });
