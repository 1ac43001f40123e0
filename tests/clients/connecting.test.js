// The handshake, the welcome, pings, and who is not let in.

import assert from 'node:assert/strict';
import { pass, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { Socket } from './support/socket.js';
import { TEXT, frame, handshake, joinsWithHandshake } from './support/wire.js';

const BASE = 'actioncable-v1-json';
const EXTENDED = 'actioncable-v1-ext-json';

scenario('a connection is welcomed with a session id of its own', {}, async (s) => {
  const one = await s.open();
  const welcome = await one.hears({ type: 'welcome' });
  assert.deepEqual(Object.keys(welcome).sort(), ['sid', 'type']);
  assert.match(welcome.sid, /^[0-9a-f]{32}$/);
  const other = await s.socket();
  assert.notEqual(other.sid, welcome.sid);
});

for (const [offered, chosen] of [
  [[BASE], BASE],
  [[EXTENDED], EXTENDED],
  [[BASE, EXTENDED], BASE],
  [[EXTENDED, BASE], EXTENDED],
  [['mqtt', EXTENDED, BASE], EXTENDED],
  [[BASE, 'actioncable-unsupported'], BASE],
  [[], ''],
]) {
  const offer = offered.length ? offered.join(', ') : 'no subprotocol';
  scenario(`a client that offers ${offer} gets ${chosen || 'none, and is served'}`, {}, async (s) => {
    const socket = await s.socket('/cable', { protocols: offered });
    assert.equal(socket.ws.protocol, chosen);
    const identifier = await socket.subscribe('room');
    socket.join(identifier, 'ann', {});
    assert.equal((await socket.hearsPresence(identifier, 'join')).id, 'ann');
  });
}

scenario('a client that offers only subprotocols nobody here speaks is refused', {}, async (s) => {
  const open = Socket.open(s.broker.url(), { protocols: ['mqtt', 'graphql-ws'] });
  await assert.rejects(open, /HTTP 400/);
});

scenario('frames that arrive in one packet with the handshake are followed', {}, joinsWithHandshake);

scenario('a handshake that arrives byte by byte is a handshake', {}, async (s) => {
  const wire = await s.wire();
  for (const byte of handshake(s.broker.origin)) {
    wire.write(byte);
    await new Promise(setImmediate);
  }
  assert.equal((await wire.answer()).status, 101);
  await wire.hears(TEXT, '"welcome"');
});

scenario('the answer to the key of RFC 6455 is the one the RFC prints', {}, async (s) => {
  const wire = await s.wire();
  wire.write(handshake(s.broker.origin));
  const { headers } = await wire.answer();
  assert.equal(headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  assert.ok(!('sec-websocket-extensions' in headers), 'no extension was asked for');
});

scenario('an offer of compression is declined, not refused', {}, async (s) => {
  const socket = await s.socket('/cable', { perMessageDeflate: true });
  assert.equal(socket.ws.extensions, '');
  await socket.subscribe('room');
});

scenario('pings come at the default interval of three seconds', {}, async (s) => {
  const before = performance.now();
  const socket = await s.socket();
  const after = performance.now();
  await pings(socket, 1);
  const now = performance.now(); // it connected at some time between those two
  assert.ok(now - before > 1400 && now - after < 4500, `the first ping came after ${now - after} ms`);
});

scenario('a ping carries the time in whole seconds', { 'ping-interval': '200ms' }, async (s) => {
  const socket = await s.socket();
  await pings(socket, 2);
  for (const text of socket.pings) {
    const ping = JSON.parse(text);
    assert.deepEqual(Object.keys(ping).sort(), ['message', 'type']);
    assert.ok(Math.abs(ping.message - Date.now() / 1000) < 60, text);
  }
});

scenario('?pi sets the interval of one connection', { 'ping-interval': '60s' }, async (s) => {
  const asking = await s.socket('/cable?pi=1');
  const other = await s.socket();
  await pings(asking, 2);
  assert.equal(other.pings.length, 0);
});

for (const [precision, unit] of [['s', 1e0], ['ms', 1e3], ['ns', 1e9]]) {
  const name = `?ptp=${precision} makes a connection's pings carry the time in ${precision}`;
  scenario(name, { 'ping-interval': '200ms' }, async (s) => {
    const socket = await s.socket(`/cable?ptp=${precision}`);
    await pings(socket, 1);
    const digits = socket.pings[0].match(/"message":(\d+)/)[1];
    assert.ok(Math.abs(Number(digits) / unit - Date.now() / 1000) < 60, socket.pings[0]);
  });
}

const milliseconds = { 'ping-interval': '200ms', 'ping-timestamp-precision': 'ms' };
scenario('the precision of the pings is a setting, too', milliseconds, async (s) => {
  const socket = await s.socket();
  await pings(socket, 1);
  assert.match(socket.pings[0], /"message":\d{13}\b/);
});

for (const query of ['pi=0', 'pi=-1', 'pi=never', 'pi=1e99', 'ptp=fortnight', 'sid=', 'a=%zz&%']) {
  scenario(`a connection with ?${query} floods nobody with pings`, {}, async (s) => {
    const bystander = await s.socket();
    const wire = await s.wire();
    wire.write(handshake(s.broker.origin, {}, `GET /cable?${query} HTTP/1.1`));
    const { status } = await wire.answer();
    assert.ok(status === 101 || status === 400, `HTTP ${status}`);
    let count = 0;
    wire.socket.on('data', (bytes) => (count += bytes.toString().split('"ping"').length - 1));
    await pass(300);
    assert.ok(count <= 1, `${count} pings in 300 ms`);
    await bystander.settle();
  });
}

scenario('a ping from the client gets a pong', {}, async (s) => {
  const socket = await s.socket();
  socket.send({ command: 'ping' });
  assert.deepEqual(await socket.hears({ type: 'pong' }), { type: 'pong' });
});

scenario('a pong from the client gets no answer', {}, async (s) => {
  const socket = await s.socket();
  socket.send({ command: 'pong' });
  await socket.settle();
  socket.hearsNothing();
});

scenario('a native ping is answered with its payload', {}, async (s) => {
  const socket = await s.socket();
  const pong = new Promise((resolve) => socket.ws.once('pong', resolve));
  socket.ws.ping('are you there');
  assert.equal((await within(pong, 'a pong')).toString(), 'are you there');
});

scenario('a close frame is answered with its code', {}, async (s) => {
  const socket = await s.socket();
  assert.equal((await socket.close(1000)).code, 1000);
});

scenario('the path of the cable is a setting', { 'cable-path': '/ws/v1' }, async (s) => {
  await s.socket('/ws/v1');
  await assert.rejects(Socket.open(s.broker.url('/cable')), /HTTP 404/);
});

scenario('there are WebSockets at the path of the cable only', { protocols: 'action-cable' }, async (s) => {
  for (const path of ['/', '/cable/x', '/cables', '/health', '/metrics', '/_broadcast']) {
    await assert.rejects(Socket.open(s.broker.url(path)), /HTTP \d/, path);
  }
});

for (const [what, headers, request, statuses] of [
  ['asks for no upgrade', { Upgrade: null, Connection: null }, undefined, [400, 426]],
  ['asks for an upgrade to something else', { Upgrade: 'h2c' }, undefined, [400, 426]],
  ['speaks an older version of WebSocket', { 'Sec-WebSocket-Version': '8' }, undefined, [400, 426]],
  ['names no version of WebSocket', { 'Sec-WebSocket-Version': null }, undefined, [400, 426]],
  ['sends no key', { 'Sec-WebSocket-Key': null }, undefined, [400]],
  ['posts', {}, 'POST /cable HTTP/1.1', [400, 405, 426]],
]) {
  scenario(`a request for the cable that ${what} is refused`, {}, async (s) => {
    const bystander = await s.socket();
    const wire = await s.wire();
    wire.write(handshake(s.broker.origin, { ...headers }, request));
    const { status, headers: answer } = await wire.answer();
    assert.ok(statuses.includes(status), `HTTP ${status}`);
    if (headers['Sec-WebSocket-Version']) assert.equal(answer['sec-websocket-version'], '13');
    await bystander.settle();
  });
}

/** Waits for that many pings. */
async function pings(socket, count) {
  const enough = new Promise((resolve) => {
    const check = () => socket.pings.length >= count && resolve();
    socket.ws.on('message', check);
    check();
  });
  await within(enough, `${count} pings`);
}
