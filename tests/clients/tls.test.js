// Everything over TLS: the handshake, what hides behind it, and the change of certificates.

import assert from 'node:assert/strict';
import net from 'node:net';
import tls from 'node:tls';
import { WebSocket } from 'ws';
import { cableTo, follow, next, recordPresence } from './support/anycable.js';
import { Pair, certificate } from './support/certificate.js';
import { eventsIn } from './support/events.js';
import { pass, until, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { Socket } from './support/socket.js';
import { memory } from './support/vitals.js';
import { CLOSE, TEXT, frame, joinsWithHandshake } from './support/wire.js';

const FIRST = certificate();
const SECOND = certificate();
const TLS = new Pair(FIRST).flags;

scenario('sockets, publishing, presence and metrics are served over TLS', TLS, async (s) => {
  const [ann, identifier] = await s.member('room', 'ann', { name: 'Ann' });
  await s.http.publish('room', { text: 'hello' });
  await ann.hears({ identifier, message: { text: 'hello' } });
  assert.equal((await s.http.users('room')).total, 1);
  await s.connections(1);
  assert.equal((await ann.close(1000)).code, 1000);
  await s.connections(0);
});

scenario('the stock client of AnyCable works over wss', TLS, async (s) => {
  class Trusting extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { allowSynchronousEvents: false, ca: s.broker.ca });
    }
  }
  const cable = cableTo(s, { websocketImplementation: Trusting });
  const channel = await follow(cable, 'room');
  const events = recordPresence(channel);
  channel.presence.join('ann', { name: 'Ann' });
  await until(() => events.length === 1, 'the join is heard');
  assert.deepEqual(await channel.presence.info(), { ann: { name: 'Ann' } });
  const message = next(channel, 'message');
  await s.http.publish('room', { text: 'hello' });
  assert.deepEqual(await message, { text: 'hello' });
  const back = next(cable, 'connect');
  cable.transport.ws.terminate();
  await back;
  assert.deepEqual(await channel.presence.info(), { ann: { name: 'Ann' } });
});

scenario('streams of events and polls come over TLS', { ...TLS, 'presence-ttl': '100ms' }, async (s) => {
  const stream = await eventsIn(s, 'room', { presence_id: 'ann' });
  const text = 'x'.repeat(200_000); // many records
  for (const data of ['hello', text, 'goodbye']) {
    await s.http.publish('room', data);
    assert.equal((await stream.hears({ event: undefined })).data, data);
  }
  const path = '/socket/longpoll?vsn=2.0.0&user_id=bob';
  const { json } = await s.http.request(path);
  const url = `${path}&token=${json.token}`;
  const join = JSON.stringify(['1', '1', 'room', 'phx_join', {}]);
  assert.deepEqual((await s.http.request(url, { method: 'POST', body: join })).json, { status: 200 });
  assert.equal((await stream.hearsPresence('join')).id, 'ann');
  assert.equal((await stream.hearsPresence('join')).id, 'bob');
  await until(async () => {
    const { status, messages } = (await s.http.request(url)).json;
    return status === 200 && messages.some((message) => message.includes('phx_reply'));
  }, 'the join is answered');
  await s.connections(2);
  stream.close();
  await s.connections(1);
});

for (const version of ['TLSv1.2', 'TLSv1.3']) {
  scenario(`${version} is spoken, and HTTP/1.1 agreed on`, TLS, async (s) => {
    const socket = await s.socket('/cable', { minVersion: version, maxVersion: version });
    assert.equal(socket.ws._socket.getProtocol(), version);
    await socket.subscribe('room');
    const peer = await peek(s, { minVersion: version, maxVersion: version, ALPNProtocols: ['h2', 'http/1.1'] });
    assert.equal(peer.alpn, 'http/1.1');
  });
}

scenario('a client that speaks HTTP/2 alone is a failure of TLS', TLS, async (s) => {
  await assert.rejects(peek(s, { ALPNProtocols: ['h2'] }), /no application protocol/i);
  await s.failures('tls', 1);
});

for (const version of ['TLSv1.2', 'TLSv1.3']) {
  scenario(`a client that comes back resumes its ${version} session`, TLS, async (s) => {
    const options = { minVersion: version, maxVersion: version, ca: s.broker.ca };
    const first = tls.connect({ host: '127.0.0.1', port: s.broker.port, ...options });
    s.cleanup(() => first.destroy());
    const session = await within(new Promise((resolve) => first.once('session', resolve)), 'a ticket');
    assert.equal(first.isSessionReused(), false);
    const again = await peek(s, { ...options, session });
    assert.ok(again.resumed);
  });
}

scenario('frames that arrive in one record with the handshake are followed', TLS, joinsWithHandshake);

const ROOMY = { ...TLS, 'max-outbox-size': '64MiB' }; // for a listener that is slower than the broker
scenario('many commands in a few records are followed, each and in order', ROOMY, async (s) => {
  const [listener, identifier] = await s.subscriber('room');
  const wire = await s.upgraded();
  wire.say({ command: 'subscribe', identifier });
  await wire.hears(TEXT, 'confirm_subscription');
  const whisper = (n) => JSON.stringify({ command: 'whisper', identifier, data: { n, pad: 'x'.repeat(n * 30) } });
  const numbers = Array.from({ length: 1000 }, (_, n) => n);
  wire.write(Buffer.concat(numbers.map((n) => frame(TEXT, whisper(n)))));
  for (const n of numbers) {
    const { message } = await listener.hears({ identifier });
    assert.equal(message.n, n);
  }
});

scenario('a stop is told over TLS, too', TLS, async (s) => {
  const wire = await s.upgraded();
  await wire.hears(TEXT, '"welcome"');
  let clean = false;
  wire.socket.once('end', () => (clean = true));
  s.broker.kill('SIGTERM');
  await wire.hears(TEXT, 'server_restart');
  await wire.hears(CLOSE);
  await within(wire.ended, 'the connection to end');
  assert.ok(clean, 'the end is a goodbye, not a cut');
  assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
});

const SMALL = { ...TLS, 'max-outbox-size': 256 * 1024, 'history-limit': 0 };
scenario('slow readers over TLS are ended as too slow, and cost what their outboxes may', SMALL, async (s) => {
  const SLOW = 20;
  const [reader, identifier] = await s.subscriber('room');
  for (let n = 0; n < SLOW; n += 1) {
    const slow = await s.upgraded();
    slow.say({ command: 'subscribe', identifier });
    await slow.hears(TEXT, 'confirm_subscription');
    slow.socket.pause();
  }
  const before = memory(s.broker, 'VmRSS');
  const pad = 'x'.repeat(60_000);
  let [sent, most] = [0, 0];
  await until(async () => {
    for (let n = 0; n < 10; n += 1) await s.http.publish('room', { n: (sent += 1), pad });
    await reader.settle(identifier);
    most = Math.max(most, memory(s.broker, 'VmRSS'));
    return (await s.http.metrics()).get('broker_outbox_overflows_total') === SLOW;
  }, 'the slow clients are ended', 30_000);
  for (let n = 1; n <= sent; n += 1) await reader.hears({ identifier, message: { n, pad } });
  await s.counts({ broker_connections: 1, 'broker_connections_closed_total{reason="too_slow"}': SLOW });
  const grown = most - before;
  assert.ok(grown < 8 * 1024 * 1024, `${grown} bytes more with ${sent * pad.length} sent to each`);
});

scenario('half a TLS handshake, and none, are ended in time', { ...TLS, 'handshake-timeout': '3s' }, async (s) => {
  const hello = Buffer.from('16030100c8010000c40303', 'hex');
  const halves = [hello.subarray(0, 1), hello, null].map((bytes) => {
    const socket = net.connect(s.broker.port, '127.0.0.1').on('error', () => {});
    s.cleanup(() => socket.destroy());
    socket.resume();
    if (bytes) socket.write(bytes);
    return within(new Promise((resolve) => socket.once('close', resolve)), 'the end');
  });
  await Promise.all(halves);
  await s.failures('timeout', halves.length);
});

scenario('plain HTTP where TLS is spoken is told so', TLS, async (s) => {
  const answer = await fetch(`http://${s.broker.origin}/health`);
  assert.equal(answer.status, 400);
  assert.equal(await answer.text(), 'this port speaks TLS: write https:// or wss://\n');
  await assert.rejects(Socket.open(`ws://${s.broker.origin}/cable`), /HTTP 400/);
  await s.failures('tls', 2);
});

scenario('what is neither TLS nor HTTP is a failure of TLS', TLS, async (s) => {
  const socket = net.connect(s.broker.port, '127.0.0.1').on('error', () => {});
  s.cleanup(() => socket.destroy());
  socket.resume();
  socket.write('\u0000\u0001 nonsense of some length, and more of it');
  await within(new Promise((resolve) => socket.once('close', resolve)), 'the end');
  await s.failures('tls', 1);
});

scenario('TLS where plain HTTP is spoken fails at once', {}, async (s) => {
  await assert.rejects(peek(s, { ca: FIRST.cert }), /wrong version number|packet length|EPROTO/i);
  await s.failures('malformed', 1);
});

for (const how of ['on SIGHUP', 'by itself']) {
  const pair = new Pair(FIRST);
  const name = `a new certificate is shown to new clients ${how}, and nobody is cut off`;
  scenario(name, pair.flags, async (s) => {
    const [socket, identifier] = await s.subscriber('room');
    assert.equal((await peek(s)).fingerprint, FIRST.fingerprint);
    pair.put(SECOND);
    if (how === 'on SIGHUP') s.broker.kill('SIGHUP');
    const trusting = { ca: [FIRST.cert, SECOND.cert] };
    const isNew = async () => (await peek(s, trusting)).fingerprint === SECOND.fingerprint;
    await until(isNew, 'the new certificate is shown', 15_000);
    s.http.ca = SECOND.cert;
    await s.http.publish('room', 'still here');
    await socket.hears({ identifier, message: 'still here' });
    await s.counts({ 'broker_tls_reloads_total{outcome="ok"}': 1 });
    await assert.rejects(peek(s, { ca: FIRST.cert }), /self-signed/, 'who trusts only the first');
    if (how === 'by itself') return;
    // what is the same as before is read again for nobody but who asks
    s.broker.kill('SIGHUP');
    await s.counts({ 'broker_tls_reloads_total{outcome="ok"}': 2 });
  });
}

for (const [what, bad, says] of [
  ['the key of another', { cert: FIRST.cert, key: SECOND.key }, 'is not the key of the certificate'],
  ['nonsense for a certificate', { cert: 'nonsense', key: FIRST.key }, 'holds no certificate'],
  ['no key', { cert: SECOND.cert, key: SECOND.cert }, 'holds no private key'],
]) {
  const pair = new Pair(FIRST);
  scenario(`a certificate with ${what} leaves the old one in use`, pair.flags, async (s) => {
    const socket = await s.socket();
    const reloads = (outcome, count) => s.counts({ [`broker_tls_reloads_total{outcome="${outcome}"}`]: count });
    pair.put(bad);
    s.broker.kill('SIGHUP');
    await reloads('failed', 1);
    await s.broker.logs(says);
    assert.equal((await peek(s)).fingerprint, FIRST.fingerprint);
    await socket.settle();
    pair.put(FIRST);
    s.broker.kill('SIGHUP');
    await reloads('ok', 1);
    await s.socket();
  });
}

const unasked = new Pair(FIRST);
scenario('a bad pair is logged once, though nobody asks', unasked.flags, async (s) => {
  unasked.put({ cert: FIRST.cert, key: SECOND.key });
  const warnings = () => s.broker.log.split('is not the key of the certificate').length - 1;
  await until(() => warnings() > 0, 'the warning', 15_000);
  await pass(5000); // two more looks, at least
  assert.equal(warnings(), 1);
});

/** Does a TLS handshake and waits for the server to speak its mind about it. */
function peek(s, options = {}) {
  const at = { host: '127.0.0.1', port: s.broker.port, ca: s.broker.ca };
  const shaken = new Promise((resolve, reject) => {
    const socket = tls.connect({ ...at, ...options });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      resolve({
        fingerprint: socket.getPeerCertificate().fingerprint256,
        alpn: socket.alpnProtocol,
        resumed: socket.isSessionReused(),
      });
      socket.destroy();
    });
  });
  return within(shaken, 'a TLS handshake');
}
