// A broker whose disk is full: it serves on, and writes its state anew as soon as it can.

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOM, fault } from './support/fault.js';
import { fillDisk } from './support/hog.js';

const DIR = mkdtempSync(join(tmpdir(), 'broker-disk-'));
process.once('exit', () => rmSync(DIR, { recursive: true, force: true }));

const failing = (metrics) => metrics.get('broker_state_failing');

fault('a full disk under the state directory costs nobody anything, and heals', { 'state-dir': DIR, 'history-ttl': '3s' }, async (s, bystanders) => {
  assert.equal(failing(await s.http.metrics()), 0);
  const hog = join(s.broker.within(DIR), 'hog');
  fillDisk(hog);
  for (let n = 0; n < 200; n += 1) await s.http.publish(`stream/${n}`, 'x'.repeat(1000));
  await s.metrics((metrics) => failing(metrics) > 0, 'it is told that state is not on disk');
  await bystanders.areServed();
  const files = readdirSync(s.broker.within(DIR)).filter((name) => !/hog|lock/.test(name));
  await s.broker.logs('a restart now would lose it');
  truncateSync(hog, 0);
  await bystanders.areServed();
  await s.metrics((metrics) => failing(metrics) === 0, 'state is on disk again', 15_000);
  await s.broker.logs('state is written to disk again');
  const now = readdirSync(s.broker.within(DIR)).filter((name) => !/hog|lock/.test(name));
  assert.ok(now.length > 0 && now.every((name) => !files.includes(name)), 'nothing stale is left');
  for (let n = 0; n < 200; n += 1) await s.http.publish(ROOM, n);
}, { disk: { dir: DIR, size: '2m' }, mebibytes: 8, patience: 20_000 });
