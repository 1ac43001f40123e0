// A redis-server of a test's own. It keeps nothing on disk unless it is durable.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../clients/support/broker.js';
import { BEGINNING, until, within } from '../../clients/support/patience.js';

const REDIS = process.env.REDIS_BIN ?? 'redis-server';

export class Redis {
  #child;
  #output = '';

  /**
   * Starts a server and waits until it answers; at a port it had before, if that is given. A `durable` one syncs each
   * write to disk before it answers; one that `saves` has, after a restart, what it had at the last `SAVE`.
   */
  static async start({ port, durable = false, saves = false } = {}) {
    for (let attempt = 1; ; attempt += 1) {
      const dir = (durable || saves) && mkdtempSync(join(tmpdir(), 'broker-redis-'));
      const redis = new Redis(port ?? (await freePort()), dir, durable);
      try {
        await until(() => redis.#answers(), 'Redis answers', BEGINNING);
        return redis;
      } catch (error) {
        redis.kill();
        // Another test may have taken the port between the probe and the start.
        const taken = /in use/i.test(redis.#output);
        if (!taken || port || attempt === 5) throw new Error(`${error.message}\n${redis.#output}`);
      }
    }
  }

  constructor(port, dir, durable) {
    this.port = port;
    this.dir = dir;
    this.durable = durable;
    if (dir) process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
    this.#spawn();
  }

  #spawn() {
    const where = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.dir || tmpdir()];
    const keeps = this.durable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
    this.#child = spawn(REDIS, [...where, '--save', '', ...keeps]);
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
    await until(() => this.#answers(), 'Redis answers', BEGINNING);
  }

  async #answers() {
    if (!this.running) throw new Error('redis-server ended');
    return this.command('PING').catch(() => null);
  }

  /** One command on a connection of its own; gives the reply as it came. */
  command(...words) {
    const socket = connect(this.port, '127.0.0.1');
    const bulk = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('');
    const replied = new Promise((resolve, reject) => {
      let reply = '';
      socket.setEncoding('utf8').on('data', (text) => (reply += text));
      socket.once('error', reject);
      socket.once('close', () => {
        if (reply.startsWith('-')) reject(new Error(`${words.join(' ')}: ${reply.trim()}`));
        else resolve(reply.replace(/\+OK\r\n$/, '').trim());
      });
    });
    socket.write(`*${words.length}\r\n${bulk}*1\r\n$4\r\nQUIT\r\n`);
    return within(replied, `Redis' reply to ${words.join(' ')}`).finally(() => socket.destroy());
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
}
