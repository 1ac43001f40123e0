// Sessions of the application's channels over several nodes: any node resumes them without asking, and the application is
// told once that one is over, by whichever node is there.

import assert from 'node:assert/strict';
import { BASE, EXTENDED, arrive, connect, enter, kinds, shows } from '../clients/support/rpc/asked.js';
import { GrpcApplication } from '../clients/support/rpc/grpc.js';
import { HttpApplication } from '../clients/support/rpc/http.js';
import { pass, until } from '../clients/support/patience.js';
import { EACH, ROOM, cluster } from './support/cluster.js';

const SESSIONS = 2000;
const FLAGS = { 'sessions-ttl': `${SESSIONS}ms`, 'presence-ttl': '4s', 'disconnect-rate': 1000 };

/** Three nodes that ask one application, which is `c.application`. */
function askedCluster(name, flags, run, { Application = HttpApplication, ...options } = {}) {
  cluster(name, { ...FLAGS, ...flags }, async (c) => {
    c.application = await new Application().open();
    c.t.after(() => c.application.close());
    c.flags['rpc-host'] = c.application.host;
    const nodes = await Promise.all([1, 2, 3].map(() => c.add()));
    for (const node of nodes) node.application = c.application;
    await rulesAreRaised(nodes);
    await run(c, ...nodes);
  }, { nodes: 0, ...options });
}

/** All nodes know the rules that have sessions in the log. */
const rulesAreRaised = (nodes) => Promise.all(nodes.map((node) => node.counts({ broker_cluster_rules: 2 })));

const ends = ({ calls }) => calls.filter(({ kind }) => kind === 'disconnect');
const endIds = (application) => ends(application).map(({ metadata }) => metadata['disconnect-id']);

/** All of these sessions have ended, and none is told twice within a while. */
async function endedOnce(c, sids, ms) {
  const missing = () => sids.filter((sid) => !endIds(c.application).includes(sid));
  await until(() => missing().length === 0, `the ends of ${sids.length} sessions are told`, ms);
  await pass(1500);
  assert.deepEqual(endIds(c.application).toSorted(), sids.toSorted(), 'told once each');
}

for (const [how, end] of [
  ['was cut', async (socket) => socket.terminate()],
  ['is still there', async () => {}],
  ['was closed as its node stopped', async (socket, node) => node.stop()],
]) {
  askedCluster(`a session whose connection ${how} goes on at another node, and nobody is asked`, {}, async (c, a, b) => {
    const first = await connect(a, 'ann', { more: `&cstate=${encodeURIComponent('{"c":"1"}')}` });
    const does = { follow: [ROOM, 'other'], istate: { k: 'v' }, presence: ROOM, join: { id: 'ann' } };
    const identifier = await enter(first, { id: 1, does });
    await c.lists(['ann'], { nodes: [b] });
    await end(first, a);
    const before = kinds(c.application).length;
    const next = await arrive(b, 'ann', { more: `&sid=${first.sid}` });
    const welcome = await next.hears({ type: 'welcome' });
    assert.deepEqual([welcome.restored, welcome.restored_ids], [true, [identifier]]);
    assert.deepEqual(kinds(c.application).slice(before), []);
    next.sid = welcome.sid;
    const { identifiers, env } = await shows(b, next, identifier);
    assert.equal(identifiers, '{"user":"ann"}');
    assert.deepEqual([env.cstate, env.istate], [{ c: '1' }, { $p: ROOM, k: 'v' }]);
    await b.http.publish('other', 'hello');
    await next.hears({ identifier, message: 'hello' });
    await pass(SESSIONS + 1500);
    assert.deepEqual(ends(c.application), [], 'it isn’t over');
    await next.close();
    await endedOnce(c, [first.sid], SESSIONS + 8000);
    const [{ metadata, message }] = ends(c.application);
    assert.equal(metadata.sid, next.sid);
    assert.deepEqual(message.subscriptions, [identifier]);
    assert.deepEqual(JSON.parse(message.env.istate[identifier]), { $p: ROOM, k: 'v' });
  });
}

for (const Application of [HttpApplication, GrpcApplication]) {
  askedCluster(`who was at a node that is killed has gone: told once, over ${Application.name}`, {}, async (c, a, b) => {
    const sids = [];
    for (let n = 0; n < 20; n += 1) {
      const socket = await connect(a, `u${n}`, { protocol: n % 2 ? BASE : EXTENDED });
      await enter(socket, { id: n });
      sids.push(socket.sid);
    }
    const stays = await connect(b, 'stays');
    await enter(stays, { id: 1 });
    await a.kill();
    await endedOnce(c, sids, SESSIONS + 15_000);
    const [{ message }] = ends(c.application);
    assert.equal(message.subscriptions.length, 1);
  }, { Application, engines: EACH });
}

askedCluster('who was at a node that stops and doesn’t come back has gone: told once', {}, async (c, a) => {
  const sids = [];
  for (const protocol of [BASE, EXTENDED]) {
    const socket = await connect(a, protocol, { protocol });
    await enter(socket, { id: 1 });
    sids.push(socket.sid);
  }
  await a.stop();
  await endedOnce(c, sids, SESSIONS + 8000);
});

askedCluster('the node that tells the ends of a killed one is killed, too', {}, async (c, a, b, d) => {
  const sids = [];
  for (let n = 0; n < 10; n += 1) {
    const socket = await connect(a, `u${n}`);
    await enter(socket, { id: n });
    sids.push(socket.sid);
  }
  // nobody can be told anything until two nodes are gone
  const releases = Array.from({ length: 30 }, () => c.application.hold('disconnect'));
  await a.kill();
  await c.application.called('disconnect', 1);
  const running = (await b.http.metrics()).get('broker_rpc_running');
  const other = running > 0 ? b : d;
  await other.kill();
  for (const release of releases) release();
  const missing = () => sids.filter((sid) => !endIds(c.application).includes(sid));
  await until(() => missing().length === 0, 'all ends are told', SESSIONS + 20_000);
});

askedCluster('all nodes are killed: the next one tells who has gone', {}, async (c, a, b, d) => {
  const sids = [];
  for (const node of [a, b, d]) {
    const socket = await connect(node, 'ann');
    await enter(socket, { id: 1 });
    sids.push(socket.sid);
  }
  await Promise.all([a, b, d].map((node) => node.kill()));
  await c.add();
  await endedOnce(c, sids, SESSIONS + 20_000);
});

askedCluster('a session of an engine that lost everything ends once, too', {}, async (c, a, b) => {
  const socket = await connect(a, 'ann');
  await enter(socket, { id: 1 });
  await c.engine.empty();
  const other = await connect(b, 'bob'); // waits until the log is there again
  await enter(other, { id: 1 });
  await a.kill();
  await endedOnce(c, [socket.sid], SESSIONS + 15_000);
});

askedCluster('a node that was paused, and whose sessions live, keeps them', {}, async (c, a, b) => {
  const stays = await connect(a, 'stays', { protocol: BASE });
  const identifier = await enter(stays, { id: 1, does: { follow: [ROOM], istate: { k: 'v' } } });
  await a.broker.pause();
  await until(async () => (await b.http.metrics()).get('broker_cluster_members') === 2, 'the node counts as gone');
  a.broker.kill('SIGCONT');
  await until(async () => (await b.http.metrics()).get('broker_cluster_members') === 3, 'the node is back');
  await pass(SESSIONS + 3000);
  assert.deepEqual(ends(c.application), [], 'it isn’t over');
  assert.deepEqual((await shows(a, stays, identifier)).env.istate, { k: 'v' });
  await stays.close();
  await endedOnce(c, [stays.sid], 8000);
});
