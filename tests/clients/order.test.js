// One order for all: whoever watches a stream, from whenever on, ends up knowing the same.

import assert from 'node:assert/strict';
import { pass } from './support/patience.js';
import { eventsOf, randomness, replay } from './support/replay.js';
import { scenario } from './support/scenario.js';

const SEED = Number(process.env.SEED ?? Date.now() % 1e9);
const ACTORS = 50;
const TURNS = 100;
const OBSERVERS = 10;

scenario(`fifty clients join and leave at once, all watchers agree (SEED=${SEED})`, {}, async (s) => {
  const random = randomness(SEED);
  const actors = await Promise.all(
    Array.from({ length: ACTORS }, async () => {
      const [socket, identifier] = await s.subscriber('room');
      return { socket, identifier, id: null };
    }),
  );
  const { identifier } = actors[0];
  let turns = 0;
  let serial = 0;

  /** One random step of a client: join, come with another info, come as before, or leave. */
  function act(actor) {
    turns += 1;
    if (actor.id === null) {
      actor.id = `user-${random(20)}`;
      actor.info = random(4) ? { serial: (serial += 1) } : 'plain';
      actor.socket.join(identifier, actor.id, actor.info);
      return;
    }
    const choice = random(10);
    if (choice < 6) {
      actor.id = null;
      actor.socket.leave(identifier);
    } else {
      if (choice < 9) actor.info = { serial: (serial += 1) };
      actor.socket.join(identifier, actor.id, actor.info);
    }
  }

  const acting = actors.map(async (actor) => {
    for (let left = TURNS; left > 0; ) {
      for (let burst = Math.min(left, 1 + random(8)); burst > 0; burst -= 1, left -= 1) act(actor);
      // Now and then wait for the broker, so that the clients' turns mix.
      if (random(2)) await actor.socket.settle(identifier);
      else await pass(random(5));
    }
    await actor.socket.settle(identifier);
  });

  // Watchers that come at different moments, ask for the list and from then on only listen.
  const watching = Array.from({ length: OBSERVERS }, async (_, n) => {
    while (turns < (n * ACTORS * TURNS) / OBSERVERS) await pass(1);
    const [socket] = await s.subscriber('room');
    const members = await socket.list(identifier);
    return { socket, members, known: eventsOf(socket, { untilList: true }).length };
  });

  await Promise.all(acting);
  const watchers = await Promise.all(watching);
  const [final] = await Promise.all([
    actors[0].socket.list(identifier),
    ...[...actors.slice(1), ...watchers].map(({ socket }) => socket.settle(identifier)),
  ]);

  const errors = actors.flatMap(({ socket }) => eventsOf(socket)).filter((e) => e.type === 'error');
  assert.deepEqual(errors, []);
  const story = eventsOf(actors[0].socket);
  assert.ok(story.length > 1000, `only ${story.length} events`);
  for (const { socket } of actors) assert.deepEqual(eventsOf(socket), story, 'the same events');

  assert.deepEqual(replay([], story), final, 'the events add up to the list');
  const expected = new Set(actors.map(({ id }) => id).filter(Boolean));
  assert.deepEqual(new Set(final.map(({ id }) => id)), expected, 'who should be present');
  for (const { id, info } of final) {
    const said = actors.filter((actor) => actor.id === id).map((actor) => actor.info);
    assert.ok(said.some((one) => JSON.stringify(one) === JSON.stringify(info)), `info of ${id}`);
  }
  assert.deepEqual((await s.http.users('room')).records ?? [], final, 'the API agrees');

  for (const { socket, members, known } of watchers) {
    const heard = eventsOf(socket);
    const missed = story.length - heard.length;
    assert.deepEqual(heard, story.slice(missed), 'a watcher hears the end of the same story');
    const before = replay([], story.slice(0, missed + known));
    assert.deepEqual(members, before, 'the list is exact between the events around it');
    assert.deepEqual(replay(members, heard.slice(known)), final, 'list and events add up');
  }

  const joins = story.filter(({ type }) => type === 'join').length;
  await s.counts({
    broker_presence_joins_total: joins,
    broker_presence_leaves_total: joins - final.length,
    broker_presence_members: final.length,
    broker_presence_records: actors.filter(({ id }) => id).length,
  });
});

const SHORT = { 'presence-ttl': '150ms' };
scenario(`clients that come and go any way they like leave nobody behind (SEED=${SEED})`, SHORT, async (s) => {
  const random = randomness(SEED + 1);
  const [observer, identifier] = await s.subscriber('room');
  const [late] = await s.subscriber('elsewhere');
  const staying = new Set();
  const visiting = Array.from({ length: 20 }, async (_, n) => {
    for (let visit = 0; visit < 10; visit += 1) {
      const id = `user-${random(8)}`;
      const [socket] = await s.subscriber('room');
      socket.join(identifier, id, { n });
      if (random(2)) await socket.settle(identifier);
      if (visit === 9 && n % 2) {
        await socket.settle(identifier);
        staying.add(id);
        return;
      }
      await pass(random(200));
      const end = random(4);
      if (end === 0) socket.leave(identifier);
      if (end === 1) socket.unsubscribe(identifier);
      if (end === 2) await socket.close();
      else socket.terminate();
      if (random(2)) await pass(random(250));
    }
  });
  await Promise.all(visiting);
  await s.connections(10 + 2); // what the others said is on its way to the stream
  await observer.settle(identifier);
  await s.counts({ broker_presence_records: 10 });
  const final = await observer.list(identifier);
  assert.deepEqual(new Set(final.map(({ id }) => id)), staying);
  assert.deepEqual(replay([], eventsOf(observer)), final);
  await late.subscribe('room');
  assert.deepEqual(await late.list(identifier), final);
});

scenario('publications, whispers and presence of a stream have one order', {}, async (s) => {
  const sockets = await Promise.all(Array.from({ length: 8 }, () => s.subscriber('room')));
  const [, identifier] = sockets[0];
  const talking = sockets.slice(0, 4).map(async ([socket], n) => {
    for (let turn = 0; turn < 50; turn += 1) {
      socket.join(identifier, `user-${n}`, turn);
      await s.http.publish('room', { n, turn });
      socket.leave(identifier);
    }
    await socket.settle(identifier);
  });
  const whispering = (async () => {
    for (let turn = 0; turn < 100; turn += 1) {
      sockets[7][0].whisper(identifier, { whisper: turn });
      await pass(1);
    }
    await sockets[7][0].settle(identifier);
  })();
  await Promise.all([...talking, whispering]);
  const stories = [];
  for (const [socket] of sockets.slice(4, 7)) {
    await socket.settle(identifier);
    stories.push(socket.transcript.slice(2, -1));
  }
  assert.equal(stories[0].length, 4 * 50 * 3 + 100);
  for (const story of stories) assert.deepEqual(story, stories[0]);
});
