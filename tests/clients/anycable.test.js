// The stock client of AnyCable, @anycable/core.

import assert from 'node:assert/strict';
import { WHEN_TOLD, WITH_PRESENCE, cableTo, comeBack, cut, follow, next, recordPresence } from './support/anycable.js';
import { pass, until, within } from './support/patience.js';
import { scenario } from './support/scenario.js';

const PROTOCOLS = ['actioncable-v1-json', 'actioncable-v1-ext-json'];

for (const protocol of PROTOCOLS) {
  scenario(`${protocol}: a publication arrives as a message`, {}, async (s) => {
    const channel = await follow(cableTo(s, { protocol }), 'room/1');
    const message = next(channel, 'message');
    await s.http.publish('room/1', { text: 'hi' });
    assert.deepEqual(await message, { text: 'hi' });
  });

  scenario(`${protocol}: a whisper reaches the others and not its sender`, {}, async (s) => {
    const ann = await follow(cableTo(s, { protocol }), 'room');
    const bob = await follow(cableTo(s, { protocol }), 'room');
    const echoes = [];
    ann.on('message', (message) => echoes.push(message));
    const heard = next(bob, 'message');
    await ann.whisper({ typing: true });
    assert.deepEqual(await heard, { typing: true });
    const last = next(ann, 'message', (message) => message.last);
    await s.http.publish('room', { last: true });
    await last;
    assert.deepEqual(echoes, [{ last: true }]);
  });

  scenario(`${protocol}: a subscription can be rejected`, {}, async (s) => {
    const cable = cableTo(s, { protocol, logLevel: 'none' });
    const channel = cable.subscribeTo('ChatChannel', { id: 1 });
    const rejected = within(channel.ensureSubscribed(), 'an answer');
    await assert.rejects(rejected, { name: 'SubscriptionRejectedError' });
    await follow(cable, 'room');
    assert.equal(cable.state, 'connected');
  });

  scenario(`${protocol}: an action for a backend disturbs nothing`, {}, async (s) => {
    const cable = cableTo(s, { protocol, logLevel: 'none' });
    const channel = await follow(cable, 'room');
    const messages = [];
    channel.on('message', (message) => messages.push(message));
    await channel.perform('$speak', { text: 'hi' });
    const last = next(channel, 'message', (message) => message === 'last');
    await s.http.publish('room', 'last');
    await last;
    assert.deepEqual(messages, ['last']);
    assert.equal(cable.state, 'connected');
  });

  scenario(`${protocol}: the server’s pings keep the client content`, {}, async (s) => {
    const cable = cableTo(s, { protocol });
    await follow(cable, 'room');
    let cuts = 0;
    cable.on('disconnect', () => (cuts += 1));
    await next(cable, 'keepalive', (time) => typeof time === 'number');
    await pass(7000);
    assert.equal(cuts, 0);
    assert.equal(cable.state, 'connected');
  });

  scenario(`${protocol}: a cut connection comes back and follows its streams again`, {}, async (s) => {
    const cable = cableTo(s, { protocol });
    const channel = await follow(cable, 'room');
    const again = next(channel, 'connect');
    cut(cable);
    assert.equal((await again).reconnect, true);
    const message = next(channel, 'message');
    await s.http.publish('room', 1);
    assert.equal(await message, 1);
  });

  scenario(`${protocol}: unsubscribing ends the messages`, {}, async (s) => {
    const cable = cableTo(s, { protocol });
    const room = await follow(cable, 'room');
    const other = await follow(cable, 'other');
    const messages = [];
    room.on('message', (message) => messages.push(message));
    room.disconnect();
    await s.counts({ broker_subscriptions: 1 });
    const last = next(other, 'message');
    await s.http.publish('room', 1);
    await s.http.publish('other', 1);
    await last;
    assert.deepEqual(messages, []);
  });
}

for (const [way, options] of Object.entries(WITH_PRESENCE)) {
  /** A cable on this subprotocol, following the room. */
  const enter = async (s) => {
    const cable = cableTo(s, options);
    return { cable, channel: await follow(cable, 'room') };
  };

  scenario(`over ${way}: joins and leaves are events for all`, {}, async (s) => {
    const { channel: ann } = await enter(s);
    const { channel: bob } = await enter(s);
    const heard = [recordPresence(ann), recordPresence(bob)];
    await ann.presence.join('ann', { name: 'Ann' });
    await Promise.all([ann, bob].map((one) => next(one, 'presence', (e) => e.type === 'join')));
    await ann.presence.leave();
    await Promise.all([ann, bob].map((one) => next(one, 'presence', (e) => e.type === 'leave')));
    for (const events of heard) {
      assert.deepEqual(events, [
        { type: 'join', id: 'ann', info: { name: 'Ann' } },
        { type: 'leave', id: 'ann' },
      ]);
    }
  });

  scenario(`over ${way}: info() resolves with the members and follows them`, {}, async (s) => {
    const { channel: ann } = await enter(s);
    assert.deepEqual(await within(ann.presence.info(), 'info()'), {});
    await ann.presence.join(7, { name: 'Ann' });
    await next(ann, 'presence', (event) => event.id === '7');
    const { channel: bob } = await enter(s);
    await bob.presence.join('bob', { name: 'Bob' });
    await next(bob, 'presence', (event) => event.id === 'bob');
    const both = { 7: { name: 'Ann' }, bob: { name: 'Bob' } };
    assert.deepEqual(await within(bob.presence.info(), 'info()'), both);
    await until(async () => (await ann.presence.info()).bob, 'ann’s own list has bob');
    await bob.presence.leave();
    await until(async () => !(await ann.presence.info()).bob, 'ann’s own list has no bob');
  });

  scenario(`over ${way}: joining twice is one join`, {}, async (s) => {
    const { channel: ann } = await enter(s);
    const { channel: bob } = await enter(s);
    const events = recordPresence(bob);
    await ann.presence.join('ann', { n: 1 });
    await ann.presence.join('ann', { n: 2 });
    await next(bob, 'presence');
    await within(bob.presence.info(), 'info()');
    assert.deepEqual(events.filter((event) => event.type !== 'info').length, 1);
  });

  scenario(`over ${way}: two tabs of one user are one member`, {}, async (s) => {
    const { channel: one } = await enter(s);
    const { channel: two } = await enter(s);
    const { channel: observer } = await enter(s);
    const events = recordPresence(observer);
    await one.presence.join('ann', {});
    await next(observer, 'presence');
    await two.presence.join('ann', {});
    assert.deepEqual(await within(two.presence.info(), 'info()'), { ann: {} });
    await one.presence.leave();
    await within(one.presence.info(), 'info()');
    assert.deepEqual(await within(observer.presence.info(), 'info()'), { ann: {} });
    await two.presence.leave();
    await next(observer, 'presence', (event) => event.type === 'leave');
    const types = events.map((event) => event.type);
    assert.deepEqual(types, ['join', 'info', 'leave']);
  });

  scenario(`over ${way}: another info, sent as a join, breaks nothing for others`, {}, async (s) => {
    const { cable, channel: ann } = await enter(s);
    const { channel: bob } = await enter(s);
    await ann.presence.join('ann', { n: 1 });
    await until(async () => (await bob.presence.info()).ann, 'bob knows ann');
    const update = next(bob, 'presence', (event) => event.type === 'update');
    await cable.protocol.join(ann.identifier, { id: 'ann', info: { n: 2 } });
    assert.deepEqual(await update, { type: 'update', id: 'ann', info: { n: 2 } });
    assert.ok((await bob.presence.info()).ann, 'the stock client knows no updates, and ann is there');
  });

  scenario(`over ${way}: info() rejects when the broker refuses`, {}, async (s) => {
    const { cable, channel } = await enter(s);
    // A client that thinks it follows the room while the broker knows it doesn't.
    cable.send({ command: 'unsubscribe', identifier: channel.identifier });
    await assert.rejects(within(channel.presence.info(), 'an answer'), /failed to retrieve presence/);
  });

  const BRIEF = { 'presence-ttl': '1s' };
  const TTL = 4000;
  scenario(`over ${way}: who reconnects within the TTL is silently present again`, { 'presence-ttl': `${TTL}ms` }, async (s) => {
    const { channel: observer } = await enter(s);
    const { cable, channel } = await enter(s);
    const events = recordPresence(observer);
    await channel.presence.join('ann', { n: 1 });
    await next(observer, 'presence');
    for (let times = 0; times < 2; times += 1) {
      const again = next(channel, 'connect');
      cut(cable);
      await again;
    }
    await pass(TTL + 600);
    assert.deepEqual(await within(observer.presence.info(), 'info()'), { ann: { n: 1 } });
    assert.deepEqual(events.map((event) => event.type), ['join', 'info']);
    await s.counts({ broker_presence_records: 1 });
  });

  scenario(`over ${way}: a disconnected client leaves after the TTL`, BRIEF, async (s) => {
    const { channel: observer } = await enter(s);
    const { cable, channel } = await enter(s);
    await channel.presence.join('ann', {});
    await next(observer, 'presence');
    cable.disconnect();
    const leave = await next(observer, 'presence', (event) => event.type === 'leave');
    assert.deepEqual(leave, { type: 'leave', id: 'ann' });
  });

  scenario(`over ${way}: leaving the channel is leaving`, {}, async (s) => {
    const { channel: observer } = await enter(s);
    const { channel } = await enter(s);
    await channel.presence.join('ann', {});
    await next(observer, 'presence');
    channel.disconnect();
    await next(observer, 'presence', (event) => event.type === 'leave');
  });

  scenario(`over ${way}: after a restart of the broker clients come back by themselves`, {}, async (s) => {
    const { channel: observer } = await enter(s);
    const { cable, channel } = await enter(s);
    await channel.presence.join('ann', { n: 1 });
    await next(observer, 'presence');
    assert.equal(Object.keys(await within(observer.presence.info(), 'info()')).length, 1);
    const told = next(cable, 'disconnect');
    const back = [channel, observer].map((one) => next(one, 'connect', undefined, 10_000));
    await s.broker.stop();
    assert.equal((await told).reason, 'server_restart');
    await s.start({ port: s.broker.port });
    for (const { reconnect } of await Promise.all(back)) assert.equal(reconnect, true);
    await until(async () => (await s.http.users('room')).total === 1, 'ann is present again');
    const { records } = await s.http.users('room');
    assert.deepEqual(records, [{ id: 'ann', info: { n: 1 } }]);
    assert.deepEqual(await within(observer.presence.info(), 'info()'), { ann: { n: 1 } });
    const message = next(observer, 'message');
    await s.http.publish('room', 'hello again');
    assert.equal(await message, 'hello again');
  });
}

scenario('a client that was away gets what it missed, once and in order', {}, async (s) => {
  const cable = cableTo(s, WHEN_TOLD);
  const channel = await follow(cable, 'room');
  const messages = [];
  channel.on('message', (message) => messages.push(message));
  await s.http.publish('room', 1);
  await until(() => messages.length === 1, 'the first message');
  const back = next(channel, 'connect');
  const told = next(channel, 'info', ({ type }) => type === 'history_received');
  cut(cable);
  await s.http.publish('room', 2);
  await s.http.publish('room', 3);
  await comeBack(cable);
  await back;
  await told;
  await s.http.publish('room', 4);
  await until(() => messages.length >= 4, 'all messages');
  assert.deepEqual(messages, [1, 2, 3, 4]);
});

scenario('a client that was away for too long is told so', { 'history-limit': 1 }, async (s) => {
  const cable = cableTo(s, { ...WHEN_TOLD, logLevel: 'none' });
  const channel = await follow(cable, 'room');
  const first = next(channel, 'message');
  await s.http.publish('room', 1);
  await first;
  const told = next(channel, 'info', ({ type }) => type === 'history_not_found');
  cut(cable);
  await s.http.publish('room', 2);
  await s.http.publish('room', 3);
  await comeBack(cable);
  await told;
});

scenario('a client that sends pongs of its own is content', { 'ping-interval': '100ms' }, async (s) => {
  const cable = cableTo(s, { protocolOptions: { pongs: true } });
  await follow(cable, 'room');
  const says = (m) => m.get('broker_commands_total', { command: 'pong', outcome: 'ok' }) >= 3;
  await s.metrics(says, 'pongs arrive');
  assert.equal(cable.state, 'connected');
});

scenario('a client that is frozen for longer than the TTL comes back and joins anew', { 'presence-ttl': '200ms' }, async (s) => {
  const [observer, identifier] = await s.subscriber('room');
  const cable = cableTo(s, WHEN_TOLD);
  const channel = await follow(cable, 'room');
  await channel.presence.join('ann', {});
  await observer.hearsPresence(identifier, 'join');
  cut(cable);
  await observer.hearsPresence(identifier, 'leave');
  await comeBack(cable);
  await observer.hearsPresence(identifier, 'join');
});
