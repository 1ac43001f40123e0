// The end of a session, which the application is told once.

import assert from 'node:assert/strict';
import { BASE, EXTENDED, arrive, ask, asked, askedOverEach, connect, enter, perform, shows } from './support/rpc/asked.js';
import { HttpApplication } from './support/rpc/http.js';
import { hang, refuse } from './support/rpc/service.js';
import { Http } from './support/http.js';
import { SECRET, derive, jid } from './support/sign.js';

const BRIEF = { 'sessions-ttl': '300ms' };
const open = () => new HttpApplication().open();
const ends = ({ calls }) => calls.filter(({ kind }) => kind === 'disconnect');

/** One more comes and goes: what the application was to be told before, it was told. Gives all ends but this one's. */
async function endsBefore(s) {
  const last = await connect(s, 'last', { protocol: BASE });
  await last.close();
  const isLast = ({ message }) => message.identifiers === '{"user":"last"}';
  for (let n = 1; ; n += 1) {
    const told = await s.application.called('disconnect', n);
    if (told.some(isLast)) return told.filter((call) => !isLast(call));
  }
}

askedOverEach('the application is told who has gone, and from which channels', BRIEF, async (s) => {
  for (const protocol of [BASE, EXTENDED]) {
    const cstate = encodeURIComponent('{"c":"1"}');
    const socket = await connect(s, 'ann', { protocol, more: `&cstate=${cstate}`, headers: { cookie: 'a=b' } });
    const one = await enter(socket, { id: 1, does: { istate: { k: 'v', 'ü"': '✓' } } });
    const two = await enter(socket, { id: 2 });
    const gone = await enter(socket, { id: 3, does: { istate: { k: 'v' } }, leaving: { istate: { k: 'w' } } });
    socket.unsubscribe(gone);
    await socket.subscribe('news');
    await shows(s, socket, one);
    await s.application.called('unsubscribe');
    await socket.close();
    const [{ metadata, message }] = await s.application.called('disconnect');
    assert.deepEqual([metadata.sid, metadata['disconnect-id'], metadata.protov], [socket.sid, socket.sid, 'v1']);
    const { identifiers, subscriptions, env } = message;
    assert.equal(identifiers, '{"user":"ann"}');
    assert.deepEqual(subscriptions.toSorted(), [one, two].toSorted());
    assert.match(env.url, /\/cable\?user=ann&cstate=/);
    assert.deepEqual(env.headers, { REMOTE_ADDR: '127.0.0.1', cookie: 'a=b' });
    assert.deepEqual(env.cstate, { c: '1' });
    assert.deepEqual(Object.keys(env.istate), [one]);
    assert.deepEqual(JSON.parse(env.istate[one]), { k: 'v', 'ü"': '✓' });
    s.application.calls.splice(0);
  }
});

/** How a connection ends, by what ends it. */
const ENDS = {
  'a close frame': (s, socket) => socket.close(),
  'a cut': (s, socket) => socket.terminate(),
  'the application': (s, socket, identifier) => perform(socket, identifier, { disconnect: true }),
  'a command over HTTP': (s) => {
    const http = new Http(s.broker.origin, derive('broadcast-cable'));
    return http.post('/_broadcast', { command: 'disconnect', payload: { identifier: '{"user":"ann"}' } });
  },
  'a frame that is too large': (s, socket) => socket.send('x'.repeat(70_000)),
};

for (const [what, end] of Object.entries(ENDS)) {
  asked(`the end by ${what} is told once`, open, { ...BRIEF, secret: SECRET }, async (s) => {
    for (const protocol of [BASE, EXTENDED]) {
      const socket = await connect(s, 'ann', { protocol });
      const identifier = await enter(socket, { id: 1 });
      await end(s, socket, identifier);
      await socket.closed;
    }
    await s.application.called('disconnect', 2);
    const told = await endsBefore(s);
    assert.equal(told.length, 2);
  });
}

asked('a session that waits for its client is ended over HTTP, which is told once', open, {}, async (s) => {
  const socket = await connect(s, 'ann');
  await enter(socket, { id: 1 });
  await socket.terminate();
  await s.counts({ broker_sessions_parked: 1 });
  assert.deepEqual(ends(s.application), []);
  await ENDS['a command over HTTP'](s);
  const [{ metadata }] = await s.application.called('disconnect');
  assert.equal(metadata.sid, socket.sid);
  assert.equal((await endsBefore(s)).length, 1);
});

asked('who was refused, or known without asking, has no end', open, { ...BRIEF, secret: SECRET, 'public-streams': true }, async (s) => {
  const refused = await s.open('/cable');
  await refused.closing();
  s.application.meet('connect', refuse('INTERNAL'));
  await (await arrive(s, 'failed')).closing();
  const signed = await s.socket(`/cable?${jid('signed')}`);
  await signed.subscribe('news');
  await signed.close();
  const member = await s.socket(`/cable?${jid('member')}`);
  await enter(member, { id: 1 });
  await member.close();
  const told = await endsBefore(s);
  assert.deepEqual(told.map(({ message }) => message.identifiers), ['{"user":"member"}']);
});

asked('the mode says whose end is told', open, { 'secret': SECRET, 'disconnect-mode': 'always', 'public-streams': true }, async (s) => {
  const signed = await s.socket(`/cable?${jid('signed')}`);
  await signed.subscribe('news');
  await signed.close();
  const told = await endsBefore(s);
  assert.deepEqual(told.map(({ message }) => message.identifiers), ['{"user":"signed"}']);
});

asked('nobody’s end may be told', open, { ...BRIEF, 'disconnect-mode': 'never' }, async (s) => {
  for (const protocol of [BASE, EXTENDED]) {
    const socket = await connect(s, 'ann', { protocol });
    await enter(socket, { id: 1 });
    await socket.close();
  }
  await s.counts({ broker_sessions: 0 });
  assert.deepEqual(await s.broker.stop(), { code: 0, signal: null });
  assert.deepEqual(ends(s.application), []);
});

askedOverEach('a session that is resumed ends once, when it is over', { 'sessions-ttl': '1s' }, async (s) => {
  const first = await connect(s, 'ann', { more: '&n=1' });
  const identifier = await enter(first, { id: 1, does: { istate: { k: 'v' } } });
  let last = first;
  for (const n of [2, 3]) {
    last.terminate();
    const next = await arrive(s, 'ann', { more: `&n=${n}&sid=${last.sid}` });
    last = await next.welcome();
    await next.settle();
    assert.deepEqual(ends(s.application), []);
  }
  await last.close();
  const [{ metadata, message }] = await s.application.called('disconnect');
  assert.deepEqual([metadata.sid, metadata['disconnect-id']], [last.sid, first.sid]);
  assert.deepEqual(message.subscriptions, [identifier]);
  assert.match(message.env.url, /&n=3&sid=/);
  assert.equal((await endsBefore(s)).length, 1);
});

asked('without delay each end of a connection is told at once', open, { 'disconnect-delay': '0s' }, async (s) => {
  const first = await connect(s, 'ann');
  await enter(first, { id: 1 });
  first.terminate();
  const [{ metadata }] = await s.application.called('disconnect');
  assert.equal(metadata.sid, first.sid);
  const last = await arrive(s, 'ann', { more: `&sid=${first.sid}` });
  const { restored, sid } = await last.hears({ type: 'welcome' });
  assert.equal(restored, true);
  last.terminate();
  const told = await s.application.called('disconnect', 2);
  const ids = told.map(({ metadata }) => [metadata.sid, metadata['disconnect-id']]);
  assert.deepEqual(ids, [[first.sid, first.sid], [sid, sid]], 'each end has an id of its own');
});

for (const kind of ['connect', 'subscribe', 'message']) {
  askedOverEach(`who goes while the application is asked to ${kind} has gone behind the answer`, BRIEF, async (s) => {
    const socket = kind === 'connect' ? null : await connect(s, 'ann');
    const identifier = kind === 'message' && (await enter(socket, { id: 1 }));
    const release = s.application.hold(kind);
    const goes = socket ?? (await arrive(s, 'ann'));
    const does = { cstate: { late: '1' } };
    if (kind === 'subscribe') ask(socket, { id: 1, does });
    if (kind === 'message') perform(socket, identifier, does);
    await s.application.called(kind);
    goes.terminate();
    await s.connections(0);
    assert.deepEqual(ends(s.application), []);
    release();
    const [{ message }] = await s.application.called('disconnect');
    assert.equal(message.identifiers, '{"user":"ann"}');
    if (kind !== 'connect') assert.deepEqual(message.env.cstate, { late: '1' });
    assert.equal((await endsBefore(s)).length, 1);
  });
}

askedOverEach('an end that the application couldn’t take is told again', {}, async (s) => {
  s.application.meet('disconnect', refuse('UNAVAILABLE'));
  const socket = await connect(s, 'ann', { protocol: BASE });
  await socket.close();
  const told = await s.application.called('disconnect', 2);
  assert.deepEqual(told.map(({ ran }) => ran), [false, true]);
  assert.deepEqual(told.map(({ metadata }) => metadata['disconnect-id']), [socket.sid, socket.sid]);
});

for (const protocol of [BASE, EXTENDED]) {
  asked(`a broker that stops tells all ends with ${protocol}`, open, { 'disconnect-rate': 0 }, async (s) => {
    const users = Array.from({ length: 100 }, (_, n) => `user-${n}`);
    await Promise.all(users.map((user) => connect(s, user, { protocol })));
    assert.deepEqual(await s.broker.stop(), { code: 0, signal: null });
    const told = ends(s.application).map(({ message }) => JSON.parse(message.identifiers).user);
    assert.deepEqual(told.toSorted(), users.toSorted());
  });
}

asked('so many ends are told per second', open, { 'disconnect-rate': 10 }, async (s) => {
  const sockets = await Promise.all(Array.from({ length: 20 }, (_, n) => connect(s, `user-${n}`, { protocol: BASE })));
  const began = performance.now();
  for (const socket of sockets) socket.terminate();
  await s.application.called('disconnect', 20);
  const took = performance.now() - began;
  assert.ok(took > 1800, `${took} ms`);
});

asked('many ends at a time are told once each, and hold up nobody', open, { 'disconnect-rate': 0 }, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { id: 1 });
  const users = Array.from({ length: 200 }, (_, n) => `user-${n}`);
  const sockets = await Promise.all(users.map((user) => connect(s, user, { protocol: BASE })));
  for (const it of sockets) it.terminate();
  await shows(s, socket, identifier);
  await s.application.called('disconnect', users.length);
  const told = (await endsBefore(s)).map(({ message }) => JSON.parse(message.identifiers).user);
  assert.deepEqual(told.toSorted(), users.toSorted());
});

askedOverEach('a broker that stops waits for what the application was asked, and tells it the ends then', { 'shutdown-timeout': '5s' }, async (s) => {
  const [waits, fails] = [await connect(s, 'waits'), await connect(s, 'fails')];
  s.application.meet('subscribe', hang());
  ask(fails, { id: 1 });
  await s.application.called('subscribe');
  const identifier = await enter(waits, { id: 1 });
  const release = s.application.hold('message');
  perform(waits, identifier, { cstate: { late: '1' } });
  await s.application.called('message');
  s.broker.kill('SIGTERM');
  await waits.closing();
  release();
  assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
  const told = ends(s.application).map(({ message }) => [JSON.parse(message.identifiers).user, message.env.cstate ?? {}]);
  assert.deepEqual(told.toSorted(), [['fails', {}], ['waits', { late: '1' }]]);
});

const SLOW = { 'rpc-request-timeout': '30s', 'rpc-command-timeout': '30s' };

asked('who goes while others are asked about waits no longer', open, { ...SLOW, 'rpc-concurrency': 1 }, async (s) => {
  const release = s.application.hold('connect');
  const first = await arrive(s, 'first');
  await s.application.called('connect');
  for (const end of ['terminate', 'close']) {
    const goes = await Promise.all(Array.from({ length: 10 }, (_, n) => arrive(s, `goes-${n}`)));
    await s.counts({ broker_rpc_waiting: 10, broker_rpc_running: 1 });
    for (const socket of goes) {
      socket.send({ command: 'subscribe', identifier: '{}' });
      socket.ws[end]();
      if (end === 'close') socket.ws._socket.end();
    }
    await s.counts({ broker_rpc_waiting: 0, broker_rpc_running: 1 });
  }
  release();
  await first.welcome();
  const metrics = await s.http.metrics();
  assert.equal(metrics.get('broker_rpc_calls_total', { command: 'connect', outcome: 'abandoned' }), 20);
  assert.equal(s.application.of('connect').length, 1);
});

askedOverEach('a broker that stops tells the ends while calls hang, and theirs before it is over', { ...SLOW, 'shutdown-timeout': '4s' }, async (s) => {
  const users = ['hangs', 'waits', 'base'];
  const [hangs, waits] = [await connect(s, 'hangs'), await connect(s, 'waits'), await connect(s, 'base', { protocol: BASE })];
  await enter(waits, { id: 1 });
  s.application.meet('subscribe', hang());
  ask(hangs, { id: 1 });
  await s.application.called('subscribe', 2);
  s.broker.kill('SIGTERM');
  await s.application.called('disconnect', 2);
  const early = ends(s.application).map(({ message }) => JSON.parse(message.identifiers).user);
  assert.deepEqual(early.toSorted(), ['base', 'waits']);
  assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
  const told = ends(s.application).map(({ message }) => JSON.parse(message.identifiers).user);
  assert.deepEqual(told.toSorted(), users.toSorted());
});

asked('a broker that stops says how many ends it couldn’t tell', open, { ...SLOW, 'shutdown-timeout': '1s' }, async (s) => {
  await Promise.all(['ann', 'bob', 'carol'].map((user) => connect(s, user)));
  s.application.meet('disconnect', hang(), 3);
  assert.deepEqual(await s.broker.stop(), { code: 0, signal: null });
  assert.match(s.broker.log, /shutdown timeout over.*ends_not_told.*3/);
});

asked('a broker that stops tells the ends as fast as the application takes them', open, { 'disconnect-rate': 1 }, async (s) => {
  const users = Array.from({ length: 100 }, (_, n) => `user-${n}`);
  await Promise.all(users.map((user) => connect(s, user)));
  assert.deepEqual(await s.broker.stop(), { code: 0, signal: null });
  assert.equal(ends(s.application).length, users.length);
});
