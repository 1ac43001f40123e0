// A Redis Cluster of a test's own: three masters with a third of the slots and a replica each.

import { setTimeout as pass } from 'node:timers/promises';
import { freePort } from '../../clients/support/broker.js';
import { BEGINNING, until } from '../../clients/support/patience.js';
import { Redis } from './redis.js';

const SLOTS = 16_384;
const MASTERS = 3;

/** Number of partitions. */
const PARTITIONS = 64;

/** CRC-32, by which a stream has its partition. */
function crc32(text) {
  const crc = Buffer.from(text).reduce((sum, byte) => {
    let next = sum ^ byte;
    for (let bit = 0; bit < 8; bit += 1) next = (next >>> 1) ^ (next & 1 ? 0xedb88320 : 0);
    return next;
  }, -1);
  return ~crc >>> 0;
}

/** A server of it. */
class Member extends Redis {
  commandLine() {
    const cluster = {
      enabled: 'yes',
      port: this.more.bus,
      'node-timeout': 1000,
      'require-full-coverage': 'no',
      'replica-validity-factor': 0,
    };
    const flags = Object.entries(cluster).flatMap(([name, value]) => [`--cluster-${name}`, String(value)]);
    return [...super.commandLine(), ...flags];
  }

  /** The words of one command, separated by spaces; gives the reply, without what Redis writes around a text. */
  async ask(words) {
    const reply = await this.command(...words.split(' '));
    return reply.replace(/^\$\d+\r\n/, '');
  }

  async isMaster() {
    return (await this.ask('INFO replication')).includes('role:master');
  }
}

export class RedisCluster {
  #servers;

  static async start() {
    const cluster = new RedisCluster();
    const start = async () => Member.start({ bus: await freePort() });
    const started = await Promise.allSettled(Array.from({ length: 2 * MASTERS }, start));
    const servers = started.map(({ value }) => value).filter((server) => server);
    cluster.#servers = servers;
    cluster.masters = servers.slice(0, MASTERS);
    cluster.replicas = servers.slice(MASTERS);
    try {
      for (const { reason } of started) if (reason) throw reason;
      await cluster.#join();
    } catch (error) {
      cluster.end();
      throw error;
    }
    return cluster;
  }

  async #join() {
    const [first, ...others] = this.#servers;
    const all = (what, so) => Promise.all(this.#servers.map((server) => until(() => so(server), what, BEGINNING)));
    for (const [at, server] of this.#servers.entries()) await server.ask(`CLUSTER SET-CONFIG-EPOCH ${at + 1}`);
    for (const [at, server] of this.masters.entries()) {
      const [from, to] = [at, at + 1].map((third) => Math.floor((third * SLOTS) / MASTERS));
      await server.ask(`CLUSTER ADDSLOTSRANGE ${from} ${to - 1}`);
    }
    for (const { port, more } of others) await first.ask(`CLUSTER MEET 127.0.0.1 ${port} ${more.bus}`);
    await all('all know each other', async (server) => {
      const nodes = await server.ask('CLUSTER NODES');
      return nodes.split('\n').length === this.#servers.length && !nodes.includes('handshake');
    });
    for (const [at, replica] of this.replicas.entries()) {
      await replica.ask(`CLUSTER REPLICATE ${await this.masters[at].ask('CLUSTER MYID')}`);
      await this.#follows(replica);
    }
    await all('all slots are covered', async (server) => {
      const info = await server.ask('CLUSTER INFO');
      return info.includes('cluster_state:ok') && info.includes(`cluster_slots_ok:${SLOTS}`);
    });
  }

  get port() {
    return this.masters[0].port;
  }

  /** A node finds the others by one of them. */
  flags(port) {
    return { 'redis-url': `redis://127.0.0.1:${port}` };
  }

  end() {
    for (const server of this.#servers) server.end();
  }

  /** Which master has a partition, by its number among them, and the slot: `[at, slot]`. */
  async place(partition) {
    for (const [at, server] of this.masters.entries()) {
      if (!server.running) continue;
      const keys = await server.ask(`KEYS *:{${partition}.*}:meta`);
      const key = keys.split('\r\n').find((line) => line.endsWith(':meta'));
      if (key && (await server.isMaster())) {
        return [at, Number((await server.ask(`CLUSTER KEYSLOT ${key}`)).slice(1))];
      }
    }
    throw new Error(`no master has partition ${partition}`);
  }

  /** The partition of a stream. */
  partition(stream) {
    return crc32(stream) % PARTITIONS;
  }

  /** The replica of a master takes its place; `lags`: without what comes in the last moment. */
  async failOver(at, { lags = false } = {}) {
    const [master, replica] = [this.masters[at], this.replicas[at]];
    if (lags) {
      replica.pause();
      await master.ask('CLIENT KILL TYPE replica');
      await pass(300);
    }
    await master.kill();
    if (lags) replica.resume();
    await until(() => replica.isMaster(), 'the replica takes over', 10_000);
  }

  /** A master that was replaced comes back, as the replica. */
  async rejoin(at) {
    const [gone, master] = [this.masters[at], this.replicas[at]];
    await gone.restart();
    [this.masters[at], this.replicas[at]] = [master, gone];
    await this.#follows(gone);
  }

  /** The replica of a master takes its place, which both agree on. */
  async failOverByHand(at) {
    const [master, replica] = [this.masters[at], this.replicas[at]];
    await replica.ask('CLUSTER FAILOVER');
    await until(() => replica.isMaster(), 'the replica takes over', 10_000);
    [this.masters[at], this.replicas[at]] = [replica, master];
    await this.#follows(master);
  }

  #follows(replica) {
    const isLinked = async () => (await replica.ask('INFO replication')).includes('master_link_status:up');
    return until(isLinked, 'a replica follows', BEGINNING);
  }

  /** Moves a slot and its keys to the next master. */
  async move([from, slot]) {
    const [source, target] = [this.masters[from], this.masters[(from + 1) % MASTERS]];
    const [left, right] = await Promise.all([source, target].map((server) => server.ask('CLUSTER MYID')));
    await target.ask(`CLUSTER SETSLOT ${slot} IMPORTING ${left}`);
    await source.ask(`CLUSTER SETSLOT ${slot} MIGRATING ${right}`);
    for (;;) {
      const key = (await source.ask(`CLUSTER GETKEYSINSLOT ${slot} 1`)).split('\r\n')[2];
      if (!key) break;
      await source.ask(`MIGRATE 127.0.0.1 ${target.port} ${key} 0 5000`);
      await pass(50);
    }
    for (const server of [target, source]) await server.ask(`CLUSTER SETSLOT ${slot} NODE ${right}`);
  }
}
