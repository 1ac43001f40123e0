// How cost grows: with connections, with streams, with the members of a room. Starts a broker for every
// point, has broker-bench measure it, draws docs/images/curves-*.svg and prints a table of the points.
//
//   cargo build --release
//   node scripts/curves.mjs --write
//
// --only connections (or streams, or members) draws one of the pictures, --out DIR draws elsewhere, --write
// puts the tables into docs/PERFORMANCE.md, and --divide 10 is a rehearsal with a tenth of everything.
//
// Loopback only. It ends what it started, and stops by itself: after --minutes no new point is begun.
// Needs Linux, and an open-file limit above the number of connections.

import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { draw } from './curves/picture.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PAGE = join(ROOT, 'docs/PERFORMANCE.md');
const CURVES = { connections: connectionsCurve, streams: streamsCurve, members: membersCurve };

/** What may take how long: one run of broker-bench, and a server or a crowd to be there. */
const RUN_MS = 90_000;
const READY_MS = 60_000;

/** Files a broker has open beside its connections, generously. */
const FILES_BESIDE = 1_400;

/** Without the pings of this connection, so that what is measured is alone. */
const QUIET = '?pi=0';

const options = read();
const deadline = Date.now() + options.minutes * 60_000;
const running = new Set();
const problems = [];

process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

for (const name of options.only) {
  const curve = await CURVES[name]();
  const file = join(options.out, `curves-${name}.svg`);
  writeFileSync(file, draw(curve));
  const markdown = table(curve);
  console.log(`\n${curve.title}\n\n${markdown}\n\n${file}\n`);
  if (options.write) write(name, markdown);
}
for (const problem of problems) console.error(`curves: ${problem}`);
process.exit(problems.length > 0 ? 1 : 0);

/** What a connection costs while there are few of them, and many. */
async function connectionsCurve() {
  const points = await each('connections', [1_000, 5_000, 10_000, 18_500], async (connections) => {
    const streams = Math.ceil(connections / 10);
    const seconds = options.divide > 1 ? 4 : 9; // three pings of 3 s
    const idle = await alone('idle', { connections, streams, join: true, seconds });
    const bare = await alone('idle', { connections, streams, settle: 0, seconds: 0.1 });
    const paced = await alone('fanout', { connections, rate: 4, seconds: 4 }, QUIET);
    return {
      memory: idle.server_memory_per_connection_bytes,
      connect: bare.connect_server_cpu_per_connection_us,
      idle: (idle.idle_server_cpu_core_percent / connections) * 1_000,
      delivery: paced.server_cpu_per_delivery_us,
    };
  });
  return {
    title: 'Connections: what each costs',
    along: 'connections',
    points,
    values: [
      { key: 'memory', title: 'Memory of a connection, subscribed and joined', unit: 'bytes' },
      { key: 'connect', title: 'CPU to connect and subscribe', unit: 'µs' },
      { key: 'idle', title: 'CPU of 1,000 idle connections, pings every 3 s', unit: '% of a core' },
      { key: 'delivery', title: 'CPU of a delivery, 4 publications a second', unit: 'µs' },
    ],
  };
}

/** What a small room costs, and the whole when idle, while there are many streams with nothing to do. */
async function streamsCurve() {
  const connections = reduced(1_000);
  const points = await each('streams', [1, 10, 100, 1_000, 10_000, 100_000], async (streams) => {
    const kept = await alone('idle', { connections, streams, join: true, seconds: 6 });
    return withBroker(async (broker) => {
      const crowd = await standby(broker, { connections, streams });
      try {
        const commands = await bench(broker, 'commands', { connections: 100, members: 10, seconds: 2 }, QUIET);
        const paced = await bench(broker, 'fanout', { connections: 10, rate: 1_000, seconds: 2 }, QUIET);
        return {
          command: commands.server_cpu_per_command_us,
          publication: (paced.server_cpu_s * 1e6) / paced.publications,
          idle: kept.idle_server_cpu_core_percent,
          memory: (kept.server_memory_after_bytes - kept.server_memory_before_bytes) / 2 ** 20,
        };
      } finally {
        await end(crowd);
      }
    });
  });
  return {
    title: `Streams: what a small room costs beside them (${count(connections)} connections are in them)`,
    along: 'streams',
    points,
    values: [
      { key: 'command', title: 'CPU of a list command in rooms of 10', unit: 'µs' },
      { key: 'publication', title: 'CPU of a publication to a room of 10, HTTP included', unit: 'µs' },
      { key: 'idle', title: 'CPU when nothing happens but pings', unit: '% of a core' },
      { key: 'memory', title: 'Memory of all, a member or more in each stream', unit: 'MiB' },
    ],
  };
}

/** What presence costs in small rooms and in large ones, with as many connections. */
async function membersCurve() {
  const connections = reduced(10_000);
  const points = await each('members', [10, 100, 1_000, 10_000], async (members) => {
    const streams = Math.max(1, Math.round(connections / members));
    const storm = await alone('storm', { connections, streams }, QUIET);
    // All of ten thousand asking at once would be a hundred million entries. And they come in large crowds, as
    // telling every one of every other goes by itself otherwise.
    const large = members > 1_000 ? { 'command-rate': 200, handshakes: 1_000 } : {};
    const list = await alone('commands', { connections: Math.max(100, members), members, seconds: 3, ...large }, QUIET);
    return {
      event: storm.server_cpu_per_event_us,
      list: list.server_cpu_per_command_us,
      entry: list.server_cpu_per_command_us / members,
      memory: (storm.server_memory_end_bytes - storm.server_memory_after_bytes) / connections,
    };
  });
  return {
    title: `Members of a room: what each costs (${count(connections)} connections in rooms of that size)`,
    along: 'members of a room',
    points,
    values: [
      { key: 'event', title: 'CPU of an event delivered, all joining at once', unit: 'µs' },
      { key: 'list', title: 'CPU of a list command', unit: 'µs' },
      { key: 'entry', title: 'CPU of a list command for each member listed', unit: 'µs' },
      { key: 'memory', title: 'Memory of a member, once all have joined', unit: 'bytes' },
    ],
  };
}

/** Measures one point after the other. One that goes wrong is left out, and said at the end. */
async function each(along, sizes, measure) {
  const points = [];
  for (const size of new Set(sizes.map(reduced))) {
    const point = `${along} ${count(size)}`;
    try {
      if (Date.now() > deadline) throw new Error(`left out, as ${options.minutes} minutes are over; --minutes allows more`);
      if (along !== 'streams') checkOpenFiles(size);
      console.error(point);
      points.push({ size, ...(await measure(size)) });
    } catch (error) {
      problems.push(`${point}: ${error.message.trim()}`);
    }
  }
  if (points.length === 0) fail(problems.join('\ncurves: '));
  return points;
}

/** A scenario with a broker of its own: what the run before left behind isn't in it. */
function alone(scenario, flags, query) {
  return withBroker((broker) => bench(broker, scenario, flags, query));
}

async function withBroker(use) {
  const port = await freePort();
  const broker = start(options.broker, ['--port', String(port), '--log-level', 'warn']);
  broker.port = port;
  try {
    await until(async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).ok, broker, `${options.broker} to listen`);
    // What a server takes once, such as its threads' buffers, shall not be in what each connection takes.
    await bench(broker, 'idle', { connections: 20, streams: 2, join: true, settle: 0, seconds: 0.1 });
    return await use(broker);
  } finally {
    await end(broker);
  }
}

/** Runs broker-bench; its figures. */
async function bench(broker, scenario, flags, query) {
  const args = benchArguments(broker, scenario, flags, query);
  const { error, stdout, stderr } = await new Promise((resolve) => {
    const child = execFile(options.bench, args, { timeout: RUN_MS }, (...[error, stdout, stderr]) => {
      running.delete(child);
      resolve({ error, stdout, stderr });
    });
    running.add(child);
  });
  const command = `broker-bench ${args.join(' ')}`;
  if (error?.killed) throw new Error(`${command} took more than ${RUN_MS / 1_000} s`);
  const report = parsed(stdout);
  if (error || !report || report.problem) throw new Error(`${command}: ${report?.problem ?? (stderr.trim() || error?.message)}`);
  return report.figures;
}

/** Connections that hold streams until they are ended. */
async function standby(broker, { connections, streams }) {
  const before = await gauge(broker, 'broker_presence_members');
  const flags = { connections, streams, join: true, seconds: RUN_MS / 1_000 };
  const crowd = start(options.bench, benchArguments(broker, 'idle', flags, QUIET));
  const members = before + Math.max(connections, streams);
  const isComplete = async () => (await gauge(broker, 'broker_presence_members')) >= members;
  try {
    await until(isComplete, crowd, `${count(members)} members`);
  } catch (error) {
    await end(crowd);
    throw error;
  }
  return crowd;
}

function benchArguments(broker, scenario, flags, query = '') {
  const server = { url: `ws://127.0.0.1:${broker.port}/cable${query}`, pid: broker.pid, json: true };
  const words = Object.entries({ ...flags, ...server }).map(([name, value]) => [`--${name}`, value === true ? [] : String(value)]);
  return [scenario, ...words.flat(2)];
}

async function gauge(broker, name) {
  const metrics = await (await fetch(`http://127.0.0.1:${broker.port}/metrics`)).text();
  const line = metrics.split('\n').find((line) => line.startsWith(`${name} `));
  if (!line) throw new Error(`${options.broker} has no ${name} in its /metrics`);
  return Number(line.slice(name.length));
}

function start(program, args) {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  running.add(child);
  child.ended = new Promise((resolve) => {
    child.on('exit', resolve);
    child.on('error', resolve);
  });
  child.ended.then(() => running.delete(child));
  return child;
}

/** Ends a process at once: nobody is left who would have to be told. */
async function end(child) {
  child.kill('SIGKILL');
  await child.ended;
}

async function until(holds, child, what) {
  const late = Date.now() + READY_MS;
  while (!(await holds().catch(() => false))) {
    if (!running.has(child)) throw new Error(`waiting for ${what}, but the process has ended`);
    if (Date.now() > late) throw new Error(`waited ${READY_MS / 1_000} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function checkOpenFiles(connections) {
  const limit = /Max open files\s+\S+\s+(\S+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  if (connections + FILES_BESIDE <= Number(limit === 'unlimited' ? Infinity : limit)) return;
  throw new Error(`needs some ${count(connections + FILES_BESIDE)} open files, and the hard limit is ${limit}: raise it (ulimit -n)`);
}

/** The table of a curve's points, as Markdown. */
function table({ along, points, values }) {
  const row = (cells) => `| ${cells.join(' | ')} |`;
  const heads = values.map(({ title, unit }) => `${title} (${unit})`);
  const rows = points.map((point) => row([count(point.size), ...values.map(({ key }) => figure(point[key]))]));
  return [row([along, ...heads]), row(['---:', ...heads.map(() => '---:')]), ...rows].join('\n');
}

/** Replaces one curve's table between the marks in docs/PERFORMANCE.md; the tables of the others stay. */
function write(name, markdown) {
  const [from, to] = ['<!-- curves -->', '<!-- /curves -->'];
  const page = readFileSync(PAGE, 'utf8');
  const [start, stop] = [page.indexOf(from), page.indexOf(to)];
  if (start < 0 || stop < start) fail(`${PAGE} has no ${from} with ${to} behind it: put them where the tables belong`);
  const sections = new Map(
    page
      .slice(start + from.length, stop)
      .split(/^(?=<!-- )/m)
      .map((section) => [/^<!-- (\w+) -->/.exec(section)?.[1], section.trim()]),
  );
  sections.set(name, `<!-- ${name} -->\n${markdown}`);
  const tables = Object.keys(CURVES).map((name) => sections.get(name)).filter(Boolean);
  writeFileSync(PAGE, `${page.slice(0, start)}${from}\n${tables.join('\n\n')}\n${page.slice(stop)}`);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A size in a rehearsal. */
function reduced(size) {
  return Math.max(1, Math.round(size / options.divide));
}

/** 18500 as 18,500. */
function count(number) {
  return number.toLocaleString('en-US');
}

/** Three digits that mean something, and all in front of the point. */
function figure(value) {
  return value >= 100 ? count(Math.round(value)) : String(Number(value.toPrecision(3)));
}

function fail(message) {
  console.error(`curves: ${message}`);
  process.exit(1);
}

function read() {
  const { values } = parse();
  const only = values.only ?? Object.keys(CURVES);
  for (const name of only) {
    if (!(name in CURVES)) fail(`--only is one of ${Object.keys(CURVES).join(', ')}, not ${name}`);
  }
  for (const name of ['bench', 'broker']) {
    if (!existsSync(values[name])) fail(`there is no ${values[name]}: cargo build --release, or say --${name} PATH`);
  }
  const [divide, minutes] = ['divide', 'minutes'].map((name) => {
    const number = Number(values[name]);
    if (!(number > 0)) fail(`--${name} is a number above 0, not ${values[name]}`);
    return number;
  });
  mkdirSync(values.out, { recursive: true });
  return { ...values, only, divide, minutes };
}

function parse() {
  const text = (value) => ({ type: 'string', default: value });
  try {
    return parseArgs({
      options: {
        bench: text(join(ROOT, 'target/release/broker-bench')),
        broker: text(join(ROOT, 'target/release/broker')),
        out: text(join(ROOT, 'docs/images')),
        only: { type: 'string', multiple: true },
        divide: text('1'),
        minutes: text('6'),
        write: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return fail(error.message);
  }
}
