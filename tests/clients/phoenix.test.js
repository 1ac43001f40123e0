// Phoenix Channels with the client people use: presence as its documentation shows it, channels,
// pushes, publications, reconnecting.

import assert from 'node:assert/strict';
import { Presence } from 'phoenix';
import { pass, until } from './support/patience.js';
import { settle } from './support/mark.js';
import { Topic, answer, cut, phoenixIn, phoenixTo } from './support/phoenix.js';
import { scenario } from './support/scenario.js';
import { Tunnel } from './support/tunnel.js';

const LOBBY = 'room:lobby';

/** A page that shows who is online and how often, and notes what its presence tells it. */
function openPage(s, user) {
  const page = { html: '', notes: [] };
  const socket = phoenixTo(s, { user });
  const channel = socket.channel(LOBBY, {});
  const presence = new Presence(channel);
  presence.onJoin((id, current) => {
    page.notes.push(current ? `${id} on another device` : `${id} for the first time`);
  });
  presence.onLeave((id, current) => {
    page.notes.push(current.metas.length === 0 ? `${id} from all` : `${id} from a device`);
  });
  presence.onSync(() => {
    page.html = presence
      .list((id, { metas: [, ...others] }) => `<br>${id} (count: ${others.length + 1})</br>`)
      .join('');
  });
  channel.join();
  page.close = () => socket.disconnect();
  page.leave = () => channel.leave();
  return page;
}

async function shows(page, html) {
  try {
    await until(() => page.html === html, `the page shows ${html}`);
  } catch (error) {
    throw new Error(`${error.message}; it shows ${page.html}`);
  }
}

scenario('a page shows who is online, with a count for each', { 'presence-ttl': '300ms' }, async (s) => {
  const ann = openPage(s, 'ann');
  await shows(ann, '<br>ann (count: 1)</br>');
  const bob = openPage(s, 'bob');
  for (const page of [ann, bob]) await shows(page, '<br>ann (count: 1)</br><br>bob (count: 1)</br>');
  const tab = openPage(s, 'bob');
  for (const page of [ann, bob, tab]) {
    await shows(page, '<br>ann (count: 1)</br><br>bob (count: 2)</br>');
  }
  assert.deepEqual(ann.notes, ['ann for the first time', 'bob for the first time', 'bob on another device']);
  assert.deepEqual(tab.notes, ['ann for the first time', 'bob for the first time', 'bob on another device']);
  ann.notes = [];
  tab.close();
  await shows(ann, '<br>ann (count: 1)</br><br>bob (count: 1)</br>');
  bob.close();
  await shows(ann, '<br>ann (count: 1)</br>');
  assert.deepEqual(ann.notes, ['bob from a device', 'bob from all']);
});

scenario('leaving a channel is seen at once, a closed page when the TTL is over', { 'presence-ttl': '4s' }, async (s) => {
  const ann = openPage(s, 'ann');
  await shows(ann, '<br>ann (count: 1)</br>');
  const bob = openPage(s, 'bob');
  await shows(ann, '<br>ann (count: 1)</br><br>bob (count: 1)</br>');
  let since = performance.now();
  bob.leave();
  await shows(ann, '<br>ann (count: 1)</br>');
  assert.ok(performance.now() - since < 3900, 'a leave waits for no TTL');
  const cid = openPage(s, 'cid');
  await shows(ann, '<br>ann (count: 1)</br><br>cid (count: 1)</br>');
  since = performance.now();
  cid.close();
  await shows(ann, '<br>ann (count: 1)</br>');
  assert.ok(performance.now() - since >= 3940, 'a connection’s end waits for the TTL');
});

scenario('a meta says since when its session is there', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann');
  await ann.sees({ ann: 1 });
  const [meta] = ann.members.ann;
  assert.deepEqual(Object.keys(meta).sort(), ['online_at', 'phx_ref']);
  assert.match(meta.online_at, /^\d+$/);
  assert.ok(Math.abs(Number(meta.online_at) - Date.now() / 1000) < 10, meta.online_at);
  assert.equal(typeof meta.phx_ref, 'string');
});

scenario('what a client joins with as meta is in its meta', {}, async (s) => {
  const join = { meta: { name: 'Ann', tags: ['a', { b: null }] } };
  const ann = await phoenixIn(s, LOBBY, 'ann', { join });
  const bob = await phoenixIn(s, LOBBY, 'bob');
  await bob.sees({ ann: 1, bob: 1 });
  const { online_at, phx_ref, ...meta } = bob.members.ann[0];
  assert.deepEqual(meta, join.meta);
  assert.match(online_at, /^\d+$/);
  await ann.sees({ ann: 1, bob: 1 });
  assert.deepEqual(ann.members.ann, bob.members.ann, 'both know the same meta');
  const info = { online_at, ...join.meta };
  assert.deepEqual((await s.http.users(LOBBY)).records[0], { id: 'ann', info });
});

scenario('a client without a user id watches and is not seen', {}, async (s) => {
  const watcher = await phoenixIn(s, LOBBY);
  await watcher.hears('presence_state', (state) => Object.keys(state).length === 0);
  const ann = await phoenixIn(s, LOBBY, 'ann');
  await ann.sees({ ann: 1 });
  await watcher.sees({ ann: 1 });
  assert.deepEqual(await s.http.ids(LOBBY), ['ann']);
});

scenario('topics on one socket are rooms of their own', {}, async (s) => {
  const socket = phoenixTo(s, { user: 'ann' });
  const [one, two, three] = ['room:1', 'room:2', 'other'].map((name) => new Topic(socket, name));
  await Promise.all([one, two, three].map((topic) => topic.join()));
  const bob = await phoenixIn(s, 'room:2', 'bob');
  await two.sees({ ann: 1, bob: 1 });
  for (const topic of [one, three]) await topic.sees({ ann: 1 });
  await s.http.publish('other', { n: 1 });
  assert.deepEqual(await three.hears('message'), { n: 1 });
  await two.leave();
  await bob.sees({ bob: 1 });
  await settle(s, 'room:1', one);
  assert.deepEqual(one.devices, { ann: 1 });
  assert.deepEqual(await s.http.ids('room:1'), ['ann']);
  for (const { story } of [one, two]) {
    assert.ok(!story.some(({ payload }) => payload.n === 1), 'it was said elsewhere');
  }
});

scenario('a hundred channels are joined at once', {}, async (s) => {
  const socket = phoenixTo(s, { user: 'ann' });
  const topics = Array.from({ length: 100 }, (_, n) => new Topic(socket, `room:${n}`));
  await Promise.all(topics.map((topic) => topic.join()));
  for (const topic of topics) await topic.sees({ ann: 1 });
});

scenario('who leaves a channel can join it again on the same socket', {}, async (s) => {
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const socket = phoenixTo(s, { user: 'ann' });
  for (let round = 0; round < 3; round += 1) {
    const ann = await new Topic(socket, LOBBY).join();
    await ann.sees({ bob: 1, ann: 1 });
    await bob.sees({ bob: 1, ann: 1 });
    assert.equal((await ann.leave()).status, 'ok');
    await bob.sees({ bob: 1 });
  }
});

scenario('a second channel of one topic on one socket takes the place of the first', {}, async (s) => {
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const socket = phoenixTo(s, { user: 'ann' });
  const first = await new Topic(socket, LOBBY).join();
  await first.sees({ bob: 1, ann: 1 });
  let isClosed = false;
  first.channel.onClose(() => (isClosed = true));
  const second = await new Topic(socket, LOBBY).join();
  await until(() => isClosed, 'the first channel is closed');
  await second.sees({ bob: 1, ann: 1 });
  await settle(s, LOBBY, bob, second);
  assert.deepEqual(bob.devices, { bob: 1, ann: 1 });
  assert.equal(second.channel.state, 'joined');
});

scenario('what is pushed reaches the others and nobody else', {}, async (s) => {
  const [ann, bob, cid] = [
    await phoenixIn(s, LOBBY, 'ann'),
    await phoenixIn(s, LOBBY, 'bob'),
    await phoenixIn(s, LOBBY, 'cid'),
  ];
  const far = await phoenixIn(s, 'room:far', 'dan');
  const said = { text: 'hi', n: [1, null, { deep: true }] };
  assert.equal((await ann.push('shout', said)).status, 'ok');
  for (const other of [bob, cid]) assert.deepEqual(await other.hears('shout'), said);
  await settle(s, LOBBY, ann);
  await settle(s, 'room:far', far);
  for (const topic of [ann, far]) {
    assert.ok(!topic.story.some(({ event }) => event === 'shout'), 'it is for the others');
  }
});

for (const event of ['phx_close', 'phx_error', 'phx_reply', 'presence_state', 'presence_diff', 'occupancy']) {
  scenario(`nobody can say ${event} to the others, which is the broker’s to say`, {}, async (s) => {
    const ann = await phoenixIn(s, LOBBY, 'ann');
    const bob = await phoenixIn(s, LOBBY, 'bob');
    await bob.sees({ ann: 1, bob: 1 });
    const before = bob.story.length;
    const { status, response } = await ann.push(event, { joins: {}, leaves: {}, status: 'ok', response: {} });
    assert.equal(status, 'error');
    assert.equal(typeof response.reason, 'string');
    await settle(s, LOBBY, bob);
    assert.equal(bob.story.length, before + 1, 'the mark alone');
    assert.equal(bob.channel.state, 'joined');
    assert.deepEqual(bob.devices, { ann: 1, bob: 1 });
  });
}

scenario('a publication is an event of the name that its meta gives, or a message', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann');
  await s.http.publish(LOBBY, { n: 1 });
  await s.http.publish(LOBBY, { n: 2 }, { event: 'new_msg' });
  await s.http.publish(LOBBY, { n: 3 }, {});
  assert.deepEqual(await ann.hears('message'), { n: 1 });
  assert.deepEqual(await ann.hears('new_msg'), { n: 2 });
  assert.deepEqual(await ann.hears('message'), { n: 3 });
  for (const data of ['text', 5, false, ['list']]) {
    await s.http.publish(LOBBY, data);
    await ann.hears('message', (payload) => JSON.stringify(payload) === JSON.stringify(data));
  }
});

scenario('an update is the same device with another meta', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann', { join: { meta: { status: 'online', name: 'Ann' } } });
  const bob = await phoenixIn(s, LOBBY, 'bob');
  await bob.sees({ ann: 1, bob: 1 });
  const [before] = bob.members.ann;
  const notes = [];
  bob.presence.onJoin((id, current, { metas }) => notes.push(['join', id, current.metas.length, metas[0].status]));
  bob.presence.onLeave((id, current, { metas }) => notes.push(['leave', id, current.metas.length, metas[0].status]));
  assert.equal((await ann.push('presence:update', { meta: { status: 'away' } })).status, 'ok');
  await until(() => bob.members.ann[0].status === 'away', 'the update has come');
  await bob.sees({ ann: 1, bob: 1 });
  const [after] = bob.members.ann;
  assert.notEqual(after.phx_ref, before.phx_ref);
  assert.equal(after.phx_ref_prev, before.phx_ref);
  assert.match(after.online_at, /^\d+$/);
  assert.equal('name' in after, false, 'the meta is replaced');
  assert.deepEqual(notes, [['join', 'ann', 1, 'away'], ['leave', 'ann', 1, 'online']]);
  await ann.sees({ ann: 1, bob: 1 });
  assert.deepEqual(ann.members.ann, bob.members.ann, 'who updates is told as well');
});

scenario('a client can stop being seen and be seen again', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann');
  const bob = await phoenixIn(s, LOBBY, 'bob');
  await bob.sees({ ann: 1, bob: 1 });
  assert.equal((await ann.push('presence:untrack', {})).status, 'ok');
  await bob.sees({ bob: 1 });
  await ann.sees({ bob: 1 });
  await s.http.publish(LOBBY, { n: 1 });
  assert.deepEqual(await ann.hears('message'), { n: 1 }, 'it still follows');
  assert.equal((await ann.push('presence:track', { meta: { back: true } })).status, 'ok');
  await bob.sees({ bob: 1, ann: 1 });
  assert.equal(bob.members.ann[0].back, true);
  assert.match(bob.members.ann[0].online_at, /^\d+$/);
});

scenario('a client without a user id can’t be tracked', {}, async (s) => {
  const watcher = await phoenixIn(s, LOBBY);
  const { status, response } = await watcher.push('presence:track', { meta: {} });
  assert.equal(status, 'error');
  assert.equal(typeof response.reason, 'string');
  assert.equal((await s.http.users(LOBBY)).total, 0);
});

scenario('a presence id that is not reserved may be any text', {}, async (s) => {
  const ids = ['prototype', 'Constructor', 'Émile & “Zoë”', '0', ' '];
  const watcher = await phoenixIn(s, LOBBY);
  for (const id of ids) await phoenixIn(s, LOBBY, id);
  const seen = () => watcher.presence.list((id) => id);
  await until(() => seen().length === ids.length, 'all are seen');
  assert.deepEqual(new Set(seen()), new Set(ids));
  assert.deepEqual(await s.http.ids(LOBBY), ids);
});

const TTL = 4000;
scenario('who comes back within the TTL was never away', { 'presence-ttl': `${TTL}ms` }, async (s) => {
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const tunnel = await Tunnel.to(s.broker);
  s.cleanup(() => tunnel.close());
  const phone = await phoenixIn(s, LOBBY, 'ann', { url: tunnel.url('/socket') });
  const laptop = await phoenixIn(s, LOBBY, 'ann');
  await bob.sees({ bob: 1, ann: 2 });
  let wereFewer = false;
  bob.presence.onLeave((id, current) => (wereFewer ||= current.metas.length < 2));
  for (let round = 0; round < 3; round += 1) {
    const refs = bob.members.ann.map(({ phx_ref }) => phx_ref);
    const back = phone.rejoins(() => {
      tunnel.shut();
      tunnel.reset();
    });
    await s.counts({ broker_subscriptions: 2 }); // its end is known, so it is the same device that comes
    tunnel.open();
    await back;
    await settle(s, LOBBY, bob, phone);
    // within the TTL nothing changes, and no event is sent
    for (const { phx_ref, phx_ref_prev: before } of bob.members.ann) {
      assert.ok(refs.includes(phx_ref) || refs.includes(before), 'it is a device that was there');
    }
    await phone.sees({ bob: 1, ann: 2 });
  }
  await pass(TTL + 300);
  await settle(s, LOBBY, bob, phone, laptop);
  const refs = ({ members }) => new Set(members.ann.map(({ phx_ref }) => phx_ref));
  for (const topic of [bob, phone, laptop]) {
    assert.deepEqual(topic.devices, { bob: 1, ann: 2 });
    assert.deepEqual(refs(topic), refs(bob), 'all know the same');
  }
  assert.equal(wereFewer, false, 'ann was never seen with fewer devices');
});

scenario('who comes back after the TTL is new', { 'presence-ttl': '200ms' }, async (s) => {
  const bob = await phoenixIn(s, LOBBY, 'bob');
  const tunnel = await Tunnel.to(s.broker);
  s.cleanup(() => tunnel.close());
  const ann = await phoenixIn(s, LOBBY, 'ann', { url: tunnel.url('/socket') });
  await bob.sees({ bob: 1, ann: 1 });
  tunnel.shut();
  tunnel.reset();
  await bob.sees({ bob: 1 });
  tunnel.open();
  await bob.sees({ bob: 1, ann: 1 });
  await ann.sees({ bob: 1, ann: 1 });
});

scenario('a client that was away learns who came and went', { 'presence-ttl': '100ms' }, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann', { reconnectAfterMs: () => 1000 });
  const bob = await phoenixIn(s, LOBBY, 'bob');
  await ann.sees({ ann: 1, bob: 1 });
  const notes = [];
  ann.presence.onJoin((id, current) => !current && notes.push(`${id} came`));
  ann.presence.onLeave((id, current) => current.metas.length === 0 && notes.push(`${id} went`));
  cut(ann.client);
  await bob.leave();
  await phoenixIn(s, LOBBY, 'cid');
  await ann.sees({ cid: 1, ann: 1 });
  assert.deepEqual(notes.filter((note) => !note.startsWith('ann')).sort(), ['bob went', 'cid came']);
});

scenario('clients find their way back after a restart', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann');
  const bob = await phoenixIn(s, LOBBY, 'bob');
  await ann.sees({ ann: 1, bob: 1 });
  const ends = [];
  ann.client.onClose((event) => ends.push(event.code));
  const { port } = s.broker;
  assert.deepEqual(await s.broker.stop(), { code: 0, signal: null });
  await until(() => ends.length > 0, 'the socket is closed');
  assert.ok([1001, 1012].includes(ends[0]), `closed with ${ends[0]}`);
  assert.notEqual(ann.channel.state, 'closed', 'the channel is to be joined again');
  s.broker = await s.start({ port });
  await until(async () => (await s.http.ids(LOBBY)).length === 2, 'both are there again');
  await settle(s, LOBBY, ann, bob);
  for (const topic of [ann, bob]) await topic.sees({ ann: 1, bob: 1 });
});

scenario('heartbeats keep the stock client content', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann', { heartbeatIntervalMs: 1000 }); // so long it waits for the answer, too
  let closed = 0;
  let heard = 0;
  ann.client.onClose(() => (closed += 1));
  ann.client.onMessage(({ topic }) => (heard += topic === 'phoenix' ? 1 : 0));
  await until(() => heard >= 3, 'three heartbeats were answered');
  assert.equal(closed, 0);
});

scenario('a push that the channel never hears of is answered all the same', {}, async (s) => {
  const ann = await phoenixIn(s, LOBBY, 'ann');
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, n) => answer(ann.channel.push('tick', { n }))),
  );
  assert.ok(answers.every(({ status }) => status === 'ok'));
});
