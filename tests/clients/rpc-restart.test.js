// A broker with a state directory is stopped or killed, and started again: the application isn't asked about its sessions
// again, and is told once when they are over.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BASE, EXTENDED, arrive, asked, ask, connect, enter, kinds, perform, shows } from './support/rpc/asked.js';
import { GrpcApplication } from './support/rpc/grpc.js';
import { HttpApplication } from './support/rpc/http.js';
import { refuse } from './support/rpc/service.js';
import { pass, until } from './support/patience.js';
import { SECRET, jid } from './support/sign.js';

/** How often the broker is killed in the middle of everything; more on demand. */
const ROUNDS = Number(process.env.ROUNDS ?? 6);

const TRANSPORTS = { HTTP: HttpApplication, gRPC: GrpcApplication };
const HOW = ['SIGTERM', 'SIGKILL'];

const ends = ({ calls }) => calls.filter(({ kind }) => kind === 'disconnect');
/** The ids of the sessions whose ends were told, in order. */
const endIds = (application) => ends(application).map(({ metadata }) => metadata['disconnect-id']);

/** A broker that asks an application and keeps its state in a directory; `s.restart(how)` restarts it. */
function restarting(name, flags, run, Application = HttpApplication) {
  const dir = mkdtempSync(join(tmpdir(), 'broker-state-'));
  asked(name, () => new Application().open(), { 'state-dir': dir, ...flags }, async (s) => {
    s.cleanup(() => rmSync(dir, { recursive: true, force: true }));
    s.flags = { 'state-dir': dir, ...flags };
    s.restart = async (signal, more = {}) => {
      const { port } = s.broker;
      s.broker.kill(signal);
      await s.broker.exited();
      s.broker = await s.start({ ...s.flags, 'rpc-host': s.application.host, ...more, port });
    };
    await run(s);
  });
}

for (const [transport, Application] of Object.entries(TRANSPORTS)) {
  for (const how of HOW) {
    restarting(`a session goes on after ${how}, over ${transport}, and nobody is asked`, { 'sessions-ttl': '2s' }, async (s) => {
      const cstate = encodeURIComponent('{"c":"1"}');
      const first = await connect(s, 'ann', { more: `&cstate=${cstate}` });
      const one = await enter(first, { id: 1, does: { follow: ['a', 'b'], istate: { k: '1', 'ü"': '✓' } } });
      const two = await enter(first, { id: 2, does: { follow: [], istate: { k: '2' } } });
      const gone = await enter(first, { id: 3, does: { follow: ['c'] } });
      first.unsubscribe(gone);
      perform(first, one, { istate: { k: '3' }, unfollow: ['b'], transmit: [{ done: 1 }] });
      await first.hears({ identifier: one, message: { done: 1 } });
      await s.application.called('unsubscribe');
      const before = kinds(s.application).length;
      await s.restart(how);
      const next = await arrive(s, 'ann', { more: `&sid=${first.sid}` });
      const welcome = await next.hears({ type: 'welcome' });
      assert.equal(welcome.restored, true);
      assert.deepEqual(welcome.restored_ids.toSorted(), [one, two].toSorted());
      next.sid = welcome.sid;
      assert.deepEqual(kinds(s.application).slice(before), []);
      const { identifiers, env } = await shows(s, next, one);
      assert.equal(identifiers, '{"user":"ann"}');
      assert.deepEqual([env.cstate, env.istate], [{ c: '1' }, { k: '3', 'ü"': '✓' }]);
      assert.deepEqual((await shows(s, next, two)).env.istate, { k: '2' });
      await s.http.publish('b', 'no');
      await s.http.publish('a', 'yes');
      assert.equal((await next.hears({ identifier: one })).message, 'yes');
      await next.close();
      const [{ metadata, message }] = await s.application.called('disconnect');
      assert.deepEqual([metadata.sid, metadata['disconnect-id']], [next.sid, first.sid]);
      assert.deepEqual(message.subscriptions.toSorted(), [one, two].toSorted());
      assert.deepEqual(JSON.parse(message.env.istate[one]), { k: '3', 'ü"': '✓' });
      await s.restart('SIGKILL');
      await pass(500);
      assert.equal(ends(s.application).length, 1, 'what it was told it is not told again');
    }, Application);
  }
}

for (const how of HOW) {
  restarting(`who doesn’t come back after ${how} has gone: told once`, { 'sessions-ttl': '1s', 'secret': SECRET }, async (s) => {
    const sockets = [];
    for (const protocol of [BASE, EXTENDED]) {
      const socket = await connect(s, protocol, { protocol });
      await enter(socket, { id: 1, does: { istate: { k: 'v' } } });
      sockets.push(socket);
    }
    const member = await s.socket(`/cable?${jid('member')}`); // Connect isn't asked
    await enter(member, { id: 1 });
    const signed = await s.socket(`/cable?${jid('signed')}`); // nothing is
    await s.restart(how);
    const told = await s.application.called('disconnect', 3);
    const users = told.map(({ message }) => JSON.parse(message.identifiers).user);
    assert.deepEqual(users.toSorted(), [BASE, EXTENDED, 'member'].toSorted());
    for (const { message } of told) assert.equal(message.subscriptions.length, 1);
    assert.ok(!endIds(s.application).includes(signed.sid));
    await pass(500); // what is answered and killed at once may be told again
    await s.restart('SIGKILL');
    await pass(1500);
    assert.equal(ends(s.application).length, 3);
  });
}

restarting('an end that the application fails to hear is told by the next process', { 'sessions-ttl': '100ms' }, async (s) => {
  s.application.meet('disconnect', refuse('UNAVAILABLE'), 1000);
  const socket = await connect(s, 'ann');
  await enter(socket, { id: 1 });
  await socket.close();
  await s.application.called('disconnect');
  const { application } = s;
  s.application.close();
  s.broker.kill('SIGKILL');
  await s.broker.exited();
  const next = await new HttpApplication().open();
  s.t.after(() => next.close());
  s.application = next;
  s.broker = await s.start({ ...s.flags, 'rpc-host': next.host });
  const [{ metadata }] = await next.called('disconnect');
  assert.equal(metadata['disconnect-id'], socket.sid);
  s.application = application;
});

restarting('a broker that asks nobody any more forgets', { 'sessions-ttl': '100ms' }, async (s) => {
  const socket = await connect(s, 'ann');
  await enter(socket, { id: 1 });
  await s.restart('SIGKILL', { norpc: true });
  await pass(1500);
  await s.restart('SIGKILL');
  await pass(500);
  assert.deepEqual(ends(s.application), []);
});

restarting('it is killed again and again, and no end is lost', { 'sessions-ttl': '300ms', 'disconnect-rate': 2000 }, async (s) => {
  // a session that was welcomed ends, whatever happens; `told` is how often the application was told each end
  const welcomed = new Set();
  for (let round = 0; round < ROUNDS; round += 1) {
    let isKilled = false;
    const client = async (n) => {
      while (!isKilled) {
        const protocol = n % 2 ? BASE : EXTENDED;
        const socket = await arrive(s, `u${n}`, { protocol }).catch(() => null);
        const welcome = await socket?.hears({ type: 'welcome' }).catch(() => null);
        if (!welcome) return;
        welcomed.add(welcome.sid);
        const identifier = ask(socket, { id: n });
        const confirmed = await socket.hears({ type: 'confirm_subscription', identifier }).catch(() => null);
        if (!confirmed) return;
        if (n % 3 === 0) socket.terminate();
        else await pass(50 * n);
      }
    };
    const clients = Array.from({ length: 12 }, (_, n) => client(n));
    await pass(300 + 100 * (round % 3));
    s.broker.kill('SIGKILL');
    isKilled = true;
    await Promise.all(clients);
    await s.restart('SIGKILL');
  }
  const missing = () => {
    const told = new Set(endIds(s.application));
    return [...welcomed].filter((sid) => !told.has(sid));
  };
  await until(() => missing().length === 0, 'every session that was welcomed has ended').catch((error) => {
    throw new Error(`${missing().length} of ${welcomed.size} ends are lost`, { cause: error });
  });
  await pass(1000);
  const told = endIds(s.application);
  s.t.diagnostic(`${welcomed.size} sessions, ${told.length} ends told, ${told.length - new Set(told).size} of them again`);
});
