// What channels cost the broker whose application answers at once: CPU of an action, the line of connects, memory of a session.
//
//   node scripts/channels.mjs --broker target/release/broker
//
// The application is a process of its own (channels-application.mjs), as is the broker, whose CPU time and memory are read
// from /proc. `--only actions`, `connects` or `memory` measures one, `--transport http` or `grpc` one way; a second `--broker` is measured in turn with the first.
// Loopback only; needs an open-file limit of 25,000.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import net from 'node:net';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    broker: { type: 'string', multiple: true, default: ['target/release/broker'] },
    only: { type: 'string' },
    transport: { type: 'string', multiple: true, default: ['http', 'grpc'] },
    actions: { type: 'string', default: '20000' },
    clients: { type: 'string', default: '50' },
    connects: { type: 'string', default: '10000' },
    sessions: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '3' },
  },
});
const [actions, clients, connects, sessions, rounds] = ['actions', 'clients', 'connects', 'sessions', 'rounds'].map((name) => Number(values[name]));
const APPLICATION = fileURLToPath(new URL('./channels-application.mjs', import.meta.url));

/** What a browser sends of a Rails session. */
const COOKIE = `_app_session=${'x'.repeat(400)}`;
/** What the application calls it. */
const USER = JSON.stringify({ current_user: 'Z2lkOi8vYXBwL1VzZXIvMTIzNDU2Nzg5' });
const CHANNEL = JSON.stringify({ channel: 'ChatChannel', id: 1 });
const pass = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** A process that says something, and what. */
async function start(program, args, says) {
  const child = spawn(program, args);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  for (const began = performance.now(); !says.test(output); await pass(0.02)) {
    if (performance.now() - began > 10_000) throw new Error(`${program} ${args.join(' ')}: ${output}`);
  }
  return { child, said: says.exec(output) };
}

/** Runs a broker with an application, over a transport. */
async function withBroker(broker, transport, { delay = 0, flags = [] }, run) {
  const application = await start(process.execPath, [APPLICATION, transport, String(delay)], /port (\d+)/);
  const address = `127.0.0.1:${application.said[1]}`;
  const host = transport === 'http' ? `http://${address}` : address;
  const { child, said } = await start(broker, ['--port', '0', '--rpc-host', host, '--disconnect-mode', 'never', ...flags], /ws:\/\/127\.0\.0\.1:(\d+)/);
  try {
    return await run({ pid: child.pid, port: Number(said[1]), application: application.child });
  } finally {
    child.kill('SIGKILL');
    application.child.kill('SIGKILL');
  }
}

/** CPU time of a process, in µs, as the scheduler gave it to its threads. */
function cpu(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const nanos = threads.map((thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]));
  return nanos.reduce((sum, it) => sum + it, 0) / 1000;
}

const memory = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;

/** A client's text frame; the mask is zero, so the payload stays as it is. */
function frame(value) {
  const payload = Buffer.from(JSON.stringify(value));
  const length = payload.length < 126 ? [0x80 | payload.length] : [0x80 | 126, payload.length >> 8, payload.length & 0xff];
  return Buffer.concat([Buffer.from([0x81, ...length, 0, 0, 0, 0]), payload]);
}

/** A WebSocket; `hears` waits for the next text with something in it. */
function open(port, number) {
  const socket = net.connect({ port, host: '127.0.0.1', localAddress: `127.0.0.${2 + (number % 4)}` });
  socket.setNoDelay(true);
  socket.write(
    `GET /cable?n=${number} HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: ${COOKIE}\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: actioncable-v1-json\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  let [heard, waiting] = ['', null];
  const look = () => {
    if (!waiting || !heard.includes(waiting.text)) return;
    heard = '';
    const { resolve } = waiting;
    waiting = null;
    resolve();
  };
  socket.setEncoding('latin1').on('data', (data) => {
    if (waiting) heard += data;
    look();
  });
  socket.on('error', (error) => waiting?.reject(error));
  socket.on('close', () => waiting?.reject(new Error(`connection ${number} was closed: ${heard}`)));
  const hears = (text) => new Promise((resolve, reject) => (waiting = { text, resolve, reject }));
  return { socket, hears, send: (value) => socket.write(frame(value)) };
}

async function enter(port, number, identifier) {
  const client = open(port, number);
  await client.hears('"welcome"');
  const confirmed = client.hears('confirm_subscription');
  client.send({ command: 'subscribe', identifier });
  await confirmed;
  return client;
}

/** All of a count, so many at a time. */
async function each(count, width, run) {
  const all = [];
  let next = 0;
  const work = async () => {
    while (next < count) {
      const number = next++;
      all[number] = await run(number);
    }
  };
  await Promise.all(Array.from({ length: width }, work));
  return all;
}

/** The broker's CPU of an action, in µs. */
function action(broker, transport) {
  return withBroker(broker, transport, {}, async ({ pid, port }) => {
    const all = await each(clients, clients, (number) => enter(port, number, CHANNEL));
    const perform = async (count) => {
      await each(count, clients, async () => {
        const client = all.pop();
        const answered = client.hears('"done"');
        client.send({ command: 'message', identifier: CHANNEL, data: '{"action":"speak","text":"hello"}' });
        await answered;
        all.push(client);
      });
    };
    await perform(2000);
    const before = cpu(pid);
    await perform(actions);
    return (cpu(pid) - before) / actions;
  });
}

/** How many calls are out, as the broker says it from time to time, until `done`. */
async function running(port, done) {
  const seen = [];
  while (!done()) {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    seen.push(Number(/^broker_rpc_running (\d+)/m.exec(text)[1]));
    await pass(0.05);
  }
  return seen.slice(1, -1);
}

/** Connects to an application that takes 20 ms for each: how full its 25 places are, and how much longer than ideal it takes. */
function line(broker, transport) {
  const delay = 20;
  // a tenth of the calls is kept for commands
  return withBroker(broker, transport, { delay, flags: ['--rpc-concurrency', '28', '--rpc-backlog', '65536'] }, async ({ pid, port, application }) => {
    const before = cpu(pid);
    const began = performance.now();
    let left = connects;
    const watching = running(port, () => left < 50);
    await each(connects, 800, async (number) => {
      const client = open(port, number);
      await client.hears('"welcome"');
      left -= 1;
    });
    const seen = await watching;
    const out = seen.filter((count) => count >= 25).length / seen.length;
    const took = performance.now() - began;
    const spent = (cpu(pid) - before) / connects;
    application.kill('SIGUSR2');
    const [text] = await once(application.stdout, 'data');
    const { full, mean, service } = JSON.parse(text);
    return { took, ideal: (connects * service) / 25, out, full, mean, spent };
  });
}

/** Texts that the broker keeps of a session with a channel: URL, headers, identifiers, and the states. */
const STRINGS = ['http://app.example/cable?n=12345', 'cookie', COOKIE, 'REMOTE_ADDR', '127.0.0.2', USER, '_s_', '{"id":1}', '$w', 'ChatChannel-012345'];

/** Memory of a session with a channel, and of one that the application isn't asked about and that follows a stream, in bytes. */
async function session(broker) {
  const measure = (identifier, flags) =>
    withBroker(broker, 'http', { flags }, async ({ pid, port }) => {
      await each(200, 50, (number) => enter(port, number, identifier(number)));
      await pass(3);
      const before = memory(pid);
      await each(sessions, 100, (number) => enter(port, number + 200, identifier(number + 200)));
      await pass(3);
      return (memory(pid) - before) / sessions;
    });
  const name = (number) => `ChatChannel-${String(number).padStart(6, '0')}`;
  const channel = await measure((number) => JSON.stringify({ channel: 'ChatChannel', id: name(number) }), []);
  const stream = await measure((number) => JSON.stringify({ channel: '$pubsub', stream_name: name(number) }), ['--norpc']);
  return { channel, stream, strings: STRINGS.join('').length };
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const load = () => readFileSync('/proc/loadavg', 'utf8').split(' ')[0];
const is = (what) => !values.only || values.only === what;
console.log(`${availableParallelism()} cores, load ${load()}`);

if (is('actions')) {
  for (const transport of values.transport) {
    const measured = values.broker.map(() => []);
    for (let round = 0; round < rounds; round += 1) {
      for (const [at, broker] of values.broker.entries()) measured[at].push(await action(broker, transport));
    }
    for (const [at, broker] of values.broker.entries()) {
      const each = measured[at].map((it) => it.toFixed(1)).join(', ');
      console.log(`${broker}: an action over ${transport}: ${median(measured[at]).toFixed(1)} µs of CPU (${each}; load ${load()})`);
    }
  }
}
if (is('connects')) {
  for (const transport of values.transport) {
    for (const broker of values.broker) {
      const { took, ideal, out, full, mean, spent } = await line(broker, transport);
      console.log(
        `${broker}: ${connects} connects over ${transport}: ${(took / 1000).toFixed(2)} s, ideally ${(ideal / 1000).toFixed(2)} s; ` +
          `the broker had 25 calls out ${(out * 100).toFixed(1)} % of the time, and the application ${(full * 100).toFixed(1)} %, ${mean.toFixed(1)} on average; ${spent.toFixed(0)} µs of CPU each (load ${load()})`,
      );
    }
  }
}
if (is('memory')) {
  for (const broker of values.broker) {
    const { channel, stream, strings } = await session(broker);
    const more = Math.round(channel - stream);
    console.log(`${broker}: ${Math.round(channel)} bytes a session with a channel, ${Math.round(stream)} with a stream: ${more} more, of which ${strings} are its texts`);
  }
}
process.exit(0);
