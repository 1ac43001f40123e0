// Phoenix: its client, unmodified (npm phoenix), and a plain WebSocket that says what a test tells it to.

import assert from 'node:assert/strict';
import { LongPoll, Presence, Socket as Client } from 'phoenix';
import { BrowserSocket } from './browser.js';
import { Inbox, PATIENCE, until, within } from './patience.js';
import { Socket, same } from './socket.js';

/** Options of a client that polls. */
export const POLLING = { transport: LongPoll };

/** A socket of the stock client, connected or connecting; it comes back 100 ms after it was cut. */
export function phoenixTo(s, { user, params, path = '/socket', url, ...options } = {}) {
  const client = new Client(url ?? s.broker.url(path), {
    transport: BrowserSocket,
    params: { ...(user && { user_id: user }), ...params },
    reconnectAfterMs: () => 100,
    rejoinAfterMs: () => 100,
    ...options,
  });
  s.cleanup(() => client.disconnect());
  client.connect();
  return client;
}

/** How a push was answered: `{ status, response }`. */
export function answer(push, ms = undefined) {
  const answered = new Promise((resolve) => {
    for (const status of ['ok', 'error', 'timeout']) {
      push.receive(status, (response) => resolve({ status, response }));
    }
  });
  return within(answered, `the answer to ${push.event}`, ms);
}

/** A channel with its presence, and all that came for it. */
export class Topic {
  #inbox = new Inbox();

  /** Everything that came, replies left out: `{ event, payload }`. */
  story = [];

  constructor(client, name, params = {}) {
    this.client = client;
    this.channel = client.channel(name, params);
    this.presence = new Presence(this.channel);
    this.channel.onMessage = (event, payload) => {
      if (!/^(phx|chan)_reply/.test(event)) {
        this.story.push({ event, payload });
        this.#inbox.put({ event, payload });
      }
      return payload;
    };
  }

  /** Joins; fails if the broker refuses. */
  async join() {
    const { status, response } = await answer(this.channel.join());
    assert.equal(status, 'ok', JSON.stringify(response));
    return this;
  }

  /** Pushes; gives `{ status, response }`. */
  push(event, payload) {
    return answer(this.channel.push(event, payload));
  }

  /** Leaves; the client says «ok» to itself before the broker does. */
  leave() {
    return answer(this.channel.leave());
  }

  /** Waits until the channel is joined once more, by the client's own efforts, after `harm`. */
  async rejoins(harm = () => {}) {
    const states = () => this.story.filter(({ event }) => event === 'presence_state').length;
    const before = states();
    harm();
    await until(() => states() > before, `${this.channel.topic} is joined again`, 2 * PATIENCE);
  }

  /** The next event of this name; gives its payload. */
  async hears(event, wants = () => true) {
    const fits = (item) => item.event === event && wants(item.payload);
    return (await this.#inbox.take(fits, `the event ${event}`)).payload;
  }

  hearsPublication(data) {
    return this.hears('message', (payload) => same(payload, data));
  }

  /** What came and the test has not taken. */
  get unheard() {
    return this.#inbox.rest;
  }

  /** Who is there as the client sees it: presence ids with their metas. */
  get members() {
    return Object.fromEntries(this.presence.list((id, { metas }) => [id, metas]));
  }

  /** How many metas each id has. */
  get devices() {
    return Object.fromEntries(this.presence.list((id, { metas }) => [id, metas.length]));
  }

  /** Waits until the client sees these and no others: `{ ann: 2 }`. */
  async sees(devices, ms = undefined) {
    try {
      await until(() => same(this.devices, devices), 'the client sees who is there', ms);
    } catch (error) {
      const sees = JSON.stringify(this.members);
      throw new Error(`${error.message}: it should be ${JSON.stringify(devices)}, it sees ${sees}`);
    }
  }
}

/** A stock client that has joined a topic. */
export function phoenixIn(s, name, user, { join = {}, ...options } = {}) {
  return new Topic(phoenixTo(s, { user, ...options }), name, join).join();
}

/** Cuts the client's connection as a network does: without a close frame. */
export function cut(client) {
  client.conn.terminate();
}

/** A WebSocket that speaks the serializer's version 2, frame by frame. */
export class PhoenixSocket extends Socket {
  #ref = 0;

  read(text) {
    const frame = JSON.parse(text);
    assert.equal(frame.length, 5, text);
    const [join_ref, ref, topic, event, payload] = frame;
    for (const one of [join_ref, ref]) assert.ok(one === null || typeof one === 'string', text);
    assert.equal(typeof payload, 'object', text);
    return { join_ref, ref, topic, event, payload };
  }

  get frames() {
    return this.transcript.map((text) => JSON.parse(text));
  }

  nextRef() {
    this.#ref += 1;
    return String(this.#ref);
  }

  /** Sends a frame and gives the reply's. */
  async ask(topic, event, payload = {}, joinRef = null) {
    const ref = this.nextRef();
    this.send([event === 'phx_join' ? ref : joinRef, ref, topic, event, payload]);
    return this.hears({ event: 'phx_reply', ref });
  }

  /** Joins and gives the join_ref; what follows the reply is not awaited. */
  async join(topic, payload = {}) {
    const { payload: reply, ref } = await this.ask(topic, 'phx_join', payload);
    assert.equal(reply.status, 'ok', JSON.stringify(reply));
    return ref;
  }

  hearsPublication(data) {
    return this.hears({ event: 'message', payload: data });
  }
}

/** An open socket of a user. */
export function phoenixSocketTo(s, query = 'vsn=2.0.0', options = {}) {
  return s.open(`/socket/websocket?${query}`, { kind: PhoenixSocket, protocols: [], ...options });
}

/** A raw member: `[socket, joinRef]`, its own arrival heard. */
export async function phoenixMember(s, topic, user, join = {}) {
  const socket = await phoenixSocketTo(s, `user_id=${encodeURIComponent(user)}&vsn=2.0.0`);
  const joinRef = await socket.join(topic, join);
  await socket.hears({ event: 'presence_state' });
  await socket.hears({ event: 'presence_diff' });
  return [socket, joinRef];
}
