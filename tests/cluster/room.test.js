// One room over several nodes: whatever is done at one is told at all, in one order.

import assert from 'node:assert/strict';
import { chatterIn } from '../clients/support/chat.js';
import { KINDS } from '../clients/support/company.js';
import { eventsIn } from '../clients/support/events.js';
import { until } from '../clients/support/patience.js';
import { phoenixIn } from '../clients/support/phoenix.js';
import { identify } from '../clients/support/socket.js';
import { EACH, ROOM, cluster, leaveBetween } from './support/cluster.js';

cluster('who joins at a node is told at all, whatever they speak', {}, async (c, ...nodes) => {
  const guests = nodes.flatMap((node) => KINDS.map((Kind) => new Kind(node, ROOM)));
  const readers = await Promise.all(nodes.map((node) => eventsIn(node, ROOM)));
  await Promise.all(guests.map((guest, at) => guest.connect(`${guest.protocol} ${Math.floor(at / KINDS.length)}`)));
  const present = [];
  const agree = async () => {
    for (const guest of guests.filter(({ isIn, protocol }) => isIn || protocol !== 'chat')) {
      let sees;
      await until(async () => {
        sees = [...(await guest.believes())].sort();
        return JSON.stringify(sees) === JSON.stringify([...present].sort());
      }, `${guest.user} sees ${present}`).catch((error) => {
        throw new Error(`${error.message}; it sees ${sees}`);
      });
    }
    await c.lists(present);
  };
  for (const guest of guests) {
    await guest.join({ name: guest.user });
    present.push(guest.user);
    await Promise.all(readers.map((reader) => reader.hearsPresence('join')));
  }
  await agree();
  const data = { username: 'bot', content: 'hi', timestamp: '2026-01-01T00:00:00Z' };
  await nodes[1].http.publish(ROOM, data);
  await Promise.all([...guests, ...readers].map((client) => client.hearsPublication(data)));
  for (const guest of guests.splice(0, 4)) {
    present.splice(present.indexOf(guest.user), 1);
    if (guest.canLeave) await guest.leave();
    else guest.goAway(true);
    await Promise.all(readers.map((reader) => reader.hearsPresence('leave')));
  }
  await agree();
});

cluster('joins, updates and leaves are told in one order at all nodes', {}, async (c, a, b) => {
  const watchers = await c.watchers();
  const [ann, annIn] = await a.subscriber(ROOM);
  ann.join(annIn, 'ann', { n: 1 });
  await Promise.all(watchers.map((watcher) => watcher.hears('join', 'ann', { n: 1 })));
  const [bob, bobIn] = await b.member(ROOM, 'bob', {});
  ann.join(annIn, 'ann', { n: 2 });
  await Promise.all(watchers.map((watcher) => watcher.hears('update', 'ann', { n: 2 })));
  for (const watcher of watchers) {
    assert.deepEqual(await watcher.list(), [{ id: 'ann', info: { n: 2 } }, { id: 'bob', info: {} }]);
  }
  ann.leave(annIn);
  await Promise.all(watchers.map((watcher) => watcher.hearsLeave('ann')));
  bob.unsubscribe(bobIn);
  await Promise.all(watchers.map((watcher) => watcher.hearsLeave('bob')));
  for (const watcher of watchers) assert.deepEqual(await watcher.list(), []);
}, { engines: EACH });

cluster('what happens at once at all nodes has one order', {}, async (c, ...nodes) => {
  const watchers = await c.watchers();
  await nodes[0].http.publish(ROOM, 'first');
  await Promise.all(watchers.map((watcher) => watcher.hearsPublication('first')));
  await Promise.all(nodes.map(async (node, at) => {
    const [socket, identifier] = await node.subscriber(ROOM);
    for (let n = 0; n < 30; n += 1) {
      socket.join(identifier, `m${at}`, { n });
      await node.http.publish(ROOM, { at, n });
      if (n % 3 === 0) socket.whisper(identifier, { at, whisper: n });
      if (n % 5 === 4) socket.leave(identifier);
    }
    await socket.settle(identifier);
  }));
  await c.check(watchers);
  for (const { publications } of watchers) assert.equal(publications.length, 92);
});

cluster('a list at the node of a change has it at once', {}, async (c, a) => {
  const [ann, identifier] = await a.subscriber(ROOM);
  for (let n = 0; n < 20; n += 1) {
    ann.join(identifier, 'ann', {});
    assert.equal(await ann.count(identifier), 1);
    ann.leave(identifier);
    assert.equal(await ann.count(identifier), 0);
    assert.ok([200, 201].includes((await a.put('lamp')).status));
    assert.deepEqual(await a.http.ids(ROOM), ['lamp']);
    assert.equal((await a.kick('lamp')).status, 200);
    assert.deepEqual(await a.http.ids(ROOM), []);
  }
});

cluster('a change that was answered is seen at any other node within a second', {}, async (c, a, b, d) => {
  await a.put('lamp');
  await c.lists(['lamp'], { nodes: [b, d], ms: 1000 });
});

cluster('who only counts is told the number at all nodes', { 'occupancy-interval': '100ms' }, async (c, ...nodes) => {
  const counters = await Promise.all(nodes.map(async (node) => {
    const [socket, identifier] = await node.subscriber(ROOM, { presence: 'occupancy' });
    return (total) => socket.hears({ type: 'presence', identifier, message: { type: 'occupancy', total } });
  }));
  for (const [at, node] of nodes.entries()) {
    await node.member(ROOM, `m${at}`);
    await Promise.all(counters.map((hears) => hears(at + 1)));
  }
  nodes[1].close();
});

cluster('a whisper reaches the subscribers of all nodes but not its sender', {}, async (c, a, b) => {
  const watchers = await c.watchers();
  const phoenix = await phoenixIn(b, ROOM, 'bob');
  const [ann, identifier] = await a.subscriber(ROOM);
  ann.whisper(identifier, { typing: 'ann' });
  await Promise.all(watchers.map((watcher) => watcher.hearsPublication({ typing: 'ann' })));
  await phoenix.push('typing', { who: 'bob' });
  await Promise.all(watchers.map((watcher) => watcher.hearsPublication({ who: 'bob' })));
  await b.http.publish(ROOM, 'end');
  await ann.hearsPublication('end');
  assert.ok(!ann.transcript.some((text) => text.includes('"typing"')), 'the sender hears no echo');
});

cluster('typing in a chat room is seen at other nodes', {}, async (c, a, b) => {
  const ann = await chatterIn(a, ROOM, 'ann');
  const bob = await chatterIn(b, ROOM, 'bob');
  ann.typing(ROOM, 'ann');
  await bob.hears({ type: 'typing', username: 'ann' });
});

cluster('a publication has one position, and every node has the history', {}, async (c, ...nodes) => {
  const watchers = await c.watchers();
  for (const [at, node] of nodes.entries()) {
    await node.http.publish(ROOM, { at });
    // an order between requests to different nodes is had by waiting for the effect
    await Promise.all(watchers.map((watcher) => watcher.hearsPublication({ at })));
  }
  const [{ publications }] = watchers;
  const [[epoch]] = publications;
  assert.deepEqual(publications, [0, 1, 2].map((at) => [epoch, at + 1, { at }]));
  for (const watcher of watchers) assert.deepEqual(watcher.publications, publications);
  for (const node of nodes) {
    const socket = await node.socket();
    const identifier = identify(ROOM);
    const streams = { [ROOM]: { epoch, offset: 1 } };
    socket.send({ command: 'subscribe', identifier, history: { streams } });
    await socket.hears({ type: 'confirm_history', identifier });
    for (const at of [1, 2]) {
      const { offset } = await socket.hears({ identifier, message: { at } });
      assert.equal(offset, at + 1);
    }
    const messages = await node.http.request(`/api/rooms/${ROOM}/messages`);
    assert.deepEqual(messages.json.map(({ content }) => content), [0, 1, 2].map((at) => JSON.stringify({ at })));
  }
});

cluster('history that began before a node did is there', {}, async (c, a) => {
  for (let n = 0; n < 5; n += 1) await a.http.publish(ROOM, { n });
  const [ann] = await a.member(ROOM, 'ann', { name: 'Ann' });
  const late = await c.add();
  assert.deepEqual(await late.http.ids(ROOM), ['ann']);
  const [socket, identifier] = await late.subscriber(ROOM);
  socket.send({ command: 'history', identifier, history: { since: 0 } });
  for (let n = 0; n < 5; n += 1) assert.equal((await socket.hears({ identifier, message: { n } })).offset, n + 1);
  ann.terminate();
  await socket.hearsPresence(identifier, 'leave');
}, { nodes: 1, engines: EACH });

cluster('exclude_socket spares a connection of another node', {}, async (c, a, b) => {
  const [ann, identifier] = await a.subscriber(ROOM);
  const watchers = await c.watchers();
  await b.http.publish(ROOM, 'for others', { exclude_socket: ann.sid });
  await b.http.publish(ROOM, 'for all');
  for (const watcher of watchers) await watcher.hearsPublication('for others');
  await ann.hears({ identifier, message: 'for all' });
  ann.hearsNothing('what was not for it');
});

cluster('a member is taken out by a request to another node', {}, async (c, a, b, d) => {
  const watchers = await c.watchers();
  const [ann, identifier] = await a.member(ROOM, 'ann');
  const phoenix = await phoenixIn(b, ROOM, 'ann');
  await phoenix.sees({ ann: 2 });
  const { status } = await d.kick('ann');
  assert.equal(status, 200);
  await Promise.all(watchers.map((watcher) => watcher.hearsLeave('ann')));
  await c.lists([]);
  await ann.hearsPresence(identifier, 'leave');
  ann.join(identifier, 'ann', { again: true });
  await Promise.all(watchers.map((watcher) => watcher.hears('join', 'ann', { again: true })));
});

cluster('who is put at a node is there at all, for its time', {}, async (c, a, b) => {
  const watchers = await c.watchers();
  const since = performance.now();
  const { status } = await a.put('lamp', { info: { on: true }, ttl: '2s' });
  assert.equal(status, 201);
  await Promise.all(watchers.map((watcher) => watcher.hears('join', 'lamp', { on: true })));
  await leaveBetween(watchers, ['lamp'], since, 2000, 2000);
  await a.put('bell', { info: { n: 1 } });
  assert.equal((await b.put('bell', { info: { n: 2 } })).status, 200, 'it is there already');
  await Promise.all(watchers.map((watcher) => watcher.hears('update', 'bell', { n: 2 })));
  assert.equal((await b.kick('bell')).status, 200);
  await Promise.all(watchers.map((watcher) => watcher.hearsLeave('bell')));
});

cluster('a member of two nodes leaves with the last', { 'presence-ttl': '300ms' }, async (c, a, b) => {
  const watchers = await c.watchers();
  const [one, oneIn] = await a.member(ROOM, 'ann');
  const [two] = await b.member(ROOM, 'ann');
  const chat = await chatterIn(b, ROOM, 'bob');
  one.leave(oneIn);
  await one.settle(oneIn);
  await c.check(watchers);
  assert.deepEqual(watchers[2].members.map(({ id }) => id), ['ann', 'bob']);
  const since = performance.now();
  two.terminate();
  await leaveBetween(watchers, ['ann'], since, 300, 300);
  await chat.hears({ type: 'user_left', username: 'ann', users: ['bob'] });
  for (const { events } of watchers) assert.deepEqual(events.map(({ type }) => type), ['join', 'join', 'leave']);
});

cluster('devices are the same metas at all nodes', {}, async (c, ...nodes) => {
  const topics = [];
  for (const [at, node] of nodes.entries()) {
    topics.push(await phoenixIn(node, ROOM, 'ann', { join: { meta: { at } } }));
    await Promise.all(topics.map((topic) => topic.sees({ ann: at + 1 })));
  }
  await until(() => topics.every((topic) => topic.members.ann.every(({ at }) => at !== undefined)), 'all metas');
  for (const topic of topics) assert.deepEqual(topic.members, topics[0].members);
  const { json } = await nodes[2].http.request(`/api/presence/${ROOM}/ann`);
  assert.deepEqual(json.metas, topics[0].members.ann);
});

cluster('the number of members is limited over all nodes', { 'max-members': 2 }, async (c, a, b, d) => {
  await a.member(ROOM, 'ann');
  await b.member(ROOM, 'bob');
  const [cid, identifier] = await d.subscriber(ROOM);
  cid.join(identifier, 'cid', {});
  await cid.hearsPresence(identifier, 'error');
  await c.lists(['ann', 'bob']);
});

cluster('clusters with other names on one Redis know nothing of each other', {}, async (c, a) => {
  const other = c.newNode();
  other.flags['cluster-name'] = 'another';
  await other.begin();
  await a.member(ROOM, 'ann');
  await a.http.publish(ROOM, 1);
  assert.deepEqual(await other.http.ids(ROOM), []);
  assert.deepEqual((await other.http.request(`/api/rooms/${ROOM}/messages`)).json, []);
}, { nodes: 1 });
