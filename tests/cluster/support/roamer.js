// Stock clients that go to another node when theirs has gone, as a balancer sends them.

import assert from 'node:assert/strict';
import { cableTo, follow } from '../../clients/support/anycable.js';
import { within } from '../../clients/support/patience.js';
import { Topic, phoenixTo } from '../../clients/support/phoenix.js';
import { ROOM } from './cluster.js';

/** npm @anycable/core with the extended protocol: it asks for what it missed. */
export class CableRoamer {
  /** All publications it was told: `{ message, meta }`. */
  publications = [];
  /** The ids of the members whose leaves it was told. */
  leaves = [];
  /** Subscriptions whose history could not be had. */
  missed = 0;
  /** How often it has come to another node, and how often its session had come along. */
  moves = -1;
  restored = 0;

  /** Follows the room at the first of the nodes. With an `id` it is present there. */
  static async enter(c, nodes, id) {
    const roamer = new CableRoamer();
    const { cable } = Object.assign(roamer, { nodes, id, cable: cableTo(c, {}, nodes[0].broker.url()) });
    cable.on('connect', ({ restored }) => {
      roamer.moves += 1;
      roamer.restored += Number(restored);
    });
    for (const event of ['disconnect', 'close']) cable.on(event, () => roamer.#move());
    roamer.channel = await follow(cable, ROOM);
    roamer.channel.on('message', (message, meta) => roamer.publications.push({ message, meta }));
    roamer.channel.on('presence', ({ type, id: who }) => type === 'leave' && roamer.leaves.push(who));
    roamer.channel.on('info', ({ type }) => (roamer.missed += Number(type === 'history_not_found')));
    if (id) await roamer.channel.presence.join(id, {});
    await within(roamer.channel.presence.info(), 'the list');
    return roamer;
  }

  /** The next connection is to the next node. The session's id goes along, as behind a balancer. */
  #move() {
    this.nodes = [...this.nodes.slice(1), this.nodes[0]];
    const url = new URL(this.cable.transport.url);
    url.host = this.nodes[0].broker.origin;
    this.cable.transport.setURL(url.href);
  }

  /** Its publications have one epoch, and each position follows the one before. */
  isGapless() {
    assert.equal(this.missed, 0, 'histories that could not be had');
    const [first] = this.publications;
    for (const [at, { meta }] of this.publications.entries()) {
      const { epoch, offset } = meta;
      assert.deepEqual([epoch, offset], [first.meta.epoch, first.meta.offset + at], `publication ${at}`);
    }
  }
}

/** npm phoenix, present under a name. */
export class PhoenixRoamer {
  /** The ids of the members that it saw leave altogether. */
  leaves = [];

  static async enter(c, nodes, id) {
    const roamer = new PhoenixRoamer();
    const client = phoenixTo(c, { user: id, url: nodes[0].broker.url('/socket') });
    client.onClose(() => {
      nodes = [...nodes.slice(1), nodes[0]];
      client.endPoint = nodes[0].broker.url('/socket/websocket');
    });
    roamer.topic = new Topic(client, ROOM);
    roamer.topic.presence.onLeave((who, { metas }) => metas.length === 0 && roamer.leaves.push(who));
    await roamer.topic.join();
    return roamer;
  }
}
