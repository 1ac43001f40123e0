// Clients of every protocol that do the same things, each in its own words, in one room:
// connect, join, update, leave, go away; and each knows who it believes is there.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { cableTo, cut as cutCable, follow, next } from './anycable.js';
import { chatTo } from './chat.js';
import { Topic, answer, cut as cutPhoenix, phoenixTo } from './phoenix.js';
import { same } from './socket.js';
import { typedTo } from './typed.js';
import { Inbox, until, within } from './patience.js';

/** What all have in common. `user` is who it is while it is connected; `isIn` whether it has joined. */
class Guest {
  user = null;
  isIn = false;

  constructor(s, room) {
    this.s = s;
    this.room = room;
  }

  get isOnline() {
    return this.user !== null;
  }

  /** Connects and follows the room. */
  async connect(user) {
    await this.open(user);
    this.user = user;
  }

  async join(info) {
    await this.enter(info);
    this.isIn = true;
  }

  async leave() {
    await this.exit();
    this.isIn = false;
  }

  /** The connection ends, `politely` or not; the member stays for the TTL. */
  goAway(politely) {
    this.close(politely);
    this.user = null;
    this.isIn = false;
  }
}

/** npm @anycable/core. */
export class CableGuest extends Guest {
  protocol = 'Action Cable';
  canComeBack = true;
  canLeave = true;
  canUpdate = false; // the stock client has no way to

  async open() {
    this.cable = cableTo(this.s);
    this.channel = await follow(this.cable, this.room);
    this.messages = new Inbox();
    this.channel.on('message', (message) => this.messages.put(message));
    await within(this.channel.presence.info(), 'the list');
  }

  async enter(info) {
    const user = this.user;
    const heard = async () => user in (await this.channel.presence.info());
    await this.channel.presence.join(user, info);
    await until(heard, `${user} is seen by itself`);
  }

  async exit() {
    await this.channel.presence.leave();
  }

  /** Loses the connection and is there again by itself. */
  async comeBack() {
    const again = next(this.channel, 'connect');
    cutCable(this.cable);
    await again;
  }

  close() {
    this.cable.disconnect();
  }

  async believes() {
    return Object.keys(await within(this.channel.presence.info(), 'the list')).sort();
  }

  hearsPublication(data) {
    return this.messages.take((message) => same(message, data), 'a publication');
  }
}

/** npm phoenix. */
export class PhoenixGuest extends Guest {
  protocol = 'Phoenix';
  canComeBack = true;
  canLeave = true;
  canUpdate = true;

  async open(user) {
    this.client = phoenixTo(this.s, { user });
    this.topic = new Topic(this.client, this.room);
    await this.topic.join();
    // joining the topic is being there; this guest watches first, as the others do
    await this.#push('presence:untrack', {});
  }

  async #push(event, payload) {
    const { status, response } = await answer(this.topic.channel.push(event, payload));
    assert.equal(status, 'ok', `${event}: ${JSON.stringify(response)}`);
  }

  enter(info) {
    return this.#push('presence:track', { meta: info });
  }

  update(info) {
    return this.#push('presence:update', { meta: info });
  }

  exit() {
    return this.#push('presence:untrack', {});
  }

  async comeBack() {
    await this.topic.rejoins(() => cutPhoenix(this.client));
    if (!this.isIn) await this.#push('presence:untrack', {});
  }

  close(politely) {
    if (!politely) this.client.conn?.terminate();
    this.client.disconnect();
  }

  async believes() {
    return Object.keys(this.topic.devices).sort();
  }

  /** How many devices each member has. */
  get devices() {
    return this.topic.devices;
  }

  hearsPublication(data) {
    return this.topic.hearsPublication(data);
  }
}

/** Applies arrivals and departures to an ordered list; one that can't be is a failure. */
function apply(list, came, who, where) {
  assert.equal(list.includes(who), !came, `${where}: ${who} ${came ? 'came' : 'went'}`);
  if (came) list.push(who);
  else list.splice(list.indexOf(who), 1);
}

/** Typed JSON over `ws`. */
export class TypedGuest extends Guest {
  protocol = 'typed JSON';
  canComeBack = false;
  canLeave = true;
  canUpdate = false;

  async open() {
    this.socket = await typedTo(this.s);
    await this.socket.list(this.#more); // to ask is to follow
  }

  get #more() {
    return { room: this.room };
  }

  async enter() {
    this.socket.say('presence.join', { user: this.user, ...this.#more });
    assert.ok((await this.socket.list(this.#more)).includes(this.user), 'it is there');
  }

  async exit() {
    this.socket.say('presence.leave', { user: this.user, ...this.#more });
    await this.socket.list(this.#more);
  }

  close(politely) {
    if (politely) this.socket.ws.close();
    else this.socket.terminate();
  }

  /** The first list and all events since, which every further list has to be. */
  async believes() {
    const frames = this.socket.transcript.map((text) => JSON.parse(text));
    let present = null;
    for (const { type, payload } of frames) {
      assert.notEqual(type, 'error', JSON.stringify(payload));
      if (payload.room !== this.room) continue;
      if (type === 'presence.current') {
        if (present) assert.deepEqual(payload.users, present, 'a list and the events before it');
        present = [...payload.users];
      } else if (present && /^presence\.(online|offline)$/.test(type)) {
        apply(present, type === 'presence.online', payload.user, 'typed JSON');
      }
    }
    return present;
  }

  hearsPublication(data) {
    return this.socket.hearsPublication(data);
  }
}

/** The chat room over `ws`. It follows no room that it isn't in. */
export class ChatGuest extends Guest {
  protocol = 'chat';
  canComeBack = false;
  canLeave = false;
  canUpdate = false;

  async open() {
    this.socket = await chatTo(this.s);
  }

  async enter() {
    await this.socket.enter(this.room, this.user);
  }

  close(politely) {
    if (politely) this.socket.ws.close();
    else this.socket.terminate();
  }

  /** The last list that came, which what came before has to add up to: each is the one behind all that has it. */
  async believes() {
    const frames = this.socket.transcript.map((text) => JSON.parse(text));
    assert.ok(frames.every(({ type }) => type !== 'error'));
    const lists = frames.filter(({ users }) => users);
    let present = null;
    for (const [at, { type, username, users }] of lists.entries()) {
      if (type === 'user_list') present = [...users];
      // the own arrival is told after the list that has it
      else if (username !== this.user) apply(present, type === 'user_joined', username, 'chat');
      const isBehind = !isDeepStrictEqual(users, lists[at + 1]?.users);
      if (isBehind) assert.deepEqual(users, present, 'the list behind an event');
    }
    return lists.at(-1).users;
  }

  hearsPublication(data) {
    return this.socket.hearsPublication(data);
  }
}

export const KINDS = [CableGuest, PhoenixGuest, TypedGuest, ChatGuest];
