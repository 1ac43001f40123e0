// Every protocol, every endpoint, the dashboard and the metrics: what is done at one node is there at the others.

import assert from 'node:assert/strict';
import { Application, byName } from '../clients/support/application.js';
import { chatTo, chatterIn } from '../clients/support/chat.js';
import { EventStream, eventsIn, eventsUrl } from '../clients/support/events.js';
import { Http } from '../clients/support/http.js';
import { visitor } from '../clients/support/page.js';
import { until, within } from '../clients/support/patience.js';
import { POLLING, phoenixIn } from '../clients/support/phoenix.js';
import { SECRET, derive, token } from '../clients/support/sign.js';
import { OPENED, typedTo } from '../clients/support/typed.js';
import { GONE, ROOM, THERE, TTL, cluster, leaveBetween } from './support/cluster.js';

cluster('clients of Phoenix that poll are in one room with all at other nodes', {}, async (c, a, b, d) => {
  const watchers = await c.watchers();
  const ann = await phoenixIn(a, ROOM, 'ann', POLLING);
  const bob = await phoenixIn(b, ROOM, 'bob', POLLING);
  const cid = await phoenixIn(d, ROOM, 'cid');
  const all = [ann, bob, cid];
  for (const topic of all) await topic.sees({ ann: 1, bob: 1, cid: 1 });
  assert.equal((await ann.push('shout', { from: 'ann' })).status, 'ok');
  for (const topic of [bob, cid]) assert.deepEqual(await topic.hears('shout'), { from: 'ann' });
  for (const watcher of watchers) await watcher.hearsPublication({ from: 'ann' });
  await bob.push('presence:update', { meta: { away: true } });
  for (const topic of [ann, cid]) await until(() => topic.members.bob[0].away, 'the update has come');
  await d.http.publish(ROOM, { n: 1 }, { event: 'tick' });
  for (const topic of all) assert.deepEqual(await topic.hears('tick'), { n: 1 });
  assert.equal((await d.kick('ann')).status, 200);
  for (const topic of all) await topic.sees({ bob: 1, cid: 1 });
  await bob.leave();
  for (const topic of [ann, cid]) await topic.sees({ cid: 1 });
  await c.check(watchers);
});

cluster('a client that polls a node that is killed leaves in its time', {}, async (c, a, b, d) => {
  const watchers = await c.watchers([b, d]);
  const ann = await phoenixIn(a, ROOM, 'ann', POLLING);
  await c.lists(['ann']);
  const since = performance.now();
  await a.kill();
  ann.client.disconnect();
  await leaveBetween(watchers, ['ann'], since, THERE + TTL, GONE + TTL + 1000);
  await c.check(watchers);
});

cluster('who opens a socket of typed JSON is announced at every node', {}, async (c, ...nodes) => {
  const sockets = [];
  for (const node of nodes) {
    const socket = await typedTo(node);
    for (const earlier of sockets) await earlier.hears(OPENED);
    sockets.push(socket);
  }
  await sockets[0].join('ann');
  for (const socket of sockets.slice(1)) await socket.hears({ type: 'presence.online', payload: { user: 'ann' } });
  for (const socket of sockets) {
    assert.deepEqual(await socket.list(), ['ann']);
    socket.hearsNothing('each arrival is told once');
  }
});

cluster('what is said in a chat room is said at every node, and its history is there', {}, async (c, a, b, d) => {
  const ann = await chatterIn(a, ROOM, 'ann');
  const bob = await chatterIn(b, ROOM, 'bob');
  const events = await eventsIn(d, ROOM);
  await ann.hears({ type: 'user_joined', username: 'bob' });
  bob.say(ROOM, 'bob', 'hello');
  for (const chat of [ann, bob]) {
    const { data } = await chat.hears({ type: 'message' });
    assert.deepEqual([data.username, data.content], ['bob', 'hello']);
  }
  await until(() => events.body.includes('hello'), 'the reader of events is told');
  const answers = await Promise.all(c.nodes.map((node) => node.http.request(`/api/rooms/${ROOM}/messages`)));
  for (const { json } of answers) {
    assert.deepEqual(json.map(({ username, content }) => [username, content]), [['bob', 'hello']]);
    assert.deepEqual(json, answers[0].json);
  }
});

cluster('an EventSource goes on at another node from the last event’s position', {}, async (c, a, b) => {
  const events = await eventsIn(a, ROOM);
  await b.http.publish(ROOM, 1);
  const { id } = await events.hears({ json: 1 });
  await a.kill();
  await b.http.publish(ROOM, 2);
  const again = await EventStream.open(eventsUrl(b, { stream: ROOM }), { 'last-event-id': id });
  c.cleanup(() => again.close());
  await again.hears({ json: 2 });
});

const SECURE = { secret: SECRET, 'public-streams': true, 'presence-id-claim': 'sub' };

cluster('the application ends the sessions of a user in every protocol, at all nodes', SECURE, async (c, ...nodes) => {
  const jid = token({ ext: JSON.stringify({ user: 'ann' }), sub: 'ann' });
  const ended = [];
  for (const node of nodes) {
    const cable = await node.socket(`/cable?jid=${jid}`);
    const typed = await typedTo(node, `/?jid=${jid}`);
    const chat = await chatTo(node, `/chat?jid=${jid}`);
    const events = await eventsIn(node, ROOM, { jid });
    const phoenix = await phoenixIn(node, ROOM, null, { params: { jid } });
    const polling = await phoenixIn(node, ROOM, null, { params: { jid }, ...POLLING });
    for (const { client } of [phoenix, polling]) client.reconnectTimer.reset = client.reconnectTimer.scheduleTimeout = () => {};
    ended.push(...[cable, typed, chat].map((socket) => socket.closed), events.ended);
    ended.push(...[phoenix, polling].map(({ client }) => new Promise((resolve) => client.onClose(resolve))));
  }
  const { status, json } = await new Http(nodes[1].broker.origin, derive('broadcast-cable')).post('/_broadcast', {
    command: 'disconnect',
    payload: { presence_id: 'ann' },
  });
  assert.deepEqual([status, json], [201, { disconnected: 18 }]);
  await within(Promise.all(ended), 'the end of all');
});

cluster('what one node is asked over HTTP, each answers', { examples: true, dashboard: true }, async (c, a, ...others) => {
  await a.member(ROOM, 'ann', { name: 'Ann' });
  await others[0].member(ROOM, 'ann', { name: 'Ann', device: 2 });
  assert.equal((await others[0].http.post('/api/publish', { stream: ROOM, data: '{"n":1}' })).status, 201);
  assert.equal((await a.http.post('/_broadcast', [{ stream: ROOM, data: '{"n":2}' }, { stream: 'other', data: '1' }])).status, 201);
  assert.equal((await others[1].put('bell', { info: { n: 1 } })).status, 201);
  await c.lists(['ann', 'bell']);
  const paths = ['/users', '/users?return_records=false', '', '/ann', '/bell', '/nobody'].map((path) => `/api/presence/${ROOM}${path}`);
  paths.push(`/api/rooms/${ROOM}/messages`, '/api/rooms/other/messages', '/health', '/live', '/', '/dashboard', '/examples/chat/');
  for (const path of paths) {
    const ask = async (node) => {
      const { status, text } = await node.http.request(path);
      return { status, text: text.replaceAll(node.broker.origin, 'ORIGIN').replaceAll(String(node.broker.port), 'PORT') };
    };
    let answers;
    await until(async () => {
      answers = await Promise.all(c.nodes.map(ask));
      return answers.every(({ text }) => text === answers[0].text);
    }, `${path} is the same everywhere`).catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify(answers)}`);
    });
    for (const { status } of answers) assert.equal(status, path.endsWith('nobody') ? 404 : 200, path);
  }
  assert.equal((await others[1].kick('bell')).status, 200);
  await until(async () => (await a.http.request(`/api/presence/${ROOM}/bell`)).status === 404, 'it is gone');
});

cluster('what the application knows of a member is told at every node', {}, async (c) => {
  const application = await new Application(byName).open();
  c.cleanup(() => application.close());
  c.flags['presence-fetch-url'] = application.url;
  const [a, b, d] = [await c.add(), await c.add(), await c.add()];
  const watchers = await c.watchers();
  await a.member(ROOM, 'ann', { n: 1 });
  await Promise.all(watchers.map((watcher) => watcher.socket.hears({
    message: { type: 'join', id: 'ann', info: { n: 1 }, data: { user: { name: 'ANN' } } },
  })));
  for (const node of [b, d]) {
    const { json } = await node.http.request(`/api/presence/${ROOM}/ann`);
    assert.deepEqual(json.data, { user: { name: 'ANN' } });
  }
}, { nodes: 0 });

cluster('metrics of streams and members are those of all nodes, each counts its own connections', {}, async (c, a, b, d) => {
  await a.member(ROOM, 'ann');
  await b.member(ROOM, 'ann');
  const { bob: [bob] } = await c.members(b, ['bob']);
  await d.put('lamp', {}, 'other');
  await d.http.publish('history', 1);
  const all = { broker_presence_members: 3, broker_presence_records: 4, broker_streams: 3, broker_history_publications: 1 };
  await Promise.all([1, 2, 0].map((connections, at) => c.nodes[at].counts({ ...all, broker_connections: connections })));
  bob.terminate();
  await Promise.all(c.nodes.map((node) => node.counts({ broker_presence_members: 2, broker_presence_records: 3 })));
});

cluster('the dashboard of a node shows the members of all', { dashboard: true, 'presence-ttl': '5s' }, async (c, a, b, d) => {
  await a.member('room/1', 'ann', { name: 'Ann' });
  await b.member('room/1', 'ann', { name: 'Ann', device: 2 });
  await b.member('room/2', 'cem');
  const page = await (await visitor(c)).open(`http://${d.broker.origin}/dashboard`);
  await page.reads('#status', 'Live');
  await page.readsAll('#streams .name', ['room/1', 'room/2']);
  await page.reads('.tile:nth-child(1)', /^Connections\s0/);
  await page.reads('.tile:nth-child(2)', /^Members\s2/);
  await page.page.click('#streams button');
  await page.readsAll('#members th', ['ann']);
  await page.readsAll('#members .number:nth-of-type(3)', ['2']);
  await page.reads('#members .state', 'connected');
  const [bob] = await a.member('room/1', 'bob');
  await page.reads('#events .event', /bob\sjoined/);
  await page.reads('.tile:nth-child(2)', /^Members\s3/);
  bob.terminate();
  await page.reads('#members tr:nth-child(2) .state', /^leaving in [1-5] s$/);
  await page.reads('#events .event', /bob\sleft$/);
  await page.readsAll('#members th', ['ann']);
  assert.deepEqual(page.faults, []);
});
