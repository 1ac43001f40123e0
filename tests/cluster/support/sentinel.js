// A Redis with a replica, and a Sentinel that makes the replica the primary when that is gone.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BEGINNING, until } from '../../clients/support/patience.js';
import { REPLICATION, Redis } from './redis.js';

/** The primary's name. */
const NAME = 'ours';

/** How long the primary may be silent before it counts as gone, in ms. */
const DOWN_AFTER = 3000;

/** How long it may take until the replica is the primary, in ms: the Sentinel may try twice. */
const FAILOVER = 30_000;

class Sentinel extends Redis {
  name = 'Sentinel';

  commandLine() {
    const file = join(this.dir, 'sentinel.conf');
    writeFileSync(file, [
      `port ${this.port}`,
      'bind 127.0.0.1',
      `dir ${this.dir}`,
      `sentinel monitor ${NAME} 127.0.0.1 ${this.more.of.port} 1`,
      `sentinel down-after-milliseconds ${NAME} ${DOWN_AFTER}`,
      `sentinel failover-timeout ${NAME} 2000`,
    ].join('\n'));
    return [this.binary, file, '--sentinel'];
  }
}

/** Two servers of which one is the primary, as an engine. */
export class RedisPair {
  name = 'Redis with a Sentinel';

  static async start() {
    const pair = new RedisPair();
    pair.primary = await Redis.start();
    pair.replica = await Redis.start();
    await pair.replica.replicates(pair.primary);
    pair.sentinel = await Sentinel.start({ of: pair.primary });
    await pair.#isKnown();
    return pair;
  }

  /** The flags for a node. */
  flags() {
    return { 'redis-url': `redis://${NAME}`, 'redis-sentinels': `127.0.0.1:${this.sentinel.port}` };
  }

  /** The Sentinel knows the replica, and that it is well. */
  #isKnown() {
    const isWell = (reply) => reply.includes(String(this.replica.port)) && !/s_down|disconnected/.test(reply);
    return until(async () => isWell(await this.sentinel.command('SENTINEL', 'REPLICAS', NAME)), 'the replica is known', BEGINNING);
  }

  /** Whether the Sentinel says that it is the primary. */
  async #isNamed({ port }) {
    const address = await this.sentinel.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME);
    return address.endsWith(`\r\n${port}`);
  }

  /** On a busy machine the Sentinel may change its mind by itself. */
  async #follow() {
    if (await this.#isNamed(this.replica)) [this.primary, this.replica] = [this.replica, this.primary];
  }

  /** From now on the replica gets nothing, for good: what is written is lost when it takes over. */
  async leaveBehind() {
    await this.#follow();
    this.replica.pause();
    await this.primary.command('CLIENT', 'KILL', 'TYPE', 'replica');
  }

  /** The primary is gone, and the replica takes over. */
  async failOver() {
    await this.#follow();
    const { primary, replica } = this;
    await primary.kill();
    replica.resume();
    const isPrimary = async () => (await replica.command('ROLE')).includes('master') && this.#isNamed(replica);
    await until(() => isPrimary().catch(() => false), 'the replica is the primary', FAILOVER);
    [this.primary, this.replica] = [replica, primary];
  }

  /** What was the primary comes back as the other's replica. */
  async repair() {
    await this.replica.restart();
    const isWhole = async () => {
      await this.#follow();
      return this.replica.isReplicaOf(this.primary);
    };
    await until(isWhole, 'the replica has everything', REPLICATION);
    await this.#isKnown();
  }

  end() {
    for (const server of [this.sentinel, this.primary, this.replica]) server?.end();
  }
}
