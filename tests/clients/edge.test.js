// Who may come in, how many of them and how fast; and whose word counts about where they are.

import assert from 'node:assert/strict';
import net from 'node:net';
import { pass, until, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { Socket } from './support/socket.js';

scenario('an address has so many connections, and one more is refused with 429', { 'max-connections-per-address': 2 }, async (s) => {
  const [one, two] = [await s.socket(), await s.socket()];
  const { response } = await refusal(s);
  assert.equal(response.statusCode, 429);
  assert.match(response.body, /--max-connections-per-address/);
  await s.failures('address', 1);
  assert.equal((await s.http.request('/health')).status, 200, 'HTTP is answered all the same');
  await one.close();
  await s.roomFor(() => s.socket());
  two.terminate();
  await s.roomFor(() => s.socket());
  assert.equal((await refusal(s)).response.statusCode, 429);
});

const BEHIND = { 'max-connections-per-address': 1, 'trusted-proxies': '127.0.0.0/8,10.0.0.0/8' };
scenario('behind a trusted proxy an address is what the proxy says', BEHIND, async (s) => {
  const from = (...hops) => s.socket('/cable', { headers: { 'X-Forwarded-For': hops.join(', ') } });
  const isRefused = async (...hops) =>
    assert.equal((await refusal(s, { 'X-Forwarded-For': hops.join(', ') })).response.statusCode, 429);
  await from('192.0.2.1');
  await isRefused('192.0.2.1');
  await from('192.0.2.2');
  // A second proxy of ours, and whatever the client itself wrote in front.
  await isRefused('192.0.2.1', '10.1.2.3');
  await isRefused('203.0.113.9', '192.0.2.1');
  await isRefused('203.0.113.9', '192.0.2.2', '10.1.2.3', '127.0.0.9');
  await from('2001:db8:1:2::1');
  await isRefused('2001:db8:1:2:3:4:5:6');
  await from('2001:db8:1:3::1');
  // Without the header it is the proxy itself; nonsense is no address either.
  await s.socket();
  await isRefused();
  await isRefused('192.0.2.77', 'nonsense');
});

const STRANGERS = { 'max-connections-per-address': 1, 'trusted-proxies': '10.0.0.0/8' };
for (const [client, flags] of [
  ['a stranger', STRANGERS],
  ['anyone, where no proxy is trusted', { 'max-connections-per-address': 1 }],
]) {
  scenario(`X-Forwarded-For of ${client} is ignored`, flags, async (s) => {
    await s.socket('/cable', { headers: { 'X-Forwarded-For': '192.0.2.1' } });
    const { response } = await refusal(s, { 'X-Forwarded-For': '192.0.2.2, 10.0.0.1' });
    assert.equal(response.statusCode, 429);
  });
}

scenario('handshakes beyond the rate are refused with 503 and told when to come', { 'max-handshakes-per-second': 5 }, async (s) => {
  await pass(1000); // the bucket is full
  const started = performance.now();
  const results = await Promise.allSettled(Array.from({ length: 30 }, () => s.socket()));
  const refused = results.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  const followed = results.length - refused.length;
  const most = 6 + (5 * (performance.now() - started)) / 1000;
  assert.ok(followed >= 5 && followed <= most, `${followed} were followed`);
  for (const { response } of refused) {
    assert.equal(response.statusCode, 503);
    assert.equal(response.headers['retry-after'], '1');
  }
  assert.match(refused[0].response.body, /try again in a second/);
  await s.failures('rate', refused.length);
  assert.equal((await s.http.request('/health')).status, 200, 'HTTP is answered all the same');
  await pass(1000);
  await s.socket();
});

scenario('idle connections are crowded out, so that others come in and /health is answered', {}, async (s) => {
  const broker = await s.start({}, { openFiles: 256 });
  const idle = [];
  for (let n = 0; n < 400; n += 1) {
    const socket = net.connect(broker.port, '127.0.0.1').on('error', () => {});
    s.cleanup(() => socket.destroy());
    // Some say nothing, some begin a request.
    if (n % 2) socket.write('GET /health HTTP/1.1\r\nHost: x\r\n');
    idle.push(new Promise((resolve) => socket.once('close', resolve)));
    socket.resume();
  }
  for (let n = 0; n < 3; n += 1) assert.equal(await broker.health(), 200);
  const member = await Socket.open(broker.url());
  s.cleanup(() => member.terminate());
  await (await member.welcome()).subscribe('room');
  await within(Promise.race(idle), 'an idle connection to be closed');
  const metrics = await new s.http.constructor(broker.origin).metrics();
  assert.ok(metrics.get('broker_handshake_failures_total', { reason: 'crowded' }) >= 300);
  assert.equal(metrics.get('broker_handshake_failures_total', { reason: 'accept' }), 0);
});

scenario('a WebSocket is never crowded out', {}, async (s) => {
  const broker = await s.start({}, { openFiles: 256 });
  const sockets = [];
  for (let n = 0; n < 100; n += 1) sockets.push(await (await Socket.open(broker.url())).welcome());
  s.cleanup(() => sockets.forEach((socket) => socket.terminate()));
  for (let n = 0; n < 200; n += 1) {
    const socket = net.connect(broker.port, '127.0.0.1').on('error', () => {});
    s.cleanup(() => socket.destroy());
  }
  const crowded = async () => {
    const metrics = await new s.http.constructor(broker.origin).metrics();
    return metrics.get('broker_handshake_failures_total', { reason: 'crowded' }) > 0;
  };
  await until(crowded, 'some are crowded out', 10_000);
  for (const socket of sockets) await socket.settle();
});

/** Why a handshake was refused. */
async function refusal(s, headers = {}) {
  try {
    await s.socket('/cable', { headers });
  } catch (error) {
    return error;
  }
  throw new Error('it was not refused');
}
