// The engine loses data. What it had lost, the nodes put back: nobody who is connected leaves, and no publication that was
// taken is lost or comes twice.

import assert from 'node:assert/strict';
import { pass, until } from '../clients/support/patience.js';
import { Load } from './support/load.js';
import { EACH, GONE, ROOM, TTL, cluster } from './support/cluster.js';

const PATIENT = { 'engine-timeout': '10s' };

/** Long enough for all nodes to be back when the engine is, on any machine: who isn't may have had more. */
const LONG = { ...PATIENT, 'node-lease': '5s' };

/** Ways to lose data. */
const LOSSES = {
  'is emptied': [(engine) => engine.empty()],
  'restarts with nothing': [async (engine) => {
    await engine.kill();
    await engine.restart();
  }],
  'restarts with what it had a while ago': [async (engine) => {
    await engine.save();
    await pass(300);
    await engine.restartWithSaved();
  }, { saves: true }],
};

for (const [what, [lose, keeps]] of Object.entries(LOSSES)) {
  for (const nodes of [1, 3]) {
    cluster(`the engine ${what} under load, with ${nodes} node${nodes > 1 ? 's' : ''}: nobody leaves, nothing is lost`, LONG, async (c, a) => {
      const b = c.nodes.at(-1);
      const watchers = await c.watchers();
      await c.members(a, ['ann']);
      await c.members(b, ['bob']);
      const load = Load.on(c);
      for (let n = 0; n < 3; n += 1) {
        await pass(500);
        await lose(c.engine);
      }
      await pass(1000);
      await load.end();
      await pass(GONE + TTL + 500);
      await c.check(watchers);
      for (const watcher of watchers) {
        load.isIn(watcher);
        assert.deepEqual(watcher.leaves.filter((id) => !id.startsWith('guest')), []);
        const epochs = new Set(watcher.publications.map(([epoch]) => epoch));
        assert.equal(epochs.size, 1, 'the history goes on');
      }
      const metrics = await Promise.all(c.nodes.map((node) => node.http.metrics()));
      const restored = metrics.map((of) => of.get('broker_engine_restored_logs_total'));
      assert.ok(restored.some((logs) => logs > 0), 'the nodes have put logs back');
      for (const of of metrics) assert.equal(of.get('broker_cluster_forks_total'), 0);
      for (const node of c.nodes) await node.isHealthy();
    }, { nodes, engines: nodes > 1 ? EACH : undefined, ...keeps });
  }
}

cluster('a node that starts when the engine has lost everything waits for what the others put back', LONG, async (c, a) => {
  await c.members(a, ['ann', 'bob']);
  await a.http.publish(ROOM, 'before');
  await c.engine.kill();
  const late = await c.newNode().spawn();
  await pass(300);
  await c.engine.restart();
  await late.isHealthy();
  await c.lists(['ann', 'bob']);
  const watchers = await c.watchers();
  await pass(GONE + TTL + 500);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, []);
}, { engines: EACH });

cluster('all nodes and the engine restart: who was there is there until the TTL', { ...PATIENT, 'presence-ttl': '3s' }, async (c, a, b) => {
  await c.members(a, ['ann', 'bob']);
  await c.members(b, ['cid']);
  await a.http.publish(ROOM, 'before');
  await Promise.all([...c.nodes.map((node) => node.kill()), c.engine.kill()]);
  await Promise.all(c.nodes.map((node) => node.spawn()));
  await c.engine.restart();
  await Promise.all(c.nodes.map((node) => node.isHealthy()));
  await c.lists(['ann', 'bob', 'cid']);
  await c.members(b, ['ann']);
  await c.lists(['ann'], { ms: GONE + 3000 + 3000 });
}, { durable: true, engines: EACH });

cluster('a node that alone was told what the engine has lost, and that was away when the log went on, begins again', { ...PATIENT, 'node-lease': '3s' }, async (c) => {
  const [[a, tunnel], [b, ...more], [d, another]] = [await c.addBehindTunnel(), await c.addBehindTunnel(), await c.addBehindTunnel()];
  const watchers = await c.watchers([b, d]);
  await c.members(b, ['dan']);
  await c.engine.save();
  const others = [...more, another];
  for (const other of others) {
    other.lose();
    other.shut();
  }
  await a.http.publish(ROOM, 'told to one');
  tunnel.shut();
  tunnel.reset();
  await c.engine.restartWithSaved();
  for (const other of others) {
    other.reset();
    other.open();
  }
  await until(() => b.http.publish(ROOM, 'meanwhile').then(() => true, () => false), 'the others go on', 40_000);
  tunnel.open();
  await a.broker.logs('begins again as a new one');
  assert.match(a.broker.log, /ERROR.*the log is lost/);
  await a.hasBegunAgain();
  await c.lists(['dan']);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, []);
  assert.ok((await b.http.metrics()).get('broker_cluster_forks_total') > 0, 'histories begin again');
}, { nodes: 0, saves: true, engines: EACH, timeout: 120_000 });
