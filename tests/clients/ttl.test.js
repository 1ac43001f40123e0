// How long a member stays whose connection ended, and that a connected one stays for ever.

import assert from 'node:assert/strict';
import { LATE, pass } from './support/patience.js';
import { scenario } from './support/scenario.js';

/** How much earlier than due a timer may seem to fire, in ms: two processes, two clocks. */
const EARLY = 60;

/** Long enough for whoever has to do something before it is over. */
const TTL = 4000;
const SHORT = { 'presence-ttl': `${TTL}ms` };

/** The observer hears the leave one TTL after `since`, neither before nor much later. */
async function leavesAfter(observer, identifier, since, ttl) {
  const { id } = await observer.hearsPresence(identifier, 'leave', ttl + LATE + 1000);
  const waited = performance.now() - since;
  assert.equal(id, 'ann');
  assert.ok(waited >= ttl - EARLY, `the leave came after ${waited} ms, before the TTL of ${ttl}`);
  assert.ok(waited <= ttl + LATE, `the leave came after ${waited} ms, the TTL is ${ttl}`);
  observer.hearsNothing();
}

for (const [what, end] of [
  ['closes its connection', (socket) => socket.ws.close(1000)],
  ['closes without a code', (socket) => socket.ws.close()],
  ['goes away as browsers do', (socket) => socket.ws.close(1001)],
  ['loses its connection', (socket) => socket.terminate()],
  ['resets its connection', (socket) => socket.ws._socket.resetAndDestroy()],
  ['breaks the protocol', (socket) => socket.ws.send(Buffer.from([1]))],
]) {
  scenario(`a member that ${what} leaves when the TTL is over`, SHORT, async (s) => {
    const [observer, identifier] = await s.subscriber('room');
    const [ann] = await s.member('room', 'ann');
    await observer.hearsPresence(identifier, 'join');
    const since = performance.now();
    end(ann);
    await s.connections(1);
    assert.equal(await observer.count(identifier), 1, 'present within the TTL');
    await leavesAfter(observer, identifier, since, TTL);
    assert.equal(await observer.count(identifier), 0);
    assert.equal((await s.http.users('room')).total, 0);
  });
}

scenario('a member whose process is killed leaves when the TTL is over', SHORT, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const visitor = await s.visitor('room', 'ann');
  await observer.hearsPresence(identifier, 'join');
  const since = performance.now();
  visitor.kill('SIGKILL');
  await leavesAfter(observer, identifier, since, TTL);
});

scenario('the TTL is 15 seconds when nothing else is said', {}, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann');
  await observer.hearsPresence(identifier, 'join');
  const since = performance.now();
  ann.terminate();
  await leavesAfter(observer, identifier, since, 15_000);
});

scenario('with a TTL of 0 a member leaves with its connection', { 'presence-ttl': '0s' }, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  for (const end of [(socket) => socket.close(), (socket) => socket.terminate()]) {
    const [ann] = await s.member('room', 'ann');
    await observer.hearsPresence(identifier, 'join');
    const since = performance.now();
    await end(ann);
    await leavesAfter(observer, identifier, since, 0);
  }
});

scenario('leaving on purpose waits for no TTL', { 'presence-ttl': '60s' }, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann');
  const [bob] = await s.member('room', 'bob');
  ann.leave(identifier);
  assert.equal((await observer.hearsPresence(identifier, 'leave')).id, 'ann');
  bob.unsubscribe(identifier);
  assert.equal((await observer.hearsPresence(identifier, 'leave')).id, 'bob');
});

scenario('who comes back within the TTL never went', SHORT, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  let [ann] = await s.member('room', 'ann', { n: 1 });
  await observer.hearsPresence(identifier, 'join');
  for (let times = 0; times < 3; times += 1) {
    ann.terminate();
    await s.connections(1);
    [ann] = await s.member('room', 'ann', { n: 1 });
  }
  await pass(TTL + 500);
  await observer.settle(identifier);
  observer.hearsNothing('neither the return nor the old records’ expiry is told');
  assert.deepEqual(await observer.list(identifier), [{ id: 'ann', info: { n: 1 } }]);
  await s.counts({ broker_presence_records: 1 }); // the old ones expired
});

scenario('who comes back within the TTL keeps the place in the list', SHORT, async (s) => {
  const [ann] = await s.member('room', 'ann', 1);
  const [bob, identifier] = await s.member('room', 'bob', 1);
  ann.terminate();
  await s.connections(1);
  await s.member('room', 'ann', 1);
  await s.counts({ broker_presence_records: 2 });
  const ids = (await bob.list(identifier)).map((member) => member.id);
  assert.deepEqual(ids, ['ann', 'bob']);
});

scenario('who comes back with another info is updated', SHORT, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann', 'old');
  await observer.hearsPresence(identifier, 'join');
  ann.terminate();
  await s.connections(1);
  await s.member('room', 'ann', 'new');
  const update = { type: 'update', id: 'ann', info: 'new' };
  assert.deepEqual(await observer.hearsPresence(identifier, 'update'), update);
  await s.counts({ broker_presence_records: 1 });
  await observer.settle(identifier);
  observer.hearsNothing('the old record’s expiry is told to nobody');
});

scenario('who comes back after the TTL joins anew', { 'presence-ttl': '200ms' }, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann');
  ann.terminate();
  await observer.hearsPresence(identifier, 'leave');
  await s.member('room', 'ann');
  await observer.hearsPresence(identifier, 'join');
});

scenario('a new connection that only watches saves nobody', SHORT, async (s) => {
  const [ann] = await s.member('room', 'ann');
  ann.terminate();
  const [watcher, identifier] = await s.subscriber('room');
  assert.equal((await watcher.hearsPresence(identifier, 'leave')).id, 'ann');
});

scenario('a connected member outlives any number of TTLs', { 'presence-ttl': '100ms' }, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  await s.member('room', 'ann');
  await observer.hearsPresence(identifier, 'join');
  await pass(1500);
  await observer.settle(identifier);
  observer.hearsNothing();
});

scenario('a thousand members of one lost connection leave', { 'presence-ttl': '300ms' }, async (s) => {
  const observer = await s.socket();
  const socket = await s.socket();
  for (let n = 0; n < 1000; n += 1) {
    const identifier = await socket.subscribe(`room/${n}`);
    socket.join(identifier, 'ann', n);
    await observer.subscribe(`room/${n}`);
    await socket.settle(identifier);
  }
  await s.counts({ broker_presence_members: 1000 });
  socket.terminate();
  for (let n = 0; n < 1000; n += 1) await observer.hears({ message: { type: 'leave', id: 'ann' } });
  await s.counts({ broker_presence_members: 0 });
});
