// Plain HTTP connections that take all the places there are for them. Whatever they do, a newcomer is served in a
// second or two, on every port; and those who are honest lose nothing by it.

import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { ask } from './support/http.js';
import { BEGINNING, LATE, pass, until, within } from './support/patience.js';
import { freePort } from './support/broker.js';
import { scenario } from './support/scenario.js';
import { Socket } from './support/socket.js';

/** So many files have 64 places for connections that aren't WebSockets, on each port. */
const FILES = { openFiles: 1024 };
const PLACES = 64;

/** How long a newcomer may wait, in ms. */
const SOON = 2000 + LATE;

/** A connection that is made anew as soon as it ends, until the scenario does; `speak` says something on each. */
function insist(s, port, speak, options = {}) {
  let socket;
  let isOver = false;
  const again = () => {
    if (isOver) return;
    socket = connect({ host: '127.0.0.1', port, ...options });
    socket.on('error', () => {}).once('close', () => setTimeout(again, 1));
    socket.on('data', () => {}).once('connect', () => speak(socket));
  };
  again();
  s.cleanup(() => {
    isOver = true;
    socket.destroy();
  });
}

/** Says something on a connection again and again. */
function every(ms, say) {
  return (socket) => {
    const timer = setInterval(() => say(socket), ms);
    socket.once('close', () => clearInterval(timer));
    say(socket);
  };
}

const REQUEST = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
const SLOW_BODY = 'POST /_broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n';

const CROWDS = {
  'that ask five times a second': every(200, (socket) => socket.write(REQUEST)),
  'that ask all the time': (socket) => socket.on('data', () => socket.write(REQUEST)).write(REQUEST),
  'that ask once and stay': (socket) => socket.write(REQUEST),
  'that say nothing': () => {},
  'that dribble a request': every(100, (socket) => socket.write('G')),
  'that dribble a body': (socket) => {
    socket.write(SLOW_BODY);
    every(100, () => socket.write(' '))(socket);
  },
};

/**
 * Somebody who has no connection yet asks for a page; again, as HTTP clients do, if the connection was closed before an
 * answer: on a busy machine this process may take longer to ask than a newcomer is given.
 */
async function asks(port, path = '/health') {
  const since = performance.now();
  const answered = async () => {
    try {
      return await ask(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } });
    } catch (error) {
      if (error.cause?.code !== 'UND_ERR_SOCKET') throw error;
      return null;
    }
  };
  const { status } = await until(answered, `${path} on ${port} is answered`, SOON);
  assert.equal(status, 200, path);
  return performance.now() - since;
}

/** Somebody connects and is heard. */
async function comes(s) {
  const socket = await within(Socket.open(s.broker.url()), 'a newcomer to be let in', SOON);
  s.cleanup(() => socket.terminate());
  await socket.welcome();
  const identifier = await socket.subscribe('room');
  await s.http.publish('room', 'hello');
  await socket.hears({ identifier, message: 'hello' });
}

const [api, metrics] = [await freePort(), await freePort()];
const PORTS = { 'api-port': api, 'metrics-port': metrics };

for (const [what, speak] of Object.entries(CROWDS)) {
  scenario(`connections ${what} keep nobody out`, {}, async (s) => {
    s.http.headers.connection = 'close';
    for (let n = 0; n < 80; n += 1) insist(s, s.broker.port, speak);
    const isFull = (m) => m.get('broker_handshake_failures_total', { reason: 'crowded' }) > 0;
    await s.metrics(isFull, 'there are more than there is room for', SOON);
    for (let n = 0; n < 5; n += 1) {
      await asks(s.broker.port);
      await comes(s);
    }
  }, FILES);
}

scenario('connections to one port take no places of another', PORTS, async (s) => {
  const ports = [s.broker.port, api, metrics];
  for (const port of ports) {
    const mark = s.opened;
    for (let n = 0; n < 80; n += 1) insist(s, port, CROWDS['that ask five times a second']);
    await pass(100);
    for (const other of ports.filter((other) => other !== port)) {
      assert.ok((await asks(other)) < 250 + LATE, 'nobody waits there');
    }
    for (const one of ports) await asks(one);
    s.close(mark);
  }
  const response = await ask(`http://127.0.0.1:${metrics}/metrics`);
  assert.match(response.text, /reason="crowded"/);
}, FILES);

/** Publishes over one connection that is kept as long as the broker likes it. */
class Publisher {
  published = 0;
  connections = 0;
  cut = 0;

  constructor(s, options = {}) {
    this.agent = new Agent({ keepAlive: true, maxSockets: 1 });
    this.options = { agent: this.agent, host: '127.0.0.1', port: s.broker.port, path: '/_broadcast', method: 'POST', ...options };
    s.cleanup(() => this.agent.destroy());
  }

  /**
   * Publishes; again, as HTTP clients do, if the connection was closed meanwhile: on a busy machine this process may
   * let it idle for longer than it means to, and be late with the first request of the next.
   */
  async publish(attempt = 1) {
    const isReused = await this.#ask().catch((error) => {
      if (error.code !== 'ECONNRESET' || attempt === 4) throw error;
      this.cut += 1;
    });
    if (isReused === undefined) return this.publish(attempt + 1);
    this.connections += isReused ? 0 : 1;
    this.published += 1;
  }

  #ask() {
    return new Promise((resolve, reject) => {
      const asked = request(this.options, (answer) => {
        answer.resume().once('end', () => {
          if (answer.statusCode === 201) resolve(asked.reusedSocket);
          else reject(new Error(`HTTP ${answer.statusCode}`));
        });
      });
      asked.once('error', reject).end(JSON.stringify({ stream: 'room', data: '1' }));
    });
  }

  /** Publishes until it is told to stop, with a pause in between. */
  async publishes(until, ms) {
    while (!until.aborted) {
      await this.publish();
      await pass(ms);
    }
  }
}

for (const [pace, ms] of [['five times a second', 200], ['as fast as they can', 0]]) {
  scenario(`seventy that publish ${pace} lose nothing, and newcomers get in`, {}, async (s) => {
    const over = new AbortController();
    s.cleanup(() => over.abort());
    const publishers = Array.from({ length: PLACES + 6 }, () => new Publisher(s));
    const done = Promise.all(publishers.map((publisher) => publisher.publishes(over.signal, ms)));
    let failed;
    done.catch((error) => (failed = error));
    const all = (so) => until(() => { if (failed) throw failed; return publishers.every(so); }, 'all of them are at it', BEGINNING);
    await all(({ published }) => published > 0);
    const since = performance.now();
    for (let n = 0; n < 5; n += 1) {
      const socket = await within(Socket.open(s.broker.url()), 'a newcomer to be let in', SOON);
      s.cleanup(() => socket.terminate());
      await (await socket.welcome()).subscribe('other');
      assert.equal(await s.broker.health(), 200);
      await pass(200);
    }
    const before = publishers.map(({ published }) => published);
    await all(({ published }, at) => published > before[at] + 3);
    over.abort();
    await within(done, 'every publication to be taken');
    const sum = (what) => publishers.reduce((sum, publisher) => sum + publisher[what], 0);
    const seconds = (performance.now() - since) / 1000;
    const [published, connections] = [sum('published'), sum('connections')];
    assert.ok(sum('cut') <= connections / 10, `${sum('cut')} of ${connections} connections were cut off`);
    s.t.diagnostic(`${Math.round(published / seconds)} publications a second over ${connections} connections`);
    if (ms === 0) assert.ok(published > 1.5 * connections, `${published} publications took ${connections} connections`);
  }, FILES);
}

scenario('a crowd of one address costs none of another its connection', {}, async (s) => {
  const publisher = new Publisher(s, { localAddress: '127.0.0.1' });
  await publisher.publish();
  for (let n = 0; n < 200; n += 1) {
    insist(s, s.broker.port, Object.values(CROWDS)[n % 6], { localAddress: '127.0.0.2' });
  }
  s.http.headers.connection = 'close';
  const crowded = (m) => m.get('broker_handshake_failures_total', { reason: 'crowded' }) > 2 * PLACES;
  await s.metrics(crowded, 'many have made room', SOON);
  for (let n = 0; n < 20; n += 1) {
    await publisher.publish();
    await pass(100);
  }
  assert.equal(publisher.connections, 1, 'it kept its connection');
  await pass(1500);
  await publisher.publish();
  assert.equal(publisher.connections, 1, 'and keeps it when it is idle');
  await comes(s);
}, FILES);
