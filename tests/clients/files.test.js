// A broker that may open no more files: who is in is served as ever, who is not waits outside, and
// when there is room again it lets people in by itself. WebSockets alone can bring it there, and
// only if they are allowed to.

import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { BYSTANDERS, ROOM, fault } from './support/fault.js';
import { BEGINNING, pass, until, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { Socket, identify } from './support/socket.js';
import { TEXT } from './support/wire.js';

const IDENTIFIER = identify(ROOM);

/** How many files the broker may open: its own, the bystanders', and not many more. */
const FILES = 150;

/** Of these, what no WebSocket gets unless told: for the broker's own, and for requests. */
const KEPT_FREE = 32 + 64;

/** Nothing but files is short, and nobody who is late is sent away. */
const PLENTY = { 'max-connections': 10_000, 'handshake-timeout': '60s' };

/** Publishes over one connection that is kept open. */
class Publisher {
  #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(s) {
    this.port = s.broker.port;
    s.cleanup(() => this.#agent.destroy());
  }

  /** The status of the answer. */
  publish(value) {
    const answered = new Promise((resolve, reject) => {
      const options = { agent: this.#agent, port: this.port, host: '127.0.0.1', path: '/_broadcast', method: 'POST' };
      const asked = request(options, (answer) => {
        answer.resume().once('end', () => resolve([answer.statusCode, asked.reusedSocket]));
      });
      asked.once('error', reject).end(JSON.stringify({ stream: ROOM, data: JSON.stringify(value) }));
    });
    return within(answered, 'the answer to a publication');
  }
}

/** Opens WebSockets that are present until the broker has no file left for one more; gives all. */
async function takeAll(s) {
  let n = 0;
  const connect = async () => {
    const wire = await s.wire();
    const presence = { id: `ghost-${(n += 1)}` };
    wire.handshake();
    wire.say({ command: 'subscribe', identifier: IDENTIFIER, presence });
    return wire;
  };
  const isFull = () => /failed to accept connections/.test(s.broker.log);
  const isIn = (wire) => wire.texts.some((text) => text.includes('confirm_subscription'));
  const taken = [];
  await until(async () => {
    const some = await Promise.all(Array.from({ length: 10 }, connect));
    taken.push(...some);
    // no more wait outside than are let in later
    await until(() => isFull() || some.every(isIn), 'these are in, or there is no room');
    return isFull();
  }, 'no file is left', BEGINNING);
  assert.ok(BYSTANDERS + taken.length > FILES - 50, `only ${taken.length} connections took all files`);
  taken.push(await connect(), await connect()); // these are the kernel's, nobody accepts them
  return taken;
}

/** The connection that a publisher keeps is as good as ever, and what it says is heard. */
async function isPublishedTo(bystanders, publisher) {
  for (let n = 0; n < 3; n += 1) {
    assert.deepEqual(await publisher.publish(n), [201, true], 'a publication over the kept connection');
    const [watcher] = bystanders.watcher;
    await watcher.hears({ identifier: IDENTIFIER, message: n });
  }
  await bystanders.settle();
}

/** What holds while no file is left; gives the answer that somebody waits for outside. */
async function isServedWithin(s, bystanders, publisher) {
  await isPublishedTo(bystanders, publisher);
  const outside = await s.wire();
  outside.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
  const answer = outside.answer(60_000);
  assert.equal(await Promise.race([answer, pass(500)]), undefined, 'who comes late waits');
  return { answer };
}

/** The log says so, and not for every try: it is tried ten times a second. */
function isTold(s) {
  const warnings = s.broker.log.match(/failed to accept connections/g)?.length ?? 0;
  assert.ok(warnings >= 1 && warnings <= 3, `${warnings} warnings`);
}

fault('connections that say nothing take no files from members, publishers and newcomers', PLENTY, async (s, bystanders) => {
  const publisher = new Publisher(s);
  assert.deepEqual(await publisher.publish('first'), [201, false]);
  const silent = await Promise.all(Array.from({ length: 2 * FILES }, () => s.wire()));
  await isPublishedTo(bystanders, publisher);
  await bystanders.areServed();
  const crowded = (m) => m.get('broker_handshake_failures_total', { reason: 'crowded' }) >= FILES;
  const metrics = await s.metrics(crowded, 'most of the silent have made room');
  assert.equal(metrics.get('broker_handshake_failures_total', { reason: 'accept' }), 0, 'files are left');
  await within(Promise.any(silent.map((wire) => wire.ended)), 'a silent connection to end');
}, { openFiles: FILES });

fault('WebSockets may take every file; when they go, others are let in', PLENTY, async (s, bystanders) => {
  const publisher = new Publisher(s);
  assert.deepEqual(await publisher.publish('first'), [201, false]);
  const taken = await takeAll(s);
  const { answer } = await isServedWithin(s, bystanders, publisher);
  for (const wire of taken.splice(0, 40)) wire.reset();
  assert.equal((await within(answer, 'who waited to be let in')).status, 200);
  await within(Promise.all(taken.map((wire) => wire.hears(TEXT, 'confirm_subscription'))), 'all others to be in');
  isTold(s);
}, { openFiles: FILES });

scenario('a stop needs no file', PLENTY, async (s) => {
  const [member] = await s.member(ROOM, 'ann');
  await takeAll(s);
  s.broker.kill('SIGTERM');
  await member.hears({ type: 'disconnect', reason: 'server_restart' });
  assert.equal((await member.closing()).code, 1001);
  assert.deepEqual(await s.broker.exited(), { code: 0, signal: null });
}, { openFiles: FILES });

fault('with nothing set, WebSockets leave files for requests', {}, async (s, bystanders) => {
  const sockets = [];
  const full = await until(async () => {
    const socket = new Socket(s.broker.url(), ['actioncable-v1-json']);
    s.cleanup(() => socket.terminate());
    sockets.push(socket);
    return socket.opened.then(() => null, (error) => error);
  }, 'one is refused');
  assert.match(full.message, /HTTP 503/);
  assert.equal(sockets.length - 1 + BYSTANDERS, FILES - KEPT_FREE, 'so many may connect');
  await bystanders.areServed().then(
    () => assert.fail('a newcomer came in though the broker is full'),
    (error) => assert.match(error.message, /HTTP 503/),
  );
  assert.equal(await s.broker.health(), 200);
  await s.http.publish(ROOM, 'still here');
}, { openFiles: FILES });
