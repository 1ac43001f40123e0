// An engine that isn't there, stands still, cuts connections and forgets scripts: nothing is lost and nothing comes twice.

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { Load } from './support/load.js';
import { EACH, GONE, ROOM, TTL, cluster } from './support/cluster.js';

/** Long enough for nobody to be refused while the engine stands still. */
const PATIENT = { 'engine-timeout': '10s' };

for (const [what, ms, flags, engines] of [
  ['shorter than a lease', 1500, { 'node-lease': '3s', ...PATIENT }],
  ['longer than lease and TTL', 3000, PATIENT, EACH],
]) {
  cluster(`while the engine stands still for ${what}, nobody leaves, and all comes afterwards`, flags, async (c, a, b, d) => {
    const watchers = await c.watchers();
    const { ann: [ann, identifier] } = await c.members(a, ['ann', 'bob']);
    await c.members(b, ['cid']);
    await a.http.publish(ROOM, 'before');
    c.engine.pause();
    const answers = [a, b, d].flatMap((node, at) => [1, 2].map((n) => node.http.post('/_broadcast', {
      stream: ROOM,
      data: JSON.stringify({ at, n }),
    })));
    ann.join(identifier, 'ann', { updated: true });
    ann.whisper(identifier, 'whisper');
    await pass(ms);
    c.engine.resume();
    for (const { status, text } of await Promise.all(answers)) assert.equal(status, 201, text);
    await Promise.all(watchers.map((watcher) => watcher.hears('update', 'ann', { updated: true })));
    await Promise.all(watchers.map((watcher) => watcher.hearsPublication('whisper')));
    await pass(GONE + TTL + 500);
    await c.check(watchers);
    for (const { leaves, publications } of watchers) {
      assert.deepEqual(leaves, []);
      assert.equal(publications.length, 1 + 6 + 1);
    }
    await c.lists(['ann', 'bob', 'cid']);
    for (const node of c.nodes) await node.isHealthy();
  }, { engines });
}

cluster('the engine restarts with all it had: nobody leaves, nothing is lost', PATIENT, async (c, a, b) => {
  const watchers = await c.watchers();
  await c.members(a, ['ann']);
  await c.members(b, ['bob']);
  const load = Load.on(c);
  await pass(500);
  await c.engine.kill();
  await pass(1500);
  await c.engine.restart();
  await pass(1000);
  await load.end();
  await pass(GONE + TTL + 500);
  await c.check(watchers);
  for (const watcher of watchers) {
    load.isIn(watcher);
    assert.deepEqual(watcher.leaves.filter((id) => !id.startsWith('guest')), []);
  }
}, { durable: true, engines: EACH });

cluster('a member whose connection ended while Redis stood still leaves after it', PATIENT, async (c, a) => {
  const watchers = await c.watchers();
  const { ann: [ann] } = await c.members(a, ['ann', 'bob']);
  c.redis.pause();
  ann.terminate();
  await pass(2000);
  c.redis.resume();
  await Promise.all(watchers.map((watcher) => watcher.hearsLeave('ann', GONE + TTL + 3000)));
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, ['ann']);
});

for (const [what, ...commands] of [
  ['subscriptions are cut', ['CLIENT', 'KILL', 'TYPE', 'pubsub']],
  ['connections are cut', ['CLIENT', 'KILL', 'TYPE', 'normal']],
  ['scripts are forgotten', ['SCRIPT', 'FLUSH']],
  ['all of this happens', ['CLIENT', 'KILL', 'TYPE', 'normal'], ['SCRIPT', 'FLUSH'], ['CLIENT', 'KILL', 'TYPE', 'pubsub']],
]) {
  cluster(`under load, ${what}: nothing is lost, nothing comes twice`, { ...PATIENT, 'node-lease': '3s' }, async (c) => {
    const watchers = await c.watchers();
    await c.members(c.nodes[0], ['stays']);
    const load = Load.on(c);
    for (let n = 0; n < 4; n += 1) {
      await pass(300);
      for (const command of commands) {
        const reply = await c.redis.command(...command);
        // later they may be on their way back
        if (n === 0 && command === commands[0]) assert.doesNotMatch(reply, /^:0/, `${command.join(' ')} ended something`);
      }
    }
    await pass(500);
    await load.end();
    await c.check(watchers);
    for (const watcher of watchers) {
      load.isIn(watcher);
      assert.ok(!watcher.leaves.includes('stays'));
    }
  });
}

cluster('a node that starts without an engine waits for it and says so', {}, async (c) => {
  await c.engine.kill();
  const node = await c.newNode().spawn();
  const { broker } = node;
  const live = async () => (await node.http.request('/live').catch(() => ({}))).status;
  await until(async () => (await live()) === 200, '/live says 200');
  assert.equal(await broker.health(), 503);
  const complaint = new RegExp(`WARN.*${c.engine.name} at 127\\.0\\.0\\.1:${c.engine.port}`);
  await until(() => complaint.test(broker.log), 'the log says so');
  await pass(1000);
  assert.equal(broker.log.split('\n').filter((line) => complaint.test(line)).length, 1, 'once');
  assert.deepEqual([await live(), await broker.health()], [200, 503]);
  await c.engine.restart();
  await node.isHealthy();
  await node.member(ROOM, 'ann');
  assert.deepEqual(await node.http.ids(ROOM), ['ann']);
}, { nodes: 0, engines: EACH });

cluster('a node that waits for Redis can be stopped', {}, async (c) => {
  await c.redis.kill();
  const node = await c.newNode().spawn();
  await until(async () => (await node.http.request('/live').catch(() => ({}))).status === 200, '/live says 200');
  await node.stop();
}, { nodes: 0 });

cluster('a node that Redis stands still for as it stops ends all the same', {}, async (c, a, b) => {
  await c.members(a, ['ann']);
  const watcher = await b.watcher();
  c.redis.pause();
  const stopped = a.broker.stop();
  await stopped;
  c.redis.resume();
  await watcher.hearsLeave('ann', GONE + TTL + 3000);
}, { nodes: 2 });

cluster('a publication that Redis keeps waiting beyond the timeout is refused', { 'engine-timeout': '1s', 'node-lease': '5s' }, async (c, a) => {
  const watchers = await c.watchers();
  await a.http.publish(ROOM, 'before');
  c.redis.pause();
  const { status, text } = await a.http.post('/_broadcast', { stream: ROOM, data: '"refused"' });
  c.redis.resume();
  assert.equal(status, 503, text);
  assert.match(text, /\w+ \w+/, 'and says why');
  await a.isHealthy();
  await until(() => a.http.publish(ROOM, 'after').then(() => true, () => false), 'it is taken again');
  await c.check(watchers);
  for (const { publications } of watchers) {
    assert.ok(publications.filter(([, , message]) => message === 'refused').length <= 1);
  }
});

cluster('nodes say nothing of an engine that works', {}, async (c, a) => {
  await c.members(a, ['ann']);
  await pass(3500);
  for (const { broker } of c.nodes) {
    const lines = broker.log.split('\n').filter((line) => line.includes('connected to the engine'));
    assert.ok(lines.length <= 1, `${lines.length} lines in 4 s`);
  }
});
