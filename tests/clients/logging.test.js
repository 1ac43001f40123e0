// A log that can't be written: its reader is gone or has stopped, its disk is full. Nobody notices but who wants
// to read it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { constants, mkdtempSync, openSync, readSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { Pair, certificate } from './support/certificate.js';
import { ROOM } from './support/fault.js';
import { fillDisk } from './support/hog.js';
import { BEGINNING, LATE, pass, until, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { TEXT } from './support/wire.js';

const DIR = mkdtempSync(join(tmpdir(), 'broker-logging-'));
process.once('exit', () => rmSync(DIR, { recursive: true, force: true }));

/** A pipe that is full, and that is read only when a test says so. */
class FullPipe {
  static #made = 0;
  path = join(DIR, `pipe-${(FullPipe.#made += 1)}`);

  constructor() {
    execFileSync('mkfifo', [this.path]);
    // both ends, as who opens one alone waits for the other
    this.file = openSync(this.path, constants.O_RDWR | constants.O_NONBLOCK);
    for (const size of [4096, 1]) {
      while (FullPipe.#works(() => writeSync(this.file, Buffer.alloc(size, '.'))));
    }
  }

  static #works(io) {
    try {
      return io() > 0;
    } catch (error) {
      assert.equal(error.code, 'EAGAIN');
      return false;
    }
  }

  /** Takes out what there is; gives what was written behind that with which the pipe was filled. */
  read() {
    const buffer = Buffer.alloc(1 << 16);
    let text = '';
    while (FullPipe.#works(() => (text += buffer.toString('utf8', 0, readSync(this.file, buffer))) && 1));
    return text.replace(/^\.+/, '');
  }
}

/** Logs that can't be written: what a broker is run in for that, and what brings it there once it runs. */
const BROKEN = [
  { which: 'whose reader is gone', system: () => ({}), begin: (broker) => broker.deafen() },
  { which: 'whose reader has stopped', system: () => ({ stderr: `2>'${new FullPipe().path}'` }) },
  // the descriptor keeps its O_NONBLOCK
  { which: 'that is full and does not wait', system: () => ({ stderr: '2>&3', file: new FullPipe().file }) },
  { which: 'on a full disk', system: () => ({ stderr: '2>/dev/full' }) },
].map((log) => ({ begin: () => {}, ...log }));

const STATE = join(DIR, 'state');
execFileSync('mkdir', [STATE]);

/** Publishes until the disk is full, and on. */
async function outgrowTheDisk(s) {
  const [reader, identifier] = await s.subscriber(ROOM);
  for (let n = 0; n < 200; n += 1) {
    await s.http.publish(ROOM, n);
    await s.http.publish(`stream/${n}`, 'x'.repeat(10_000));
    await reader.hears({ identifier, message: n });
  }
  await s.metrics((metrics) => metrics.get('broker_state_failing') > 0, 'the disk is full');
}

const SMALL = { disk: { dir: STATE, size: '1m' } };

const FILES = 150;
const PLENTY = { 'max-connections': 10_000, 'handshake-timeout': '60s' };

const QUICK = { 'ping-interval': '300ms', 'liveness-interval': '500ms', 'liveness-timeout': '1500ms', 'presence-ttl': '300ms' };

const CERTIFICATES = [1, 2, 3].map(() => certificate());

/** Of the certificate that is shown. */
function fingerprint(s) {
  const shown = new Promise((resolve, reject) => {
    const trusted = { ca: CERTIFICATES.map(({ cert }) => cert) };
    const socket = tls.connect({ host: '127.0.0.1', port: s.broker.port, ...trusted }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.once('error', reject);
  });
  return within(shown, 'a TLS handshake');
}

for (const { which, system, begin } of BROKEN) {
  scenario(`with a log ${which}, a stop tells everyone, and ends in good order`, {}, async (s) => {
    begin(s.broker);
    const clients = [await s.member(ROOM, 'ann'), await s.member(ROOM, 'bob')];
    const since = performance.now();
    s.broker.kill('SIGTERM');
    for (const [client] of clients) {
      await client.hears({ type: 'disconnect', reason: 'server_restart' });
      assert.equal((await client.closing()).code, 1001);
    }
    assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
    assert.ok(performance.now() - since < 1000 + LATE);
  }, system());

  scenario(`with a log ${which}, a second signal ends it at once`, { 'shutdown-timeout': '60s' }, async (s) => {
    begin(s.broker);
    const wire = await s.wire({ allowHalfOpen: true }); // closes nothing by itself, so the stop waits for it
    wire.handshake();
    assert.equal((await wire.answer()).status, 101);
    s.broker.kill('SIGTERM');
    await wire.hears(TEXT, 'server_restart');
    s.broker.kill('SIGTERM');
    assert.deepEqual(await s.broker.exited(), { code: 130, signal: null });
  }, system());

  scenario(`with a log ${which}, everyone gets in at level debug`, { 'log-level': 'debug' }, async (s) => {
    begin(s.broker);
    const [watcher, identifier] = await s.subscriber(ROOM);
    for (let n = 0; n < 20; n += 1) {
      const [member] = await s.member(ROOM, `user-${n}`);
      await watcher.hearsPresence(identifier, 'join');
      await member.close();
    }
    await assert.rejects(s.socket('/nowhere'), /HTTP 404/);
    assert.equal(await s.broker.health(), 200);
  }, system());

  scenario(`with a log ${which}, a full disk under the state directory ends nothing`, { 'state-dir': STATE }, async (s) => {
    begin(s.broker);
    await outgrowTheDisk(s);
  }, { ...SMALL, ...system() });

  scenario(`with a log ${which}, the broker lets others in once there are files again`, PLENTY, async (s) => {
    begin(s.broker);
    const files = () => readdirSync(`/proc/${s.broker.pid}/fd`).length;
    const wires = [];
    for (let n = 0; n < FILES; n += 1) {
      const wire = await s.wire();
      wire.handshake();
      wires.push(wire);
      if (n < FILES - 50) await wire.answer(BEGINNING);
    }
    await until(() => files() >= FILES, 'no file is left');
    const late = await s.wire();
    late.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
    const answer = late.answer(BEGINNING);
    assert.equal(await Promise.race([answer, pass(300)]), undefined, 'who comes late waits');
    for (const wire of wires) wire.reset();
    assert.equal((await answer).status, 200);
    assert.equal(await s.broker.health(), 200);
    await s.metrics((m) => m.get('broker_handshake_failures_total', { reason: 'accept' }) > 0, 'it came to that');
  }, { openFiles: FILES, ...system() });

  scenario(`with a log ${which}, a pause stops neither pings nor the look-out for the frozen`, QUICK, async (s) => {
    begin(s.broker);
    const [watcher, identifier] = await s.subscriber(ROOM);
    const visitor = await s.visitor(ROOM, 'cid');
    await watcher.hearsPresence(identifier, 'join');
    await s.broker.pause();
    await pass(1600);
    s.broker.kill('SIGCONT');
    await s.metrics((m) => m.get('broker_paused_seconds_total') > 0, 'the pause is noticed');
    const pings = watcher.pings.length;
    visitor.kill('SIGSTOP');
    await watcher.hears({ message: { type: 'leave', id: 'cid' } }, 2300 + LATE);
    await until(() => watcher.pings.length > pings + 2, 'there are pings');
  }, system());

  const pair = new Pair(CERTIFICATES[0]);
  scenario(`with a log ${which}, a certificate is replaced again and again`, pair.flags, async (s) => {
    begin(s.broker);
    for (const next of [...CERTIFICATES.slice(1), CERTIFICATES[0]]) {
      pair.put(next);
      s.broker.kill('SIGHUP');
      await until(async () => (await fingerprint(s)) === next.fingerprint, 'the new one is shown');
    }
  }, system());
}

const VERBOSE = { 'state-dir': STATE, 'log-level': 'debug' };
scenario('a log on the full disk that the state is on ends nothing', VERBOSE, async (s) => {
  const [reader, identifier] = await s.subscriber(ROOM);
  for (let n = 0; n < 50; n += 1) {
    fillDisk(join(s.broker.within(STATE), 'hog'));
    await s.http.publish(ROOM, n);
    await reader.hears({ identifier, message: n });
    await (await s.socket()).close(); // there is something to log
  }
  await s.metrics((metrics) => metrics.get('broker_log_lines_lost_total') > 0, 'it came to that');
}, { ...SMALL, stderr: `2>>'${STATE}/broker.log'` });

const kept = new FullPipe();
const PICKY = { 'log-level': 'debug', 'allowed-origins': 'app.example' };
scenario('what a stopped reader did not read it gets when it goes on', PICKY, async (s) => {
  for (let n = 0; n < 100; n += 1) await assert.rejects(s.socket(), /HTTP 403/);
  let log = '';
  const refusals = () => (log.match(/handshake refused/g) ?? []).length;
  await until(() => (log += kept.read()) && refusals() === 100, 'all is told');
  assert.ok(log.split('\n')[0].includes('version='), 'from the first line');
  assert.ok(log.indexOf(' ready') < log.indexOf('handshake refused'));
  assert.equal((await s.http.metrics()).get('broker_log_lines_lost_total'), 0);
}, { stderr: `2>'${kept.path}'` });

scenario('what is lost is counted', { 'log-level': 'debug' }, async (s) => {
  await s.metrics((metrics) => metrics.get('broker_log_lines_lost_total') > 3, 'lines are lost');
}, { stderr: '2>/dev/full' });

scenario('the last lines are not lost', {}, async (s) => {
  await s.socket();
  await s.broker.stop();
  assert.match(s.broker.log, /stopping signal="SIGTERM" connections=1/);
  assert.match(s.broker.log, /stopped: all connections closed\n$/);
});
