// The application removes a member: what becomes of the member's sessions, and of the application's records
// when the broker ends.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LATE, pass, until } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';

const path = (stream, id) => `/api/presence/${stream}/${id}`;

async function kick(s, stream, id) {
  const { status, json } = await s.http.request(path(stream, id), { method: 'DELETE' });
  assert.equal(status, 200);
  return json.removed;
}

async function put(s, stream, id, body) {
  const { status } = await s.http.request(path(stream, id), { method: 'PUT', body: JSON.stringify(body) });
  assert.equal(status, 201);
}

scenario('who was taken out hears of it, follows on and has not joined', {}, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann');
  assert.equal(await kick(s, 'room', 'ann'), 1);
  assert.deepEqual(await ann.hearsPresence(identifier, 'leave'), { type: 'leave', id: 'ann' });
  ann.leave(identifier);
  assert.equal((await ann.hearsPresence(identifier, 'error')).reason, 'this subscription has not joined');
  ann.join(identifier, 'bob', {});
  assert.equal((await ann.hearsPresence(identifier, 'join')).id, 'bob', 'under any id');
  await s.http.publish('room', 1);
  await ann.hears({ message: 1 });
  await s.counts({ 'broker_presence_leaves_total{cause="kicked"}': 1, broker_presence_records: 1 });
});

scenario('a record that was taken out does not count against a client', { 'max-records': 2 }, async (s) => {
  const [ann, one] = await s.member('one', 'ann');
  const joins = async (identifier) => {
    ann.join(identifier, 'ann', {});
    await ann.hearsPresence(identifier, 'join');
  };
  const refused = async (identifier) => {
    ann.join(identifier, 'ann', {});
    assert.match((await ann.hearsPresence(identifier, 'error')).reason, /at most 2 are allowed/);
  };
  const [two, three] = [await ann.subscribe('two'), await ann.subscribe('three')];
  await joins(two);
  await refused(three);
  await kick(s, 'one', 'ann');
  await joins(three);
  await refused(one);
  await kick(s, 'two', 'ann');
  await joins(two);
  await refused(one);
});

scenario('a session that is resumed is not present where it was taken out', { 'max-records': 1 }, async (s) => {
  const [ann, one] = await s.member('one', 'ann');
  const two = await ann.subscribe('two');
  ann.terminate();
  await s.connections(0);
  assert.equal(await kick(s, 'one', 'ann'), 1);
  const back = await s.open(`/cable?sid=${ann.sid}`);
  assert.equal((await back.hears({ type: 'welcome' })).restored, true);
  assert.equal((await back.hearsPresence(one, 'leave')).id, 'ann', 'it is told what it missed');
  assert.deepEqual(await back.list(one), []);
  back.join(two, 'ann', {});
  await back.hearsPresence(two, 'join');
  back.leave(one);
  await back.hearsPresence(one, 'error');
});

for (const how of ['SIGTERM', 'SIGKILL']) {
  const dir = mkdtempSync(join(tmpdir(), 'broker-state-'));
  const flags = { 'state-dir': dir, 'presence-ttl': '300ms' };
  scenario(`${how}: what was put is there after a restart, for what is left of its time`, flags, async (s) => {
    s.cleanup(() => rmSync(dir, { recursive: true, force: true }));
    // what is on disk takes a while to read, and that is part of the time
    const data = JSON.stringify('x'.repeat(500));
    for (let n = 0; n < 200; n += 1) {
      const batch = Array.from({ length: 100 }, () => ({ stream: `stream/${n}`, data }));
      assert.equal((await s.http.post('/_broadcast', batch)).status, 201);
    }
    const since = performance.now();
    await put(s, 'room', 'bell', { info: 'rings', ttl: '7s' });
    await put(s, 'room', 'lamp', { info: { on: true } });
    await put(s, 'room', 'door', {});
    await put(s, 'room', 'fuse', { ttl: '500ms' });
    const lit = performance.now();
    await kick(s, 'room', 'door');
    const { port } = s.broker;
    s.broker.kill(how);
    await s.broker.exited();
    await pass(600 - (performance.now() - lit));
    s.broker = await s.start({ ...flags, port });
    const { records } = await s.http.users('room');
    assert.deepEqual(records, [{ id: 'bell', info: 'rings' }, { id: 'lamp', info: { on: true } }]);
    const [watcher] = await s.subscriber('room');
    assert.equal((await watcher.hearsPresence(identify('room'), 'leave', 7000 + LATE)).id, 'bell');
    const waited = performance.now() - since;
    assert.ok(waited >= 6990 && waited < 7000 + LATE, `gone after ${waited} ms`);
    await until(async () => (await s.http.ids('room')).join() === 'lamp', 'the other stays');
  });
}
