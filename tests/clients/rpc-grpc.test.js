// What goes wrong with an application over gRPC: none of it is run twice, and no command that surely didn't run is lost.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants } from 'node:http2';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Pair, certificate } from './support/certificate.js';
import { BASE, arrive, asked, connect, enter, perform, shows } from './support/rpc/asked.js';
import { GemApplication } from './support/rpc/gem.js';
import { GrpcApplication } from './support/rpc/grpc.js';
import { ANSWERS, Http2Application, crumbs, cut, goaway, reply, reset } from './support/rpc/http2.js';
import { hang, refuse } from './support/rpc/service.js';
import { SECRET, derive } from './support/sign.js';

const { NGHTTP2_CANCEL } = constants;
const grpc = (options) => () => new GrpcApplication(options).open();
const gem = (options) => () => new GemApplication(options).open();
const http2 = (options) => () => new Http2Application(options).open();

/** A client in the channel: `[socket, identifier]`. */
async function member(s, user = 'ann') {
  const socket = await connect(s, user, { protocol: BASE });
  return [socket, await enter(socket, { user, does: {} })];
}

/** Performs an action that fails; gives how often it was asked and whether it ran. */
async function fails(s, [socket, identifier], fault) {
  return happens(s, fault, async () => {
    perform(socket, identifier, {});
    await socket.hears({ type: 'error', command: 'message' });
  });
}

/** Performs an action that meets a fault and is answered; gives how often it was asked and ran. */
async function succeeds(s, [socket, identifier], fault) {
  return happens(s, fault, () => shows(s, socket, identifier));
}

async function happens(s, fault, action) {
  const before = s.application.of('message').length;
  s.application.meet('message', fault);
  await action();
  const calls = s.application.of('message').slice(before);
  return { asked: calls.length, ran: calls.filter(({ ran }) => ran).length };
}

asked('a call’s metadata say whose it is', grpc(), { secret: SECRET }, async (s) => {
  const [socket, identifier] = await member(s);
  const { metadata: connecting } = s.application.of('connect')[0];
  const { metadata } = s.application.of('subscribe')[0];
  for (const { sid, protov, authorization } of [connecting, metadata]) {
    assert.deepEqual([sid, protov, authorization], [socket.sid, 'v1', `Bearer ${derive('rpc-cable')}`]);
  }
  await shows(s, socket, identifier);
  const ids = s.application.calls.map(({ metadata: { 'command-id': id } }) => id);
  assert.equal(ids[0], undefined);
  assert.ok(ids[1] && ids[2] && ids[1] !== ids[2], String(ids));
});

asked('answers that are none are failures, which aren’t repeated', http2(), {}, async (s) => {
  const who = await member(s);
  for (const what of Object.keys(ANSWERS)) {
    assert.deepEqual(await fails(s, who, reply(what)), { asked: 1, ran: 1 }, what);
    await shows(s, ...who);
  }
});

asked('an answer may come a byte at a time', http2(), {}, async (s) => {
  const who = await member(s);
  assert.deepEqual(await succeeds(s, who, crumbs()), { asked: 1, ran: 1 });
});

for (const [what, fault] of [
  ['is left out by a GOAWAY', goaway()],
  ['is refused by a RST_STREAM', reset()],
]) {
  asked(`a call that ${what} is sent again`, http2(), {}, async (s) => {
    const who = await member(s);
    for (let n = 0; n < 3; n += 1) {
      assert.deepEqual(await succeeds(s, who, fault), { asked: 2, ran: 1 });
    }
  });
}

asked('a call that a GOAWAY includes is answered, and the next goes over another connection', http2(), {}, async (s) => {
  const who = await member(s);
  assert.deepEqual(await succeeds(s, who, goaway({ last: Infinity })), { asked: 1, ran: 1 });
  await shows(s, ...who);
  assert.equal(s.application.connections, 2);
});

for (const [what, fault, ran] of [
  ['canceled', reset({ code: NGHTTP2_CANCEL }), 0],
  ['canceled when it has run', reset({ code: NGHTTP2_CANCEL, after: true }), 1],
  ['refused when it has run', refuse('UNAVAILABLE', { after: true }), 1],
  ['answered with UNAVAILABLE', refuse('UNAVAILABLE'), 0],
  ['cut', cut(), 0],
  ['cut when it has run', cut({ after: true }), 1],
]) {
  asked(`a call that is ${what} isn’t repeated`, http2(), {}, async (s) => {
    const who = await member(s);
    assert.deepEqual(await fails(s, who, fault), { asked: 1, ran });
    await shows(s, ...who);
  });
}

asked('a call for which no thread is free is repeated, and runs once', grpc(), {}, async (s) => {
  s.application.meet('connect', refuse('RESOURCE_EXHAUSTED'), 3);
  s.application.meet('subscribe', refuse('RESOURCE_EXHAUSTED'), 3);
  const who = await member(s);
  for (let n = 0; n < 3; n += 1) s.application.meet('message', refuse('RESOURCE_EXHAUSTED'));
  await shows(s, ...who);
  for (const kind of ['connect', 'subscribe', 'message']) {
    assert.deepEqual(s.application.of(kind).map(({ ran }) => ran), [false, false, false, true], kind);
  }
  await s.counts({ broker_rpc_retries_total: 9 });
});

for (const [server, open] of Object.entries({
  'Node’s server': grpc({ connectionAge: 300 }),
  'Ruby’s server': gem({ connectionAge: 1000 }),
})) {
  asked(`no command is lost or doubled while ${server} ends its connections by age`, open, {}, async (s) => {
    const members = await Promise.all(['ann', 'bob', 'cid'].map((user) => member(s, user)));
    let n = 0;
    const began = performance.now();
    while (performance.now() - began < 2500) {
      n += 1;
      await Promise.all(members.map(async ([socket, identifier]) => {
        perform(socket, identifier, { transmit: [n] });
        await socket.hears({ identifier, message: n });
      }));
    }
    assert.equal(s.application.of('message').length, 3 * n);
    if (s.application.peers) assert.ok(s.application.peers.size > 2, `${s.application.peers.size} connections`);
  });
}

asked('an application with few threads gets all calls, none of them twice', gem({ threads: 2 }), {}, async (s) => {
  for (const kind of ['connect', 'subscribe']) s.application.meet(kind, slowly, 12);
  await Promise.all(Array.from({ length: 12 }, (_, n) => member(s, `user-${n}`)));
  for (const kind of ['connect', 'subscribe']) {
    assert.equal(s.application.of(kind).length, 12, kind);
  }
  const metrics = await s.http.metrics();
  assert.ok(metrics.get('broker_rpc_limit') < 25, 'it is asked less at a time');
});

asked('a connection takes no more calls at a time than the application lets it', http2({ settings: { maxConcurrentStreams: 2 } }), {}, async (s) => {
  const members = await Promise.all(Array.from({ length: 10 }, (_, n) => member(s, `user-${n}`)));
  let most = 0;
  let now = 0;
  s.application.meet('message', async (run) => {
    now += 1;
    most = Math.max(most, now);
    const answer = await slowly(run);
    now -= 1;
    return answer;
  }, 10);
  await Promise.all(members.map((who) => shows(s, ...who)));
  assert.ok(most <= 2 * s.application.connections, `${most} over ${s.application.connections}`);
});

asked('a call that takes too long is canceled', http2(), { 'rpc-request-timeout': '300ms' }, async (s) => {
  const who = await member(s);
  let canceled;
  const result = await fails(s, who, (run, call) => {
    assert.match(call.headers['grpc-timeout'], /^\d+[mun]$/);
    canceled = once(call.stream, 'aborted');
    return hang()(run);
  });
  assert.deepEqual(result, { asked: 1, ran: 0 });
  await canceled;
  await s.counts({ 'broker_rpc_calls_total{command="message",outcome="late"}': 1 });
});

asked('an answer may be as large as is allowed, and no larger', grpc(), { 'rpc-max-call-recv-size': '100KiB' }, async (s) => {
  const [socket, identifier] = await member(s);
  for (const [size, isGood] of [[99, true], [101, false]]) {
    const message = 'x'.repeat(size * 1024);
    s.application.meet('message', (run) => ({ ...run(), transmissions: [JSON.stringify({ identifier, message })] }));
    perform(socket, identifier, {});
    await socket.hears(isGood ? { identifier, message } : { type: 'error', command: 'message' });
  }
  assert.equal(s.application.of('message').length, 2);
});

asked('a call that is larger than allowed isn’t sent', grpc(), { 'rpc-max-call-send-size': '8KiB' }, async (s) => {
  const [socket, identifier] = await member(s);
  perform(socket, identifier, { pad: 'x'.repeat(9000) });
  await socket.hears({ type: 'error', command: 'message' });
  await shows(s, socket, identifier);
  assert.equal(s.application.of('message').length, 1);
  await s.broker.logs('--rpc-max-call-send-size');
});

asked('the application comes back at its address', grpc(), {}, async (s) => {
  const [socket, identifier] = await member(s);
  const { port } = s.application;
  s.application.close();
  perform(socket, identifier, { transmit: ['waited'] });
  await s.application.open(port);
  await socket.hears({ identifier, message: 'waited' });
  assert.equal(s.application.of('message').length, 1);
});

asked('an application that stops answers what it was asked, and another gets the rest', grpc(), {}, async (s) => {
  const [one, other] = [await member(s), await member(s, 'bob')];
  const release = s.application.hold('message');
  const first = shows(s, ...one);
  await s.application.called('message');
  const { port } = s.application;
  const drained = s.application.drain();
  const second = shows(s, ...other);
  release();
  await Promise.all([first, drained]);
  await s.application.open(port);
  await second;
  assert.equal(s.application.of('message').length, 2);
});

for (const host of [
  (port) => `grpc://127.0.0.1:${port}`,
  (port) => `dns:///localhost:${port}`,
  (port) => `127.0.0.1:1,127.0.0.1:${port}`,
]) {
  asked(`the application may be given as ${host('PORT')}`, grpc(), (s) => ({ 'rpc-host': host(s.application.port) }), async (s) => {
    await member(s);
  });
}

const pair = new Pair();
const authority = pair.flags['tls-cert'];
const other = join(pair.folder, 'other.pem');
writeFileSync(other, certificate().cert);
const [cert, key] = [authority, pair.flags['tls-key']].map((file) => readFileSync(file, 'utf8'));

for (const [what, flags, isTrusted] of [
  ['of an authority that is trusted', { 'rpc-tls-root-ca': authority }, true],
  ['of an authority whose text is given', { [`rpc-tls-root-ca=${cert}`]: true }, true],
  ['that isn’t verified', { 'rpc-tls-verify=false': true }, true],
  ['of another authority', { 'rpc-tls-root-ca': other, 'rpc-command-timeout': '500ms' }, false],
]) {
  const all = { 'rpc-enable-tls': true, ...flags };
  asked(`an application with a certificate ${what} is ${isTrusted ? 'asked' : 'not asked'}`, grpc({ certificate: { cert, key } }), all, async (s) => {
    if (isTrusted) {
      await member(s);
      return;
    }
    const socket = await arrive(s, 'ann');
    await socket.hears({ type: 'disconnect', reason: 'server_error', reconnect: true });
    assert.deepEqual(s.application.calls, []);
    await s.broker.logs('certificate');
  });
}

/** A fault: the answer takes a while. */
async function slowly(run) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  return run();
}

