// Those who only want to know how many there are: a number now and then instead of every join.

import assert from 'node:assert/strict';
import { eventsIn, openEvents } from './support/events.js';
import { settle } from './support/mark.js';
import { pass, until } from './support/patience.js';
import { PhoenixSocket, phoenixIn, phoenixSocketTo } from './support/phoenix.js';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';

const ROOM = 'room';
const COUNTING = { presence: 'occupancy' };
const INTERVAL = 400;
const QUICK = { 'occupancy-interval': `${INTERVAL}ms`, 'presence-ttl': '100ms' };

/** What a counting client was told, in each protocol's words: how to begin, and the numbers so far. */
const PROTOCOLS = {
  async 'Action Cable'(s) {
    const socket = await s.socket();
    const identifier = await socket.subscribe(ROOM, COUNTING);
    return {
      client: socket,
      said: () =>
        socket.transcript
          .map((text) => JSON.parse(text))
          .filter(({ type }) => type === 'presence')
          .map((frame) => {
            assert.equal(frame.identifier, identifier);
            return frame.message;
          }),
      as: (total) => ({ type: 'occupancy', total }),
    };
  },
  async Phoenix(s) {
    const socket = await phoenixSocketTo(s);
    await socket.join(ROOM, COUNTING);
    return {
      client: socket,
      said: () =>
        socket.frames
          .filter(([, , , event]) => event === 'occupancy' || event.startsWith('presence'))
          .map(([joinRef, ref, topic, event, payload]) => {
            assert.deepEqual([joinRef, ref, topic, event], [null, null, ROOM, 'occupancy']);
            return payload;
          }),
      as: (total) => ({ total }),
    };
  },
  async 'server-sent events'(s) {
    const stream = await eventsIn(s, ROOM, COUNTING);
    return {
      client: stream,
      said: () =>
        [...stream.body.matchAll(/^event: presence\ndata: (.*)$/gm)].map(([, json]) => JSON.parse(json)),
      as: (total) => ({ type: 'occupancy', total }),
    };
  },
};

for (const [name, begin] of Object.entries(PROTOCOLS)) {
  scenario(`a number comes at once and then now and then: ${name}`, QUICK, async (s) => {
    await s.member(ROOM, 'first');
    const { client, said, as } = await begin(s);
    await settle(s, ROOM, client);
    assert.deepEqual(said(), [as(1)], 'the number is told at once');
    await pass(2 * INTERVAL);
    assert.equal(said().length, 1, 'nothing has changed');
    const since = performance.now();
    const members = [];
    for (let n = 0; n < 30; n += 1) members.push(await s.member(ROOM, `user-${n}`));
    await until(() => said().at(-1).total === 31, 'all are counted');
    let most = 2 + Math.floor((performance.now() - since) / INTERVAL);
    assert.ok(said().length <= most + 1, `${said().length} numbers, at most ${most} are due`);
    const before = said().length;
    for (const [socket, identifier] of members.slice(0, 10)) socket.leave(identifier);
    for (const [socket] of members.slice(10, 20)) socket.terminate();
    const gone = performance.now();
    await until(() => said().at(-1).total === 11, 'those who are gone are not');
    most = 2 + Math.floor((performance.now() - gone) / INTERVAL);
    assert.ok(said().length - before <= most, `${said().length - before} numbers`);
    assert.ok(said().every((one) => JSON.stringify(one) === JSON.stringify(as(one.total))));
    await settle(s, ROOM, client);
  });

  scenario(`a change that is undone within the interval is none: ${name}`, QUICK, async (s) => {
    const { said } = await begin(s);
    await until(() => said().length === 1, 'the number is told at once');
    const [ann, identifier] = await s.subscriber(ROOM);
    await pass(INTERVAL);
    ann.ws._socket.cork(); // so that all is in the broker's hands at the same time
    for (let n = 0; n < 10; n += 1) {
      ann.join(identifier, 'ann', n);
      ann.leave(identifier);
    }
    ann.ws._socket.uncork();
    await ann.settle(identifier);
    await pass(2 * INTERVAL);
    assert.equal(said().at(-1).total, 0);
    assert.ok(said().length <= 3, `${said().length} numbers`);
  });
}

scenario('the interval is a second when nothing else is said', {}, async (s) => {
  const { said } = await PROTOCOLS['Action Cable'](s);
  await until(() => said().length === 1, 'the first number');
  const since = performance.now();
  for (let n = 0; n < 3000 / 50; n += 1) {
    await s.member(ROOM, `user-${n}`);
    await pass(Math.max(0, since + n * 50 - performance.now()));
  }
  const told = said().length - 1;
  const seconds = (performance.now() - since) / 1000;
  assert.ok(told >= Math.floor(seconds) - 1 && told <= Math.ceil(seconds) + 1, `${told} numbers in ${seconds} s`);
});

scenario('who counts may be counted', QUICK, async (s) => {
  const socket = await s.socket();
  const identifier = await socket.subscribe(ROOM, COUNTING);
  socket.join(identifier, 'ann', {});
  await until(
    () => socket.transcript.some((text) => text.includes('"total":1')),
    'the number has the one who counts',
  );
  assert.equal(await socket.count(identifier), 1);
  assert.deepEqual(await socket.list(identifier), [{ id: 'ann', info: {} }]);
  assert.ok(!socket.transcript.some((text) => text.includes('"join"')), 'no joins, not even of oneself');
  const phoenix = await phoenixIn(s, ROOM, 'bob', { join: COUNTING });
  await phoenix.hears('occupancy', ({ total }) => total === 2);
  assert.deepEqual(phoenix.devices, {}, 'no state');
  await openEvents(s, { stream: ROOM, presence_id: 'cid', ...COUNTING });
  await phoenix.hears('occupancy', ({ total }) => total === 3);
});

scenario('counting is a matter of one subscription', QUICK, async (s) => {
  const socket = await s.socket();
  const counting = await socket.subscribe(ROOM, COUNTING);
  const watching = await socket.subscribe(ROOM);
  assert.equal(counting, identify(ROOM, COUNTING));
  const ann = await s.open('/socket/websocket?user_id=ann&vsn=2.0.0', { kind: PhoenixSocket, protocols: [] });
  await ann.join(ROOM);
  assert.equal((await socket.hearsPresence(watching, 'join')).id, 'ann');
  assert.equal((await socket.hearsPresence(counting, 'occupancy')).total, 0);
  assert.equal((await socket.hearsPresence(counting, 'occupancy')).total, 1);
  await s.http.publish(ROOM, { n: 1 });
  for (const identifier of [counting, watching]) await socket.hears({ identifier, message: { n: 1 } });
});
