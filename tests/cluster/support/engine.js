// A server of a test's own, between the nodes. It keeps nothing on disk unless it is durable.

import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../clients/support/broker.js';
import { BEGINNING, until } from '../../clients/support/patience.js';

const run = promisify(execFile);

/** Those that have been started. */
const servers = new Set();

process.once('exit', () => {
  for (const server of servers) server.remove();
});

/** What an engine's server does as a process. `command` and `answers` are the engine's own. */
export class EngineServer {
  #child;
  #output = '';
  #isOver = false;

  /**
   * Starts a server and waits until it answers; at a port it had before, if that is given. A `durable` one keeps all it
   * has answered for; one that `saves` can go back to what it had.
   */
  static async start({ port, ...keeps } = {}) {
    for (let attempt = 1; ; attempt += 1) {
      const server = new this(port ?? (await freePort()), keeps);
      try {
        await until(() => server.answers(), `${server.name} answers`, BEGINNING);
        return server;
      } catch (error) {
        server.end();
        // Another test may have taken the port between the probe and the start.
        const taken = /in use/i.test(server.#output);
        if (!taken || port || attempt === 5) throw new Error(`${error.message}\n${server.#output}`);
      }
    }
  }

  /** `env` are more variables that it runs with. */
  constructor(port, { durable = false, saves = false, env = {}, ...more } = {}) {
    this.port = port;
    this.durable = durable;
    this.saves = saves;
    this.env = env;
    this.more = more;
    this.dir = mkdtempSync(join(tmpdir(), 'broker-engine-'));
    servers.add(this);
    this.#spawn();
  }

  #spawn() {
    if (this.#isOver) throw new Error('the test is over');
    const [binary, ...flags] = this.commandLine();
    this.#child = spawn(binary, flags, { env: { ...process.env, ...this.env } });
    this.running = true;
    for (const pipe of [this.#child.stdout, this.#child.stderr]) {
      pipe.setEncoding('utf8').on('data', (text) => (this.#output += text));
    }
    this.#child.once('error', (error) => (this.#output += `${error}\n`));
    this.ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        this.running = false;
        resolve();
      });
    });
  }

  /** Starts it again, where it was. */
  async restart() {
    this.#spawn();
    await until(() => this.answers(), `${this.name} answers`, BEGINNING);
  }

  /** Stops the process as SIGSTOP does, until `resume`. */
  pause() {
    this.#child.kill('SIGSTOP');
  }

  resume() {
    this.#child.kill('SIGCONT');
  }

  /** Ends it at once. */
  kill() {
    if (this.running) this.#child.kill('SIGKILL');
    return this.ended;
  }

  /** What it has on disk from now on is nothing; for one that has ended. */
  async forget() {
    await run('rm', ['-rf', this.dir]);
    mkdirSync(this.dir);
  }

  /**
   * Keeps a copy of what it has on disk, thousands of files. Meanwhile all goes on, the tunnels of this process among it.
   */
  async keep() {
    await run('rm', ['-rf', this.#kept]);
    // a file that the server removes meanwhile is no fault
    await run('cp', ['-a', this.dir, this.#kept]).catch((error) => {
      if (!/No such file/.test(error.stderr)) throw error;
    });
  }

  /** What it has on disk is the copy again; for one that has ended. */
  async revert() {
    await run('rm', ['-rf', this.dir]);
    await run('cp', ['-a', this.#kept, this.dir]);
  }

  get #kept() {
    return `${this.dir}.kept`;
  }

  /** The same as `kill`, for good. */
  end() {
    this.#isOver = true;
    return this.kill();
  }

  /** The same, without a trace. */
  remove() {
    this.end();
    for (const dir of [this.dir, this.#kept]) rmSync(dir, { recursive: true, force: true });
  }
}
