// What goes wrong with an application over HTTP: none of it is run twice, none of it harms anybody else.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Pair, certificate } from './support/certificate.js';
import { until } from './support/patience.js';
import { BASE, arrive, ask, asked, connect, enter, perform, shows } from './support/rpc/asked.js';
import { BODIES, cut, half, hangUp, huge, late, redirect, reply } from './support/rpc/hostile.js';
import { HttpApplication } from './support/rpc/http.js';
import { hang, refuse } from './support/rpc/service.js';
import { SECRET, derive } from './support/sign.js';
import { watchPeak } from './support/vitals.js';

const open = () => new HttpApplication().open();
const KINDS = ['connect', 'subscribe', 'message'];
const MIB = 1024 * 1024;

/** A question of a kind that the application fails to answer; resolves when the client has been told so. */
const FAILS = {
  async connect(s) {
    const socket = await arrive(s, 'ann', { protocol: BASE });
    await socket.hears({ type: 'disconnect', reason: 'server_error', reconnect: true });
    assert.equal((await socket.closing()).code, 1013);
  },
  async subscribe(s) {
    const socket = await connect(s, 'ann', { protocol: BASE });
    ask(socket, { id: 1 });
    await socket.hears({ type: 'disconnect', reason: 'server_error', reconnect: true });
    assert.equal((await socket.closing()).code, 1013);
  },
  async message(s) {
    const socket = await connect(s, 'ann', { protocol: BASE });
    const identifier = await enter(socket, { id: 1 });
    perform(socket, identifier, {});
    const { reason } = await socket.hears({ type: 'error', command: 'message' });
    assert.ok(reason.length > 10, reason);
    await shows(s, socket, identifier);
    await socket.close();
  },
};

/** Each kind of call fails by a fault: its client is told so, it is asked once, and a bystander is served as before. */
async function eachFails(s, fault) {
  const bystander = await connect(s, 'bystander');
  const identifier = await enter(bystander, { id: 'bystander' });
  for (const kind of KINDS) {
    let at;
    s.application.meet(kind, (run, call) => {
      at = call;
      return fault(run, call);
    });
    await FAILS[kind](s);
    const same = s.application.calls.filter(({ metadata }) => {
      const { sid, 'command-id': id } = at.metadata;
      return metadata.sid === sid && metadata['command-id'] === id;
    });
    assert.equal(same.length, 1, `${kind} is asked once`);
    await shows(s, bystander, identifier);
  }
  bystander.hearsNothing();
  await bystander.close();
}

asked('answers that are none are failures, which aren’t repeated', open, {}, async (s) => {
  for (const text of Object.values(BODIES)) await eachFails(s, reply({ text }));
  const count = (command) => [`broker_rpc_calls_total{command="${command}",outcome="broken"}`, Object.keys(BODIES).length];
  await s.counts(Object.fromEntries(KINDS.map(count)));
  await s.broker.logs('its answer can\'t be used');
});

asked('any status but 200 is a failure, which isn’t repeated', open, {}, async (s) => {
  for (const status of [201, 204, 400, 401, 404, 422, 500, 502, 503]) {
    await eachFails(s, reply({ status }));
  }
  for (const status of [201, 400, 401, 404]) await s.broker.logs(`status ${status}`); // one of each kind
});

asked('redirects aren’t followed', open, {}, async (s) => {
  for (const status of [301, 302, 307, 308]) await eachFails(s, redirect(status));
  assert.deepEqual(s.application.requests.filter((it) => it.includes('elsewhere')), []);
  await s.broker.logs('force_ssl');
});

for (const [what, fault] of [
  ['ends the connection', cut()],
  ['ends the connection when it has run the command', cut({ after: true })],
  ['ends the connection amid its answer', half()],
  ['answers with more than is allowed', huge(2 * MIB)],
]) {
  asked(`a command isn’t repeated when the application ${what}`, open, {}, (s) => eachFails(s, fault));
}

for (const [what, fault] of [
  ['doesn’t answer', hang()],
  ['has run the command and doesn’t answer', hang({ after: true })],
  ['answers too late', late(2000)],
  ['stops amid its answer', half({ stay: true })],
]) {
  asked(`a command isn’t repeated when the application ${what}`, open, { 'rpc-request-timeout': '300ms' }, async (s) => {
    const given = [];
    await eachFails(s, (run, call) => {
      given.push(once(call.response, 'close'));
      return fault(run, call);
    });
    await Promise.all(given); // the broker waits no longer
    const count = (command) => [`broker_rpc_calls_total{command="${command}",outcome="late"}`, 1];
    await s.counts(Object.fromEntries(KINDS.map(count)));
  });
}

asked('an answer without an end takes no memory', open, { 'rpc-request-timeout': '4s' }, async (s) => {
  const peak = watchPeak(s.broker);
  s.application.meet('connect', huge(Infinity), 5);
  await Promise.all([1, 2, 3, 4, 5].map(() => FAILS.connect(s)));
  assert.ok(peak() < 20 * MIB, `${peak()} bytes more`);
});

asked('defaults may be absent, null or empty, and a status may be a name', open, {}, async (s) => {
  const socket = await connect(s, 'ann');
  const [confirm, identifiers] = ['{"type":"confirm_subscription"}', '{"user":"ann"}'];
  const nothing = { disconnect: null, stop_streams: '', stopped_streams: null, error_msg: '', env: null, presence: null };
  for (const [n, text] of [
    { status: 1, transmissions: [confirm], ...nothing },
    { status: 'SUCCESS', transmissions: [confirm], streams: '', env: { istate: null, cstate: '' }, more: [1] },
  ].entries()) {
    s.application.meet('subscribe', reply({ text: JSON.stringify(text) }));
    ask(socket, { n });
    await socket.hears({ type: 'confirm_subscription' });
  }
  const welcome = '{"type":"welcome"}';
  s.application.meet('connect', reply({ text: JSON.stringify({ status: 'SUCCESS', identifiers, transmissions: [welcome] }) }));
  const other = await connect(s, 'bob');
  assert.match(other.sid, /^[0-9a-f]{32}$/, 'a welcome without sid gets one');
  s.application.meet('connect', reply({ text: '{"status":"FAILURE"}' }));
  const refused = await arrive(s, 'cid');
  await refused.hears({ type: 'disconnect', reason: 'unauthorized' });
});

asked('a state that is JSON comes back as it was', open, {}, async (s) => {
  const socket = await connect(s, 'ann');
  const state = '{"a":{"n" : 9007199254740993},"b":1,"c":false}';
  const text = `{"status":1,"transmissions":["{\\"type\\":\\"confirm_subscription\\"}"],"env":{"istate":${state}}}`;
  s.application.meet('subscribe', reply({ text }));
  const identifier = ask(socket, {});
  await socket.hears({ type: 'confirm_subscription' });
  await shows(s, socket, identifier);
  assert.ok(s.application.of('message')[0].text.includes(state), s.application.of('message')[0].text);
});

for (const [what, fault] of [
  ['429', refuse('RESOURCE_EXHAUSTED')],
  ['429 and a time', refuse('RESOURCE_EXHAUSTED', { headers: { 'retry-after': '0' } })],
  ['503 and a time', refuse('UNAVAILABLE', { headers: { 'retry-after': '0' } })],
  ['503 and a date', refuse('UNAVAILABLE', { headers: { 'retry-after': new Date().toUTCString() } })],
]) {
  asked(`what the application defers by ${what} is repeated`, open, {}, async (s) => {
    for (const kind of KINDS) s.application.meet(kind, fault);
    const socket = await connect(s, 'ann');
    const identifier = await enter(socket, { id: 1 });
    await shows(s, socket, identifier);
    for (const kind of KINDS) {
      assert.deepEqual(s.application.of(kind).map(({ ran }) => ran), [false, true], kind);
    }
    await s.counts({ broker_rpc_retries_total: 3 });
  });
}

asked('what the application defers for too long has failed', open, { 'rpc-command-timeout': '1s' }, async (s) => {
  await eachFails(s, refuse('UNAVAILABLE', { headers: { 'retry-after': '3600' } }));
});

asked('a connection that the application ends, though it was to be kept, isn’t used', open, {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { id: 1 });
  for (let n = 0; n < 20; n += 1) {
    let ended;
    s.application.meet('message', (run, call) => {
      ended = once(call.response.socket, 'close');
      return hangUp()(run, call);
    });
    perform(socket, identifier, { transmit: [n] });
    await socket.hears({ identifier, message: n });
    await ended;
  }
  assert.equal(s.application.of('message').length, 20);
});

asked('a command that crosses the end of its connection is answered, and not repeated', open, {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { id: 1 });
  s.application.meet('message', hangUp(), 50);
  for (let n = 0; n < 50; n += 1) {
    const before = socket.transcript.length;
    perform(socket, identifier, { transmit: [n] });
    await until(() => socket.transcript.length > before, 'an answer');
  }
  await shows(s, socket, identifier);
  const messages = s.application.of('message').map(({ message }) => message.data);
  assert.equal(new Set(messages).size, messages.length, 'each is asked at most once');
});

asked('a request has what the application needs, and nothing that asks for more', open, { secret: SECRET }, async (s) => {
  const socket = await connect(s, 'ann');
  await enter(socket, { id: 1 });
  const [{ headers, text }, command] = s.application.calls;
  const authorization = `Bearer ${derive('rpc-cable')}`;
  const { 'user-agent': agent, connection, ...rest } = headers;
  assert.match(agent, /^broker\//);
  assert.ok([undefined, 'keep-alive'].includes(connection));
  assert.deepEqual(rest, {
    'host': `127.0.0.1:${s.application.port}`,
    'accept': 'application/json',
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(text)),
    authorization,
    'x-anycable-meta-protov': 'v1',
    'x-anycable-meta-sid': socket.sid,
  });
  assert.match(command.headers['x-anycable-meta-command-id'], new RegExp(`^${socket.sid}/\\d+$`));
});

asked('connections are used again', open, {}, async (s) => {
  const socket = await connect(s, 'ann');
  const identifier = await enter(socket, { id: 1 });
  for (let n = 0; n < 20; n += 1) await shows(s, socket, identifier);
  assert.equal(s.application.connections, 1);
});

asked('the application comes back at its address', open, {}, async (s) => {
  const socket = await connect(s, 'ann', { protocol: BASE });
  const identifier = await enter(socket, { id: 1 });
  const { port } = s.application;
  s.application.close();
  perform(socket, identifier, { transmit: ['waited'] });
  await once(s.application.server, 'close').catch(() => {});
  await s.application.open(port);
  await socket.hears({ identifier, message: 'waited' });
  assert.equal(s.application.of('message').length, 1);
});

asked('a key that the application doesn’t know is told in the log', () => new HttpApplication({ token: 'other' }).open(), { secret: SECRET }, async (s) => {
  await FAILS.connect(s);
  assert.deepEqual(s.application.requests, ['POST /_anycable/connect']);
  await s.broker.logs('--http-rpc-secret');
});

asked('a key that the application knows is good', () => new HttpApplication({ token: 'qwerty' }).open(), { 'http-rpc-secret': 'qwerty' }, async (s) => {
  await connect(s, 'ann');
});

for (const [end, flags] of [['/', {}], ['', { 'rpc-impl': 'http' }]]) {
  asked(`the address may end with «${end}»`, open, (s) => ({ 'rpc-host': s.application.host + end, ...flags }), async (s) => {
    await connect(s, 'ann');
    assert.deepEqual(s.application.requests, ['POST /_anycable/connect']);
  });
}

asked('an application at the root', () => new HttpApplication({ path: '' }).open(), {}, async (s) => {
  await connect(s, 'ann');
  assert.deepEqual(s.application.requests, ['POST /connect']);
});

const pair = new Pair();
const authority = pair.flags['tls-cert'];
const other = join(pair.folder, 'other.pem');
writeFileSync(other, certificate().cert);
const [cert, key] = [authority, pair.flags['tls-key']].map((file) => readFileSync(file, 'utf8'));
const trusted = () => new HttpApplication({ certificate: { cert, key } }).open();

for (const [what, flags, isTrusted] of [
  ['of an authority that is trusted', { 'rpc-tls-root-ca': authority }, true],
  ['that isn’t verified', { 'rpc-tls-verify=false': true }, true],
  ['of another authority', { 'rpc-tls-root-ca': other, 'rpc-command-timeout': '500ms' }, false],
  ['of an unknown authority', { 'rpc-command-timeout': '500ms' }, false],
]) {
  asked(`an application with a certificate ${what} is ${isTrusted ? 'asked' : 'not asked'}`, trusted, flags, async (s) => {
    if (isTrusted) {
      await connect(s, 'ann');
    } else {
      await FAILS.connect(s);
      assert.deepEqual(s.application.requests, []);
      await s.broker.logs('certificate');
    }
  });
}
