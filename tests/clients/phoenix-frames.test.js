// Phoenix Channels frame by frame: what stands on the wire, in which order, and what becomes of
// frames that can't be followed.

import assert from 'node:assert/strict';
import { settle } from './support/mark.js';
import { until } from './support/patience.js';
import { phoenixMember, phoenixSocketTo } from './support/phoenix.js';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';

const LOBBY = 'room:lobby';
const USER = 'user_id=ann&vsn=2.0.0';

/** The frames of presence among those a socket heard. */
const presenceOf = (socket) => socket.frames.filter(([, , , event]) => event.startsWith('presence_'));

/** Why a socket's first frame couldn't be followed: the reply to it, or an event if it has no ref. */
async function refusal(socket) {
  await until(() => socket.frames.length > 0, 'an answer');
  const [[, , , event, { status, response, reason }]] = socket.frames;
  if (event === 'phx_reply') assert.equal(status, 'error');
  else assert.equal(event, 'broker:error');
  return response?.reason ?? reason;
}

/** The refs of a member's metas. */
const refs = ({ metas }) => metas.map(({ phx_ref }) => phx_ref);

scenario('a join is answered, then the others are told, then one’s own arrival', {}, async (s) => {
  await phoenixMember(s, LOBBY, 'bob', { meta: { n: 1 } });
  const ann = await phoenixSocketTo(s, USER);
  ann.send(['7', '7', LOBBY, 'phx_join', {}]);
  await ann.hears({ ref: '7' });
  await settle(s, LOBBY, ann);
  assert.equal(ann.transcript[0], `["7","7","${LOBBY}","phx_reply",{"status":"ok","response":{}}]`);
  const [, state, diff, ...rest] = ann.frames;
  assert.equal(rest.length, 1, 'the mark');
  assert.deepEqual(state.slice(0, 4), ['7', null, LOBBY, 'presence_state']);
  const { bob } = state[4];
  assert.deepEqual(Object.keys(state[4]), ['bob'], 'without oneself');
  assert.equal(bob.metas[0].n, 1);
  assert.deepEqual(diff.slice(0, 4), [null, null, LOBBY, 'presence_diff']);
  const { joins, leaves } = diff[4];
  assert.deepEqual(leaves, {});
  assert.deepEqual(Object.keys(joins), ['ann']);
  assert.equal(joins.ann.metas.length, 1);
  assert.notEqual(refs(joins.ann)[0], refs(bob)[0]);
});

scenario('the state comes once, and only diffs after it', {}, async (s) => {
  const watcher = await phoenixSocketTo(s);
  await watcher.join(LOBBY);
  for (const user of ['a', 'b', 'c']) {
    const [socket, joinRef] = await phoenixMember(s, LOBBY, user);
    if (user === 'b') await socket.ask(LOBBY, 'phx_leave', {}, joinRef);
  }
  await settle(s, LOBBY, watcher);
  const [state, ...diffs] = presenceOf(watcher);
  assert.equal(state[3], 'presence_state');
  assert.deepEqual(state[4], {});
  assert.ok(diffs.every(([joinRef, ref, , event]) => joinRef === null && ref === null && event === 'presence_diff'));
  const told = diffs.map(([, , , , { joins, leaves }]) => [Object.keys(joins), Object.keys(leaves)]);
  assert.deepEqual(told, [[['a'], []], [['b'], []], [[], ['b']], [['c'], []]]);
});

scenario('a second device is a further meta, and leaves by its own ref', {}, async (s) => {
  const watcher = await phoenixSocketTo(s);
  await watcher.join(LOBBY);
  await phoenixMember(s, LOBBY, 'ann');
  const [tab, joinRef] = await phoenixMember(s, LOBBY, 'ann');
  await tab.ask(LOBBY, 'phx_leave', {}, joinRef);
  await settle(s, LOBBY, watcher);
  const [, first, second, gone] = presenceOf(watcher).map(([, , , , payload]) => payload);
  assert.equal(second.joins.ann.metas.length, 1, 'a diff has the new meta alone');
  assert.notDeepEqual(refs(first.joins.ann), refs(second.joins.ann));
  assert.deepEqual(gone.joins, {});
  assert.deepEqual(gone.leaves, second.joins);
});

scenario('an update is one diff with the new meta and the old', {}, async (s) => {
  const watcher = await phoenixSocketTo(s);
  await watcher.join(LOBBY);
  const [ann, joinRef] = await phoenixMember(s, LOBBY, 'ann', { meta: { n: 1 } });
  const { payload } = await ann.ask(LOBBY, 'presence:update', { meta: { n: 2 } }, joinRef);
  assert.deepEqual(payload, { status: 'ok', response: {} });
  await settle(s, LOBBY, watcher);
  const [, arrival, update] = presenceOf(watcher).map(([, , , , diff]) => diff);
  assert.deepEqual(update.leaves, arrival.joins);
  const [meta] = update.joins.ann.metas;
  assert.equal(meta.n, 2);
  assert.equal(meta.phx_ref_prev, refs(arrival.joins.ann)[0]);
  assert.equal(update.joins.ann.metas.length, 1);
});

scenario('a newcomer is told the same refs that the others know', {}, async (s) => {
  const watcher = await phoenixSocketTo(s);
  await watcher.join(LOBBY);
  const [ann, joinRef] = await phoenixMember(s, LOBBY, 'ann');
  await ann.ask(LOBBY, 'presence:update', { meta: { n: 2 } }, joinRef);
  await settle(s, LOBBY, watcher);
  const late = await phoenixSocketTo(s);
  await late.join(LOBBY);
  await settle(s, LOBBY, late);
  const [known] = presenceOf(late);
  const diffs = presenceOf(watcher).map(([, , , , diff]) => diff);
  assert.deepEqual(refs(known[4].ann), refs(diffs.at(-1).joins.ann));
  assert.equal('phx_ref_prev' in known[4].ann.metas[0], false, 'there is nothing before in a state');
});

// each of the 200 on one connection gets all events
scenario('what happens at once is told at once', { 'max-outbox-size': '64MiB' }, async (s) => {
  const watcher = await phoenixSocketTo(s);
  await watcher.join(LOBBY);
  const crowd = await s.socket();
  const identifiers = [];
  for (let n = 0; n < 200; n += 1) identifiers.push(await crowd.subscribe(LOBBY, { n }));
  crowd.ws._socket.cork(); // so that all is in the broker's hands at the same time
  identifiers.forEach((identifier, n) => crowd.join(identifier, `user-${n}`, { n }));
  crowd.ws._socket.uncork();
  await crowd.settle(identifiers.at(-1));
  await settle(s, LOBBY, watcher);
  const diffs = presenceOf(watcher).slice(1).map(([, , , , diff]) => diff);
  assert.ok(diffs.length < 200, `${diffs.length} diffs for 200 joins`);
  const joined = diffs.flatMap(({ joins }) => Object.keys(joins));
  assert.deepEqual(joined.sort(), identifiers.map((_, n) => `user-${n}`).sort());
});

scenario('who comes and goes at once has not been left over', {}, async (s) => {
  const watcher = await phoenixSocketTo(s);
  await watcher.join(LOBBY);
  const [busy, identifier] = await s.subscriber(LOBBY);
  busy.ws._socket.cork();
  for (let n = 0; n < 100; n += 1) {
    busy.join(identifier, 'ann', { n });
    busy.leave(identifier);
  }
  busy.join(identifier, 'ann', { n: 'last' });
  busy.ws._socket.uncork();
  await busy.settle(identifier);
  await settle(s, LOBBY, watcher);
  // as the client does it: joins first, then leaves
  const present = new Map();
  for (const [, , , , { joins = {}, leaves = {} }] of presenceOf(watcher).slice(1)) {
    for (const meta of joins.ann?.metas ?? []) present.set(meta.phx_ref, meta);
    for (const meta of leaves.ann?.metas ?? []) present.delete(meta.phx_ref);
  }
  assert.deepEqual([...present.values()].map(({ n }) => n), ['last']);
});

scenario('a heartbeat is answered, whatever is joined', {}, async (s) => {
  const socket = await phoenixSocketTo(s);
  socket.send([null, '9', 'phoenix', 'heartbeat', {}]);
  await socket.hears({ topic: 'phoenix' });
  assert.deepEqual(socket.transcript, ['[null,"9","phoenix","phx_reply",{"status":"ok","response":{}}]']);
});

scenario('nothing is said to a client that didn’t ask', { 'ping-interval': '100ms' }, async (s) => {
  const socket = await phoenixSocketTo(s, USER);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual(socket.transcript, []);
});

scenario('a push to a topic that isn’t joined is answered', {}, async (s) => {
  const socket = await phoenixSocketTo(s, USER);
  socket.send(['3', '4', 'room:other', 'shout', {}]);
  await socket.hears({ ref: '4' });
  const response = '{"status":"error","response":{"reason":"unmatched topic"}}';
  assert.deepEqual(socket.transcript, [`[null,"4","room:other","phx_reply",${response}]`]);
});

scenario('leaving a topic that isn’t joined is done already', {}, async (s) => {
  const socket = await phoenixSocketTo(s, USER);
  const { payload } = await socket.ask('room:other', 'phx_leave', {}, '1');
  assert.deepEqual(payload, { status: 'ok', response: {} });
});

scenario('a leave is answered, then the channel is closed', {}, async (s) => {
  const [ann] = await phoenixMember(s, LOBBY, 'ann');
  const before = ann.frames.length;
  ann.send(['1', '5', LOBBY, 'phx_leave', {}]);
  await ann.hears({ ref: '5' });
  await ann.hears({ event: 'phx_close' });
  const [reply, close, ...rest] = ann.frames.slice(before);
  assert.deepEqual(reply, ['1', '5', LOBBY, 'phx_reply', { status: 'ok', response: {} }]);
  assert.deepEqual([close[0], close[2], close[3], close[4]], ['1', LOBBY, 'phx_close', {}]);
  assert.deepEqual(rest, []);
  assert.equal((await s.http.users(LOBBY)).total, 0);
  await s.http.publish(LOBBY, 1);
  await ann.ask('phoenix', 'heartbeat');
  ann.hearsNothing('who left follows no more');
});

scenario('a second join of a topic is answered, and closes the first', {}, async (s) => {
  const watcher = await phoenixSocketTo(s);
  await watcher.join(LOBBY);
  const ann = await phoenixSocketTo(s, USER);
  ann.send(['1', '1', LOBBY, 'phx_join', { meta: { n: 1 } }]);
  await ann.hears({ ref: '1' });
  await settle(s, LOBBY, ann);
  const before = ann.frames.length;
  ann.send(['2', '2', LOBBY, 'phx_join', { meta: { n: 2 } }]);
  const reply = await ann.hears({ event: 'phx_reply', ref: '2' });
  assert.equal(reply.join_ref, '2');
  assert.equal(reply.payload.status, 'ok');
  const close = await ann.hears({ event: 'phx_close' });
  assert.equal(close.join_ref, '1');
  assert.equal(close.topic, LOBBY);
  await ann.hears({ event: 'presence_state', join_ref: '2' });
  await settle(s, LOBBY, ann, watcher);
  const marks = ann.frames.slice(before).filter(([, , , event]) => event === 'message');
  assert.equal(marks.length, 1, 'it follows once');
  const list = (await s.http.request(`/api/presence/${encodeURIComponent(LOBBY)}/ann`)).json;
  assert.deepEqual(list.metas.map(({ n }) => n), [2]);
});

scenario('what is said with a ref of an earlier join goes nowhere', {}, async (s) => {
  const bob = await phoenixSocketTo(s);
  await bob.join(LOBBY);
  const ann = await phoenixSocketTo(s, USER);
  const first = await ann.join(LOBBY);
  const second = await ann.join(LOBBY);
  ann.send([first, '90', LOBBY, 'shout', { stale: true }]);
  ann.send([first, '91', LOBBY, 'phx_leave', {}]);
  await ann.ask(LOBBY, 'shout', { stale: false }, second);
  assert.deepEqual((await bob.hears({ event: 'shout' })).payload, { stale: false });
  await settle(s, LOBBY, bob);
  assert.ok(!bob.frames.some(([, , , , { stale }]) => stale === true));
  assert.deepEqual(await s.http.ids(LOBBY), ['ann']);
});

scenario('a push may leave the join_ref out', {}, async (s) => {
  const bob = await phoenixSocketTo(s);
  await bob.join(LOBBY);
  const ann = await phoenixSocketTo(s, USER);
  await ann.join(LOBBY);
  ann.send([null, '9', LOBBY, 'shout', { n: 1 }]);
  assert.deepEqual((await bob.hears({ event: 'shout' })).payload, { n: 1 });
  assert.equal((await ann.hears({ event: 'phx_reply', ref: '9' })).payload.status, 'ok');
});

scenario('a push without a ref is followed and not answered', {}, async (s) => {
  const bob = await phoenixSocketTo(s);
  await bob.join(LOBBY);
  const [ann, joinRef] = await phoenixMember(s, LOBBY, 'ann');
  const before = ann.frames.length;
  ann.send([joinRef, null, LOBBY, 'shout', { n: 1 }]);
  await bob.hears({ event: 'shout' });
  await settle(s, LOBBY, ann);
  assert.equal(ann.frames.length, before + 1, 'the mark alone');
});

for (const [what, frame] of [
  ['no JSON', 'hello'],
  ['an object', '{"topic":"room:lobby","event":"phx_join","payload":{},"ref":"1"}'],
  ['an empty list', '[]'],
  ['a list that is too short', '["1","1","room:lobby","phx_join"]'],
  ['a topic that is no text', '["1","1",5,"phx_join",{}]'],
  ['an event that is no text', '["1","1","room:lobby",null,{}]'],
  ['an empty topic', '["1","1","","phx_join",{}]'],
  ['a ref that is an object', '["1",{},"room:lobby","phx_join",{}]'],
  ['an unfinished frame', '["1","1","room:lobby","phx_join",{"a":'],
]) {
  scenario(`a frame that can't be read is answered with the reason: ${what}`, {}, async (s) => {
    const [bob, identifier] = await s.member(LOBBY, 'bob');
    const socket = await phoenixSocketTo(s, USER);
    socket.send(frame);
    assert.match(await refusal(socket), /\w+ \w+/, 'a sentence');
    await socket.ask('phoenix', 'heartbeat');
    await socket.join(LOBBY);
    await bob.hearsPresence(identifier, 'join');
  });
}

for (const [what, payload] of [
  ['an id that is too long', { user_id: 'x'.repeat(129) }],
  ['an info that is too large', { join: { meta: { text: 'x'.repeat(5000) } } }],
  ['a meta that is no object', { join: { meta: 'online' } }],
]) {
  scenario(`a join with ${what} is refused with the reason`, {}, async (s) => {
    const { user_id: id = 'ann', join = {} } = payload;
    const socket = await phoenixSocketTo(s, `user_id=${id}&vsn=2.0.0`);
    const reply = await socket.ask(LOBBY, 'phx_join', join);
    assert.equal(reply.payload.status, 'error');
    assert.match(reply.payload.response.reason, /\w+ \w+/);
    assert.equal((await s.http.users(LOBBY)).total, 0);
    await socket.ask('phoenix', 'heartbeat');
  });
}

scenario('a binary frame ends its connection and no other', {}, async (s) => {
  const [ann] = await phoenixMember(s, LOBBY, 'ann');
  const [bob] = await phoenixMember(s, LOBBY, 'bob');
  ann.ws.send(Buffer.from([0, 1, 1, 1, 1, 49, 49, 97, 98]));
  assert.equal((await ann.closing()).code, 1003);
  await settle(s, LOBBY, bob);
});

scenario('a message that is too large ends its connection and no other', {}, async (s) => {
  const [ann, joinRef] = await phoenixMember(s, LOBBY, 'ann');
  const [bob] = await phoenixMember(s, LOBBY, 'bob');
  ann.send([joinRef, '9', LOBBY, 'shout', { text: 'x'.repeat(70_000) }]);
  assert.equal((await ann.closing()).code, 1009);
  await settle(s, LOBBY, bob);
});

scenario('payloads pass through byte for byte', {}, async (s) => {
  const [ann, joinRef] = await phoenixMember(s, LOBBY, 'ann');
  const [bob] = await phoenixMember(s, LOBBY, 'bob');
  const text = '{ "n": 9007199254740993, "t": "\\u00e9\\/é", "f": [1.0, -0, 1E+5] }';
  ann.send(`["${joinRef}","9","${LOBBY}","shout",${text}]`);
  assert.ok((await bob.hears({ event: 'shout' })).raw.endsWith(`"shout",${text}]`));
  await s.http.publishText(LOBBY, text, { event: 'news' });
  assert.ok((await bob.hears({ event: 'news' })).raw.endsWith(`"news",${text}]`));
});

scenario('a topic may have any name that JSON can write', {}, async (s) => {
  for (const topic of ['room:é "quoted" \\ / 😀', 'a/b?c=d#e', 'phoenix:x']) {
    const [ann] = await phoenixMember(s, topic, 'ann');
    await s.http.publish(topic, { n: 1 });
    assert.equal((await ann.hears({ event: 'message' })).topic, topic);
    assert.deepEqual(await s.http.ids(topic), ['ann']);
  }
});

scenario('an Action Cable member’s info is a meta', {}, async (s) => {
  const watcher = await phoenixSocketTo(s);
  await watcher.join(LOBBY);
  for (const [id, info] of [['object', { a: 1 }], ['nothing', null], ['text', 'hi'], ['list', [1]]]) {
    await s.member(LOBBY, id, info);
  }
  await settle(s, LOBBY, watcher);
  const joins = Object.assign({}, ...presenceOf(watcher).slice(1).map(([, , , , diff]) => diff.joins));
  const metas = Object.entries(joins).map(([id, { metas: [{ phx_ref, ...meta }] }]) => [id, meta]);
  assert.deepEqual(Object.fromEntries(metas), {
    object: { a: 1 },
    nothing: {},
    text: { info: 'hi' },
    list: { info: [1] },
  });
});

scenario('a whisper of Action Cable is the event whisper, a push is a whisper there', {}, async (s) => {
  const [cable, identifier] = await s.subscriber(LOBBY);
  const [ann, joinRef] = await phoenixMember(s, LOBBY, 'ann');
  cable.whisper(identifier, { typing: true });
  assert.deepEqual((await ann.hears({ event: 'whisper' })).payload, { typing: true });
  await ann.ask(LOBBY, 'shout', { n: 1 }, joinRef);
  assert.deepEqual(await cable.hears({ message: { n: 1 } }), { identifier, message: { n: 1 } });
});

scenario('joining and leaving over Phoenix is seen over Action Cable', {}, async (s) => {
  const [cable, identifier] = await s.subscriber(LOBBY);
  const [ann, joinRef] = await phoenixMember(s, LOBBY, 'ann', { meta: { n: 1 } });
  const join = await cable.hearsPresence(identifier, 'join');
  assert.equal(join.id, 'ann');
  assert.equal(join.info.n, 1);
  assert.match(join.info.online_at, /^\d+$/);
  await phoenixMember(s, LOBBY, 'ann', { meta: join.info });
  await ann.ask(LOBBY, 'presence:update', { meta: { n: 2 } }, joinRef);
  assert.equal((await cable.hearsPresence(identifier, 'update')).info.n, 2);
  assert.equal((await cable.list(identifier)).length, 1, 'two devices are one member');
  cable.hearsNothing('the second device is nobody new');
});

for (const [what, query] of [
  ['version 1', 'user_id=ann&vsn=1.0.0'],
  ['a version to come', 'user_id=ann&vsn=3.0.0'],
  ['no version', 'user_id=ann'],
  ['nonsense', 'user_id=ann&vsn=x'],
]) {
  scenario(`a client that speaks ${what} of the serializer is refused and told why`, {}, async (s) => {
    await assert.rejects(phoenixSocketTo(s, query), ({ response }) => {
      assert.equal(response.statusCode, 400);
      assert.match(response.body, /vsn=2\.0\.0/);
      return true;
    });
    await s.connections(0);
  });
}

scenario('the identifier of one protocol is none in another', {}, async (s) => {
  const socket = await phoenixSocketTo(s, USER);
  socket.send({ command: 'subscribe', identifier: identify(LOBBY) });
  assert.match(await refusal(socket), /\w+ \w+/);
});
