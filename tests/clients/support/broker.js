// The real binary as a child process.
//
// BROKER_BIN names the binary. Without it the debug build of this checkout is taken: `cargo test`
// builds it anyway, and its debug assertions and overflow checks take part in the tests.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { ask } from './http.js';
import { BEGINNING, PATIENCE, until, within } from './patience.js';

export const BINARY =
  process.env.BROKER_BIN ?? fileURLToPath(new URL('../../../target/debug/broker', import.meta.url));

/** Listens, and gives the server; nothing if somebody else does. */
function listener(...where) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(...where, () => resolve(server));
  });
}

/**
 * A port nobody listens on, below those the kernel hands to outgoing connections. No other process of the tests gets it as
 * long as this one runs, so whoever ends there can come back. Who has it is told by a socket with a name, which ends with
 * the process, however that ends.
 */
export async function freePort() {
  for (;;) {
    const port = 12000 + Math.floor(Math.random() * 20000);
    const reserved = await listener(`\0broker-test-port-${port}`);
    const probe = reserved && (await listener(port, '127.0.0.1'));
    if (probe) {
      reserved.unref();
      await new Promise((resolve) => probe.close(resolve));
      return port;
    }
    reserved?.close();
  }
}

function toArgs(flags) {
  return Object.entries(flags).flatMap(([name, value]) =>
    value === true ? [`--${name}`] : [`--${name}`, String(value)],
  );
}

export class Broker {
  #child;
  #exit;
  #output = '';

  /**
   * Starts the binary and waits until it is healthy.
   * `flags` as on the command line, without the dashes: `{ 'presence-ttl': '1s', public: true }`.
   * `system` is what it runs in: another file of it (`binary`), more variables (`env`), how many files it may open (`openFiles`),
   * a disk of its own that can be full (`disk`: a folder and a size, see `Broker.within`), where its log goes
   * (`stderr`: a redirection as in a shell, which may name a `file` descriptor of this process as 3).
   */
  static async start(flags = {}, system = {}) {
    const { binary = BINARY } = system;
    if (!existsSync(binary)) {
      throw new Error(`no broker at ${binary}: build it, or name it in BROKER_BIN`);
    }
    for (let attempt = 1; ; attempt += 1) {
      const port = flags.port ?? (await freePort());
      const broker = new Broker({ host: '127.0.0.1', ...flags, port }, system);
      try {
        await broker.#healthy();
        return broker;
      } catch (error) {
        broker.kill('SIGKILL');
        // Another test may have taken the port between the probe and the start.
        const taken = /in use/i.test(broker.#output);
        if (!taken || flags.port || attempt === 5) {
          throw new Error(`the broker did not start: ${error.message}\n${broker.log}`);
        }
      }
    }
  }

  constructor(flags, { binary = BINARY, env: more = {}, openFiles, disk, stderr, file } = {}) {
    this.port = flags.port;
    const cert = flags['tls-cert'];
    /** The authority that clients have to trust; none without TLS. */
    this.ca = cert && readFileSync(cert);
    this.origin = `127.0.0.1:${flags.port}`;
    this.args = toArgs(flags);
    // The variables of whoever runs the suite must not configure the broker under test.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(BROKER_|ANYCABLE_|REDIS_URL$|NATS_SERVERS$)/.test(name)),
    );
    // The shell becomes the broker, so the process id is the broker's.
    const first = [];
    if (openFiles) first.push(`ulimit -n ${openFiles}`);
    if (disk) first.push(`mount -t tmpfs -o size=${disk.size},mode=0700 tmpfs ${disk.dir}`);
    const last = `exec "$0" "$@" ${stderr ?? ''}`;
    const prepared = ['sh', '-c', [...first, last].join(' && '), binary, ...this.args];
    const apart = disk ? ['unshare', '--map-root-user', '--mount'] : [];
    const isPrepared = first.length > 0 || stderr;
    const [command, ...args] = isPrepared ? [...apart, ...prepared] : [binary, ...this.args];
    const stdio = ['ignore', 'pipe', 'pipe', ...(file ? [file] : [])];
    const options = { env: { ...env, ...more }, stdio };
    this.#child = spawn(command, args, options);
    for (const pipe of [this.#child.stdout, this.#child.stderr]) {
      pipe.setEncoding('utf8').on('data', (text) => (this.#output += text));
    }
    this.#exit = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve({ code: null, signal: String(error) }));
      this.#child.once('close', (code, signal) => resolve({ code, signal }));
    });
    this.running = true;
    this.#exit.then(() => (this.running = false));
  }

  async #healthy() {
    await until(async () => {
      if (!this.running) throw new Error(`it ended: ${JSON.stringify(await this.#exit)}`);
      return (await this.health()) === 200;
    }, '/health says 200', BEGINNING);
  }

  get pid() {
    return this.#child.pid;
  }

  /** A path as the broker sees it, who may have disks of its own. */
  within(path) {
    return `/proc/${this.pid}/root${path}`;
  }

  /** What it wrote so far; the end of it, if that is much. */
  get log() {
    return `$ broker ${this.args.join(' ')}\n${this.#output.split('\n').slice(-200).join('\n')}`;
  }

  /** Waits until it has written this: what it writes comes later than what it does. */
  logs(text) {
    return until(() => this.#output.includes(text), `the log says «${text}»`);
  }

  /** Reads no more of its log: whatever it writes from now on fails. */
  deafen() {
    this.#child.stderr.destroy();
  }

  get panicked() {
    return /panicked at/.test(this.#output);
  }

  url(path = '/cable') {
    return `${this.ca ? 'wss' : 'ws'}://${this.origin}${path}`;
  }

  /** The status of `/health`, or what went wrong instead. */
  async health() {
    try {
      const url = `${this.ca ? 'https' : 'http'}://${this.origin}/health`;
      const headers = { connection: 'close' }; // no connection is left to be counted
      return (await ask(url, { ca: this.ca, headers })).status;
    } catch (error) {
      return error.cause?.code ?? error.code ?? error.name;
    }
  }

  /** Sends a signal to this process and no other. */
  kill(signal) {
    if (this.running) this.#child.kill(signal);
  }

  /** Stops it as SIGSTOP does, until SIGCONT. A thread that is busy when the signal comes runs on for a moment. */
  async pause() {
    this.kill('SIGSTOP');
    const tasks = `/proc/${this.pid}/task`;
    const isStopped = (task) => /\) T /.test(readFileSync(`${tasks}/${task}/stat`, 'utf8'));
    await until(() => readdirSync(tasks).every(isStopped), 'all its threads are stopped');
  }

  /** The end of the process: `{ code, signal }`. */
  exited(ms = 2 * PATIENCE) {
    this.awaited = true;
    return within(this.#exit, 'the broker to exit', ms);
  }

  /** Asks it to stop and waits for that. */
  async stop() {
    this.kill('SIGTERM');
    try {
      return await this.exited();
    } catch (error) {
      this.kill('SIGKILL');
      throw error;
    }
  }
}
