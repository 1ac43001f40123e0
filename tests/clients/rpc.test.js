// An application that decides about connections and channels: what it is asked, and what its answers do.

import assert from 'node:assert/strict';
import { phoenixMember } from './support/phoenix.js';
import { BASE, EXTENDED, arrive, ask, askedOverEach, connect, enter, kinds, perform, room, shows } from './support/rpc/asked.js';
import { SECRET, derive, jid } from './support/sign.js';
import { identify } from './support/socket.js';
import { typedTo } from './support/typed.js';

askedOverEach('the application is told how a client connects', { headers: 'cookie,X-API-Token,origin' }, async (s) => {
  const headers = { cookie: 'user=bob; a=b=c', 'x-api-token': 't1', 'x-other': 'no' };
  const socket = await connect(s, 'ann', { more: '&q=%C3%A4%20b', headers });
  const [{ metadata, message }] = s.application.calls;
  assert.equal(metadata.sid, socket.sid);
  assert.equal(metadata.protov, 'v1');
  const { url, headers: told } = message.env;
  assert.equal(url, `http://${s.broker.origin}/cable?user=ann&q=%C3%A4%20b`);
  assert.deepEqual(told, { REMOTE_ADDR: '127.0.0.1', cookie: headers.cookie, 'X-API-Token': 't1' });
});

askedOverEach('the application sees the cookies that it is to see', { 'proxy-cookies': 'user,s' }, async (s) => {
  await connect(s, 'ann', { headers: { cookie: 'x=1; user=bob;s=2=3; t=4' } });
  const [{ message }] = s.application.calls;
  assert.deepEqual(message.env.headers.cookie.split(/;\s*/), ['user=bob', 's=2=3']);
});

askedOverEach('a client behind a trusted proxy has its own address', { 'trusted-proxies': '127.0.0.1' }, async (s) => {
  const headers = { 'x-forwarded-for': '10.9.8.7', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'chat.example' };
  await connect(s, 'ann', { headers });
  assert.equal(s.application.calls[0].message.env.headers.REMOTE_ADDR, '10.9.8.7');
});

askedOverEach('an application that isn’t to be asked is not', { norpc: true }, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = ask(socket, { id: 1 });
  await socket.hears({ type: 'reject_subscription', identifier });
  assert.deepEqual(s.application.calls, []);
});

for (const [what, flags, expected] of [
  ['of its own', { 'http-rpc-secret': 'qwerty' }, 'qwerty'],
  ['that follows from the secret', { secret: SECRET }, derive('rpc-cable')],
  ['of its own rather than one that follows', { secret: SECRET, 'http-rpc-secret': 'qwerty' }, 'qwerty'],
]) {
  askedOverEach(`the application is shown a key ${what}`, flags, async (s) => {
    await connect(s, 'ann');
    const [{ metadata, headers }] = s.application.calls;
    assert.equal(headers?.authorization ?? metadata.authorization, `Bearer ${expected}`);
  });
}

for (const protocol of [BASE, EXTENDED]) {
  askedOverEach(`the application's frames are passed on byte for byte with ${protocol}`, {}, async (s) => {
    const socket = await connect(s, 'ann', { protocol });
    const raw = [
      '{ "type":"confirm_subscription" ,"b":1, "a":9007199254740993,"identifier":"?" }',
      '{"message" : {"u":"\\u00e9\\/✓"},\t"identifier":"?"}',
    ];
    const identifier = ask(socket, { quiet: true, does: { raw, follow: ['room'] } });
    perform(socket, identifier, { raw: ['{"last":1}'] });
    await socket.hears({ last: 1 });
    assert.deepEqual(socket.transcript.slice(1), [...raw, '{"last":1}']);
  });
}

askedOverEach('a refused client gets the application’s reason, and is gone', {}, async (s) => {
  for (const protocol of [BASE, EXTENDED]) {
    const socket = await s.open('/cable', { protocols: [protocol] });
    await socket.hears({ type: 'disconnect', reason: 'unauthorized', reconnect: false });
    assert.equal((await socket.closing()).code, 1000);
    assert.equal(socket.transcript.length, 1);
  }
  assert.deepEqual(kinds(s.application), ['connect', 'connect'], 'nobody was connected');
});

askedOverEach('a client that is refused without a word is told that it is unauthorized', {}, async (s) => {
  const socket = await s.open('/cable?quiet');
  await socket.hears({ type: 'disconnect', reason: 'unauthorized', reconnect: false });
  assert.equal((await socket.closing()).code, 1000);
});

askedOverEach('the frames of a client that is yet to be welcomed follow in order', {}, async (s) => {
  const release = s.application.hold('connect');
  const socket = await arrive(s, 'ann');
  const first = ask(socket, { id: 1 });
  perform(socket, first, { transmit: ['performed'] });
  socket.send({ command: 'subscribe', identifier: identify('news') });
  await s.application.called('connect');
  release();
  await socket.welcome();
  await socket.hears({ identifier: first, message: 'performed' });
  await socket.hears({ type: 'confirm_subscription', identifier: identify('news') });
  assert.equal(JSON.parse(socket.transcript[0]).type, 'welcome');
  assert.deepEqual(kinds(s.application), ['connect', 'subscribe', 'message']);
});

askedOverEach('a channel follows the streams that the application names', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { does: { follow: ['room/1', 'room/2'] } });
  const [, { message }] = s.application.calls;
  assert.deepEqual([message.command, message.identifier], ['subscribe', identifier]);
  assert.equal(message.connection_identifiers, '{"user":"ann"}');
  for (const stream of ['room/1', 'room/2']) {
    await s.http.publish(stream, stream);
    const heard = await socket.hears({ identifier, message: stream });
    assert.equal(heard.stream_id, stream);
  }
  await s.http.publish('room/3', 'not followed');
  await shows(s, socket, identifier);
  socket.hearsNothing();
});

askedOverEach('an answer’s messages come before what its streams say', {}, async (s) => {
  const socket = await connect(s, 'ann');
  let published = 0;
  const publishing = (async () => {
    for (; published < 100; published += 1) await s.http.publish('room', { n: published });
  })();
  for (let n = 0; n < 20; n += 1) {
    const identifier = ask(socket, { n, does: { follow: ['room'], transmit: [1, 2, 3] } });
    await socket.hears({ identifier, message: 3 });
  }
  await publishing;
  const told = socket.transcript.map((text) => JSON.parse(text));
  for (let n = 0; n < 20; n += 1) {
    const own = told.filter(({ identifier }) => identifier === room({ n, does: { follow: ['room'], transmit: [1, 2, 3] } }));
    const [first, ...messages] = own.map(({ type, message }) => type ?? message);
    assert.deepEqual([first, ...messages.slice(0, 3)], ['confirm_subscription', 1, 2, 3]);
    const live = messages.slice(3).map((message) => message.n);
    assert.deepEqual(live, live.map((_, at) => live[0] + at), 'without a gap');
  }
});

askedOverEach('an action starts and stops streams', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { does: { follow: ['a', 'b', 'b'] } });
  const hears = async (...streams) => {
    await shows(s, socket, identifier);
    for (const stream of ['a', 'b', 'c', 'd']) await s.http.publish(stream, stream);
    for (const stream of streams) await socket.hears({ identifier, message: stream });
    await shows(s, socket, identifier);
    socket.hearsNothing(`of ${streams}`);
  };
  await hears('a', 'b');
  perform(socket, identifier, { follow: ['c', 'a'] });
  await hears('a', 'b', 'c');
  perform(socket, identifier, { unfollow: ['a', 'nowhere'] });
  await hears('b', 'c');
  perform(socket, identifier, { stop: true, follow: ['d', 'b'] });
  await hears('b', 'd');
  perform(socket, identifier, { stop: true });
  await hears();
});

askedOverEach('a stream that goes on has no gap', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { does: { follow: ['room'] } });
  const publishing = (async () => {
    for (let n = 0; n < 100; n += 1) await s.http.publish('room', { n });
  })();
  for (let n = 0; n < 20; n += 1) {
    perform(socket, identifier, { stop: true, follow: ['room', `other/${n}`], unfollow: ['room'] });
    await shows(s, socket, identifier);
  }
  await publishing;
  await socket.hears({ identifier, message: { n: 99 } });
  const heard = socket.transcript.map((text) => JSON.parse(text).message?.n).filter((n) => n !== undefined);
  assert.deepEqual(heard, Array.from({ length: 100 }, (_, n) => n));
});

askedOverEach('two channels on one stream are told each', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const [left, right] = [await enter(socket, { id: 1, n: 1 }), await enter(socket, { id: 1, n: 2 })];
  await s.http.publish('room/1', 'both');
  for (const identifier of [left, right]) await socket.hears({ identifier, message: 'both' });
  socket.unsubscribe(left);
  await s.application.called('unsubscribe');
  await s.http.publish('room/1', 'one');
  await socket.hears({ identifier: right, message: 'one' });
  await shows(s, socket, right);
  socket.hearsNothing();
});

askedOverEach('the data of an action is passed on exactly', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { id: 1 });
  const texts = ['{ "n": 9007199254740993,\n"u":"\\u00e9\\/✓😀" }', JSON.stringify({ pad: '"\\'.repeat(8000) })];
  for (const data of texts) socket.send({ command: 'message', identifier, data });
  const calls = await s.application.called('message', texts.length);
  assert.deepEqual(calls.map(({ message }) => message.data), texts);
});

for (const protocol of [BASE, EXTENDED]) {
  askedOverEach(`an action without data, or of no channel, is refused without asking with ${protocol}`, {}, async (s) => {
    const socket = await connect(s, 'ann', { protocol });
    const identifier = await enter(socket, { id: 1 });
    const news = await socket.subscribe('news');
    for (const frame of [
      { command: 'message', identifier },
      { command: 'message', identifier, data: { action: 'x' } },
      { command: 'message', identifier: room({ id: 2 }), data: '{}' },
      { command: 'message', identifier: news, data: '{}' },
    ]) {
      socket.send(frame);
      const { command, reason } = await socket.hears({ type: 'error' });
      assert.equal(command, 'message', reason);
    }
    assert.deepEqual(kinds(s.application), ['connect', 'subscribe']);
  });
}

askedOverEach('subscriptions to streams are not the application’s', {}, async (s) => {
  const socket = await connect(s, 'ann');
  await socket.subscribe('news');
  const other = JSON.stringify({ channel: '$pubsub', signed_stream_name: 'InIi--00' });
  socket.send({ command: 'subscribe', identifier: other });
  await socket.hears({ type: 'reject_subscription', identifier: other });
  assert.deepEqual(kinds(s.application), ['connect']);
});

askedOverEach('any other channel is the application’s, and only that', {}, async (s) => {
  const socket = await connect(s, 'ann');
  for (const [identifier, asked] of [
    ['no JSON', false],
    ['["$pubsub"]', false],
    ['{"id":1}', false],
    ['{"channel":"Other"}', true],
    [' { "id" : 1.50, "channel" : "Oth\\u0065r" } ', true],
  ]) {
    const before = s.application.calls.length;
    socket.send({ command: 'subscribe', identifier });
    await socket.hears({ type: 'reject_subscription', identifier });
    const calls = s.application.calls.slice(before);
    assert.deepEqual(calls.map(({ message }) => message.identifier), asked ? [identifier] : []);
  }
  await enter(socket, { id: 1 });
});

for (const protocol of [BASE, EXTENDED]) {
  askedOverEach(`what the application refuses follows nothing and keeps nothing with ${protocol}`, {}, async (s) => {
    const socket = await connect(s, 'ann', { protocol });
    const does = { fail: true, follow: ['room'], istate: { a: '1' }, presence: 'room', join: { id: 'ann' } };
    for (const quiet of [false, true]) {
      const identifier = ask(socket, { does, quiet });
      await socket.hears({ type: 'reject_subscription', identifier });
      perform(socket, identifier, {});
      await socket.hears({ type: 'error', command: 'message' });
    }
    await s.http.publish('room', 'not for ann');
    assert.deepEqual(await s.http.ids('room'), []);
    const identifier = await enter(socket, { id: 1 });
    await shows(s, socket, identifier);
    socket.hearsNothing();
  });
}

askedOverEach('a subscription at which the application errs is rejected, and asked about once', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = ask(socket, { does: { raise: 'oops' } });
  await socket.hears({ type: 'reject_subscription', identifier });
  await enter(socket, { id: 1 });
  assert.deepEqual(kinds(s.application), ['connect', 'subscribe', 'subscribe']);
  await s.counts({ 'broker_rpc_calls_total{command="subscribe",outcome="error"}': 1 });
});

askedOverEach('an action that the application refuses or errs at is answered', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { id: 1 });
  for (const does of [{ fail: true, follow: ['more'] }, { raise: 'oops' }]) {
    perform(socket, identifier, does);
    await socket.hears({ type: 'error', command: 'message' });
  }
  await s.http.publish('more', 'not followed');
  await s.http.publish('room/1', 'followed');
  await socket.hears({ identifier, message: 'followed' });
  await shows(s, socket, identifier);
  socket.hearsNothing();
});

askedOverEach('a channel that is left is over, whatever the application says', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const leavings = [{}, { stop: false, istate: { a: '2' } }, { fail: true }, { raise: 'oops' }];
  for (const [n, leaving] of leavings.entries()) {
    const params = { leaving, does: { follow: [`room/${n}`], istate: { a: '1' } } };
    const identifier = await enter(socket, params);
    socket.unsubscribe(identifier);
    socket.unsubscribe(identifier);
    const { message } = (await s.application.called('unsubscribe', n + 1)).at(-1);
    assert.deepEqual([message.identifier, message.env.istate], [identifier, { a: '1' }]);
    perform(socket, identifier, {});
    await socket.hears({ type: 'error', command: 'message' });
    await s.http.publish(`room/${n}`, 'not for ann');
    await socket.settle();
    socket.hearsNothing(JSON.stringify(leaving));
    await enter(socket, params);
    assert.deepEqual(s.application.of('subscribe').at(-1).message.env.istate ?? {}, {}, 'its state is gone');
    assert.equal(s.application.of('unsubscribe').length, n + 1, 'it is left once');
  }
});

askedOverEach('the messages of the answer to an unsubscribe are passed on', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { id: 1, leaving: { transmit: ['bye'] } });
  socket.unsubscribe(identifier);
  await socket.hears({ identifier, message: 'bye' });
});

askedOverEach('the state of a connection and of its channels is kept', {}, async (s) => {
  const cstate = { session: '{"a":1}', empty: '' };
  const socket = await connect(s, 'ann', { more: `&cstate=${encodeURIComponent(JSON.stringify(cstate))}` });
  const one = await enter(socket, { id: 1, does: { istate: { a: '1', b: '2', c: '' }, cstate: { more: 'x' } } });
  const two = await enter(socket, { id: 2, does: { istate: { a: 'other' } } });
  assert.deepEqual(states(await shows(s, socket, one)), { cstate: { session: '{"a":1}', more: 'x' }, istate: { a: '1', b: '2' } });
  const large = '€'.repeat(400);
  perform(socket, one, { istate: { a: '', d: large }, cstate: { session: '' } });
  assert.deepEqual(states(await shows(s, socket, one)), { cstate: { more: 'x' }, istate: { b: '2', d: large } });
  assert.deepEqual(states(await shows(s, socket, two)), { cstate: { more: 'x' }, istate: { a: 'other' } });
});

askedOverEach('the application ends a connection, after what it says', {}, async (s) => {
  for (const protocol of [BASE, EXTENDED]) {
    const socket = await connect(s, 'ann', { protocol });
    const identifier = await enter(socket, { id: 1 });
    perform(socket, identifier, { transmit: ['bye'], disconnect: true });
    await socket.hears({ identifier, message: 'bye' });
    await socket.closing();
  }
  await s.application.called('disconnect', 2);
});

for (const protocol of [BASE, EXTENDED]) {
  for (const follow of [[], ['room'], ['room', 'more']]) {
    askedOverEach(`a repeated subscribe of ${follow.length} streams is not asked about again with ${protocol}`, {}, async (s) => {
      const socket = await connect(s, 'ann', { protocol });
      const params = { does: { follow } };
      const release = s.application.hold('subscribe');
      const identifier = ask(socket, params);
      await s.application.called('subscribe');
      ask(socket, params);
      await socket.settle();
      release();
      await socket.hears({ type: 'confirm_subscription', identifier });
      ask(socket, params);
      await shows(s, socket, identifier);
      assert.equal(s.application.of('subscribe').length, 1);
      for (const stream of follow) {
        await s.http.publish(stream, stream);
        await socket.hears({ identifier, message: stream });
      }
      await shows(s, socket, identifier);
      socket.hearsNothing();
    });
  }
}

askedOverEach('a command that waits holds up its own channel alone, which keeps its order', {}, async (s) => {
  const socket = await connect(s, 'ann');
  const [slow, quick] = [await enter(socket, { id: 1 }), await enter(socket, { id: 2 })];
  const release = s.application.hold('message');
  for (let n = 0; n < 50; n += 1) perform(socket, slow, { transmit: [n] });
  await s.application.called('message');
  await shows(s, socket, quick);
  assert.deepEqual(socket.unheard, []);
  release();
  await shows(s, socket, slow);
  assert.deepEqual(socket.unheard.map(({ message }) => message), Array.from({ length: 50 }, (_, n) => n));
});

askedOverEach('whoever has a token is in without asking, and is known by it', { secret: SECRET }, async (s) => {
  const socket = await s.socket(`/cable?${jid('ann')}`, { protocols: [EXTENDED] });
  assert.deepEqual(kinds(s.application), []);
  const identifier = await enter(socket, { id: 1 });
  assert.equal((await shows(s, socket, identifier)).identifiers, '{"user":"ann"}');
  const stranger = await s.open('/cable?jid=x.y.z');
  await stranger.hears({ type: 'disconnect', reason: 'unauthorized', reconnect: false });
  await connect(s, 'bob');
  assert.deepEqual(kinds(s.application), ['subscribe', 'message', 'connect']);
});

askedOverEach('a session of a token is not resumed without it, nor another’s with a token', { secret: SECRET }, async (s) => {
  const ann = await s.socket(`/cable?${jid('ann')}`, { protocols: [EXTENDED] });
  const bob = await connect(s, 'bob');
  for (const socket of [ann, bob]) {
    await enter(socket, { id: 1 });
    socket.terminate();
  }
  const eve = await arrive(s, 'eve', { more: `&sid=${ann.sid}` });
  const mallory = await s.open(`/cable?${jid('mallory')}&sid=${bob.sid}`, { protocols: [EXTENDED] });
  for (const socket of [eve, mallory]) assert.equal((await socket.hears({ type: 'welcome' })).restored, undefined);
  const identifier = await enter(eve, { id: 2 });
  assert.equal((await shows(s, eve, identifier)).identifiers, '{"user":"eve"}');
});

askedOverEach('clients of other protocols are none of the application’s', {}, async (s) => {
  const typed = await typedTo(s);
  typed.say('presence.list');
  await typed.hears({ type: 'presence.current', payload: { users: [] } });
  await phoenixMember(s, 'room', 'ann');
  assert.deepEqual(await s.http.ids('room'), ['ann']);
  assert.deepEqual(s.application.calls, []);
});

askedOverEach('a token may be a must', { 'secret': SECRET, 'enforce-jwt': true }, async (s) => {
  const stranger = await s.open('/cable?user=ann');
  await stranger.hears({ type: 'disconnect', reason: 'unauthorized', reconnect: false });
  await s.socket(`/cable?${jid('ann')}`);
  assert.deepEqual(kinds(s.application), []);
});

/** The states among what a channel shows. */
const states = ({ env: { cstate = {}, istate = {} } }) => ({ cstate, istate });
