// Who is present: joining, leaving, asking, being refused.

import assert from 'node:assert/strict';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';

scenario('a join is told to every subscriber, the joiner included', {}, async (s) => {
  const [ann, identifier] = await s.subscriber('room');
  const [bob] = await s.subscriber('room');
  const [far] = await s.subscriber('elsewhere');
  ann.join(identifier, 'ann', { name: 'Ann' });
  const message = { type: 'join', id: 'ann', info: { name: 'Ann' } };
  for (const socket of [ann, bob]) {
    const frame = await socket.hears({ type: 'presence' });
    assert.deepEqual(frame, { type: 'presence', identifier, message });
  }
  await far.settle();
  far.hearsNothing();
});

scenario('a leave is told to every subscriber, the leaver included', {}, async (s) => {
  const [bob, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann');
  ann.leave(identifier);
  for (const socket of [ann, bob]) {
    const frame = await socket.hears({ message: { type: 'leave', id: 'ann' } });
    assert.deepEqual(frame, { type: 'presence', identifier, message: { type: 'leave', id: 'ann' } });
  }
});

scenario('unsubscribing is leaving', {}, async (s) => {
  const [bob, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann');
  ann.unsubscribe(identifier);
  assert.deepEqual(await bob.hearsPresence(identifier, 'leave'), { type: 'leave', id: 'ann' });
  await ann.settle();
  ann.hearsNothing('who unsubscribed follows no more');
});

scenario('a member who left can join again', {}, async (s) => {
  const [bob, identifier] = await s.subscriber('room');
  const [ann] = await s.member('room', 'ann', 0);
  for (const info of [1, 2]) {
    ann.leave(identifier);
    ann.join(identifier, 'ann', info);
  }
  await ann.settle(identifier);
  await bob.settle(identifier);
  const id = 'ann';
  const leave = { type: 'leave', id };
  const joins = [0, 1, 2].map((info) => ({ type: 'join', id, info }));
  const told = bob.unheard.map((frame) => frame.message);
  assert.deepEqual(told, [joins[0], leave, joins[1], leave, joins[2]]);
});

scenario('the same client may come back under another name', {}, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann');
  ann.leave(identifier);
  ann.join(identifier, 'anne');
  assert.equal((await ann.hearsPresence(identifier, 'leave')).id, 'ann');
  assert.equal((await ann.hearsPresence(identifier, 'join')).id, 'anne');
  assert.deepEqual((await ann.list(identifier)).map((member) => member.id), ['anne']);
});

scenario('one client may be present in many streams under many names', {}, async (s) => {
  const socket = await s.socket();
  for (const n of [1, 2, 3]) {
    const identifier = await socket.subscribe(`room/${n}`);
    socket.join(identifier, `name-${n}`, n);
    await socket.hearsPresence(identifier, 'join');
  }
  for (const n of [1, 2, 3]) {
    const members = await socket.list(identify(`room/${n}`));
    assert.deepEqual(members, [{ id: `name-${n}`, info: n }]);
  }
});

scenario('the list is in order of arrival', {}, async (s) => {
  const ids = ['zoe', 'ann', '10', '9', 'Émile', 'bob'];
  const [observer, identifier] = await s.subscriber('room');
  for (const id of ids) await s.member('room', id, { of: id });
  const expected = ids.map((id) => ({ id, info: { of: id } }));
  assert.deepEqual(await observer.list(identifier), expected);
  assert.equal(await observer.count(identifier), ids.length);
});

scenario('who leaves and comes back arrives last', {}, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann');
  await s.member('room', 'bob');
  ann.leave(identifier);
  ann.join(identifier, 'ann');
  const ids = (await ann.list(identifier)).map((member) => member.id);
  assert.deepEqual(ids, ['bob', 'ann']);
});

scenario('an update changes nobody’s place in the list', {}, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann', 1);
  await s.member('room', 'bob', 1);
  ann.join(identifier, 'ann', 2);
  const expected = [{ id: 'ann', info: 2 }, { id: 'bob', info: 1 }];
  assert.deepEqual(await ann.list(identifier), expected);
});

scenario('the list of an empty stream has the total 0', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  socket.send({ command: 'presence', identifier, data: {} });
  const { total, records } = await socket.hearsPresence(identifier, 'info');
  assert.equal(total, 0);
  assert.deepEqual(records ?? [], []);
});

scenario('the count alone comes without records', {}, async (s) => {
  const [socket, identifier] = await s.member('room', 'ann');
  await s.member('room', 'bob');
  await socket.hearsPresence(identifier, 'join');
  socket.send({ command: 'presence', identifier, data: { return_records: false } });
  const info = await socket.hearsPresence(identifier, 'info');
  assert.deepEqual(info, { type: 'info', total: 2 });
});

for (const [what, extra] of [
  ['without data', {}],
  ['with null for data', { data: null }],
  ['with empty data', { data: {} }],
  ['with return_records', { data: { return_records: true } }],
  ['with keys nobody knows', { data: { page: 1 } }],
]) {
  scenario(`a presence command ${what} lists the members`, {}, async (s) => {
    const [socket, identifier] = await s.member('room', 'ann', 1);
    socket.send({ command: 'presence', identifier, ...extra });
    const info = await socket.hearsPresence(identifier, 'info');
    assert.deepEqual(info, { type: 'info', total: 1, records: [{ id: 'ann', info: 1 }] });
  });
}

scenario('a list goes to the one who asks alone', {}, async (s) => {
  const [ann, identifier] = await s.subscriber('room');
  const [bob] = await s.subscriber('room');
  await ann.list(identifier);
  await bob.settle(identifier);
  bob.hearsNothing();
});

scenario('a watcher is not a member', {}, async (s) => {
  const [watcher, identifier] = await s.subscriber('room');
  await s.member('room', 'ann');
  await watcher.hearsPresence(identifier, 'join');
  assert.equal(await watcher.count(identifier), 1);
  watcher.unsubscribe(identifier);
  await watcher.settle();
  watcher.hearsNothing();
});

scenario('joining again with the same id and info is silent', {}, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann', { n: 1 });
  const [bob] = await s.subscriber('room');
  ann.join(identifier, 'ann', { n: 1 });
  await ann.settle(identifier);
  await bob.settle(identifier);
  ann.hearsNothing();
  bob.hearsNothing();
});

scenario('joining again with another info is an update to everyone', {}, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann', { n: 1 });
  const [bob] = await s.subscriber('room');
  ann.join(identifier, 'ann', { n: 2 });
  const update = { type: 'update', id: 'ann', info: { n: 2 } };
  for (const socket of [ann, bob]) {
    assert.deepEqual(await socket.hearsPresence(identifier, 'update'), update);
  }
  assert.deepEqual(await bob.list(identifier), [{ id: 'ann', info: { n: 2 } }]);
});

scenario('an info passes through byte for byte, in events and in lists', {}, async (s) => {
  const [bob, identifier] = await s.subscriber('room');
  const ann = await s.socket();
  const info = '{ "n" : 9007199254740993, "u":"\\u00e9\\/é", "f":1.50,"n":2,\t"e":[ ] }';
  await ann.subscribe('room');
  const named = JSON.stringify(identifier);
  ann.send(`{"command":"join","identifier":${named},"presence":{"id":"ann","info":${info}}}`);
  const event = await bob.hears({ type: 'presence' });
  assert.ok(event.raw.includes(info), event.raw);
  bob.send({ command: 'presence', identifier, data: {} });
  const list = await bob.hears({ type: 'presence' });
  assert.ok(list.raw.includes(info), list.raw);
  const { text } = await s.http.request('/api/presence/room/users');
  assert.ok(text.includes(info), text);
});

for (const info of ['text', 7, true, null, [], { a: { b: [1] } }]) {
  scenario(`an info may be ${JSON.stringify(info)}`, {}, async (s) => {
    const [ann, identifier] = await s.subscriber('room');
    ann.join(identifier, 'ann', info);
    assert.deepEqual((await ann.hearsPresence(identifier, 'join')).info, info);
    assert.deepEqual(await ann.list(identifier), [{ id: 'ann', info }]);
  });
}

scenario('an info may be missing', {}, async (s) => {
  const [ann, identifier] = await s.subscriber('room');
  ann.join(identifier, 'ann');
  assert.equal((await ann.hearsPresence(identifier, 'join')).info ?? null, null);
  const [member] = await ann.list(identifier);
  assert.equal(member.info ?? null, null);
});

for (const id of ['ünï✓😀', 'a/b?c=d', '"\\', '\u0000', ' ', '😀'.repeat(128), 'x'.repeat(128)]) {
  const shown = id.length > 20 ? `128 times ${id.slice(0, 2)}` : JSON.stringify(id);
  scenario(`a presence id may be ${shown}`, {}, async (s) => {
    const [ann, identifier] = await s.subscriber('room');
    ann.join(identifier, id, 1);
    assert.equal((await ann.hearsPresence(identifier, 'join')).id, id);
    assert.deepEqual(await ann.list(identifier), [{ id, info: 1 }]);
    ann.leave(identifier);
    assert.equal((await ann.hearsPresence(identifier, 'leave')).id, id);
  });
}

for (const [what, command] of [
  ['a leave without a join', { command: 'leave' }],
  ['a join with an empty id', { command: 'join', presence: { id: '', info: {} } }],
  ['a join without an id', { command: 'join', presence: { info: {} } }],
  ['a join with a number for an id', { command: 'join', presence: { id: 7 } }],
  ['a join with null for an id', { command: 'join', presence: { id: null } }],
  ['a join without presence', { command: 'join' }],
  ['a join whose presence is a string', { command: 'join', presence: 'ann' }],
  ['a join whose presence is a list', { command: 'join', presence: ['ann', {}] }],
  ['a join with an id of 129 characters', { command: 'join', presence: { id: 'x'.repeat(129) } }],
  ['a join with an info over its limit', { command: 'join', presence: { id: 'a', info: 'x'.repeat(4096) } }],
  ['a presence command whose data is a string', { command: 'presence', data: 'all' }],
  ['a presence command that wants maybe the records', { command: 'presence', data: { return_records: 'maybe' } }],
]) {
  scenario(`${what} gets an error with a reason, and the connection stays`, {}, async (s) => {
    const [socket, identifier] = await s.subscriber('room');
    const [bystander] = await s.member('room', 'bob');
    await socket.hearsPresence(identifier, 'join');
    socket.send({ identifier, ...command });
    const error = await socket.hearsPresence(identifier, 'error');
    assert.deepEqual(Object.keys(error).sort(), ['reason', 'type']);
    assert.ok(typeof error.reason === 'string' && error.reason.length > 5, error.reason);
    assert.equal(await socket.count(identifier), 1);
    await bystander.settle(identifier);
    bystander.hearsNothing();
    socket.hearsNothing();
  });
}

for (const command of ['join', 'leave', 'presence']) {
  scenario(`${command} on a stream the client does not follow gets an error`, {}, async (s) => {
    const [bystander] = await s.subscriber('room');
    const identifier = identify('room');
    const socket = await s.socket();
    socket.send({ command, identifier, presence: { id: 'ann', info: {} }, data: {} });
    const { reason } = await socket.hearsPresence(identifier, 'error');
    assert.ok(reason.length > 5, reason);
    await bystander.settle(identifier);
    bystander.hearsNothing();
  });
}

scenario('a second id on one subscription is refused, the first stays', {}, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann', 1);
  ann.join(identifier, 'bob', 1);
  await ann.hearsPresence(identifier, 'error');
  assert.deepEqual(await ann.list(identifier), [{ id: 'ann', info: 1 }]);
});

scenario('a second leave is refused', {}, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann');
  ann.leave(identifier);
  await ann.hearsPresence(identifier, 'leave');
  ann.leave(identifier);
  await ann.hearsPresence(identifier, 'error');
});

scenario('a refused update leaves the info as it was', {}, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann', { n: 1 });
  ann.join(identifier, 'ann', 'x'.repeat(5000));
  await ann.hearsPresence(identifier, 'error');
  assert.deepEqual(await ann.list(identifier), [{ id: 'ann', info: { n: 1 } }]);
});

scenario('an info of exactly the limit is accepted', { 'max-presence-info-size': 50 }, async (s) => {
  const [ann, identifier] = await s.subscriber('room');
  ann.join(identifier, 'ann', 'x'.repeat(49));
  await ann.hearsPresence(identifier, 'error');
  ann.join(identifier, 'ann', 'x'.repeat(48));
  await ann.hearsPresence(identifier, 'join');
});

scenario('the longest id is a setting', { 'max-presence-id-length': 3 }, async (s) => {
  const [ann, identifier] = await s.subscriber('room');
  ann.join(identifier, 'anna', 1);
  await ann.hearsPresence(identifier, 'error');
  ann.join(identifier, 'änn', 1);
  await ann.hearsPresence(identifier, 'join');
});

scenario('GET /api/presence/{stream}/users tells who is present', {}, async (s) => {
  await s.member('room', 'zoe', { n: 1 });
  await s.member('room', 'ann', null);
  assert.deepEqual(await s.http.users('room'), {
    type: 'info',
    total: 2,
    records: [{ id: 'zoe', info: { n: 1 } }, { id: 'ann', info: null }],
  });
});

scenario('the API tells the count alone when asked to', {}, async (s) => {
  await s.member('room', 'ann');
  const count = await s.http.users('room', '?return_records=false');
  assert.deepEqual(count, { type: 'info', total: 1 });
  assert.equal((await s.http.users('room', '?return_records=true')).records.length, 1);
});

scenario('the API tells of an empty stream that its total is 0', {}, async (s) => {
  assert.deepEqual(await s.http.users('nobody'), { type: 'info', total: 0 });
  const [ann, identifier] = await s.member('room', 'ann');
  ann.leave(identifier);
  await ann.settle(identifier);
  assert.deepEqual(await s.http.users('room'), { type: 'info', total: 0 });
});

for (const name of ['chat/1', 'ünï ✓😀', '100%', '%2F', 'a+b c', '..', '?#&=', 'x'.repeat(300)]) {
  scenario(`the API finds the stream «${name.slice(0, 20)}» by its encoded name`, {}, async (s) => {
    await s.member(name, 'ann');
    // encodeURIComponent leaves dots alone, and clients resolve them away.
    const encoded = encodeURIComponent(name).replaceAll('.', '%2E');
    const wire = await s.wire();
    wire.write(`GET /api/presence/${encoded}/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    const body = new Promise((resolve) => {
      let text = '';
      wire.socket.on('data', (bytes) => (text += bytes)).once('close', () => resolve(text));
    });
    assert.equal((await wire.answer()).status, 200);
    assert.match(await body, /"total":1/);
  });
}

scenario('a path that is badly encoded is nobody’s problem but the asker’s', {}, async (s) => {
  const bystander = await s.socket();
  for (const segment of ['%', '%zz', '%ff', '%c3', '%00', '']) {
    const { status } = await s.http.request(`/api/presence/${segment}/users`);
    assert.ok(status < 500, `${segment}: HTTP ${status}`);
  }
  await bystander.settle();
});

for (const [what, info] of [
  ['nested a thousand deep', `${'['.repeat(1000)}${']'.repeat(1000)}`],
  ['with half a surrogate pair', '{"name":"\\ud83d"}'],
]) {
  scenario(`an info ${what} is refused: it would make everybody's list unreadable`, {}, async (s) => {
    const [socket, identifier] = await s.subscriber('room');
    socket.send(`{"command":"join","identifier":${JSON.stringify(identifier)},"presence":{"id":"u","info":${info}}}`);
    assert.match((await socket.hearsPresence(identifier, 'error')).reason, /^the presence info /);
    assert.deepEqual((await s.http.users('room')).total, 0);
  });
}
