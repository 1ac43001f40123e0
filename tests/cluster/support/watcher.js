// A client that keeps all it is told about a stream, and checks that against what it could ask for.

import assert from 'node:assert/strict';
import { replay } from '../../clients/support/replay.js';

export class Watcher {
  /** Follows a stream at a node and asks who is there. */
  static async enter(node, stream) {
    const watcher = new Watcher();
    watcher.node = node;
    watcher.stream = stream;
    [watcher.socket, watcher.identifier] = await node.subscriber(stream);
    watcher.members = await watcher.socket.list(watcher.identifier);
    return watcher;
  }

  get isOpen() {
    return this.socket.ws.readyState === this.socket.ws.OPEN;
  }

  /** Everything of the stream it was told, in order: lists, presence events and messages. */
  get told() {
    return this.socket.transcript
      .map((text) => JSON.parse(text))
      .filter(({ identifier, message }) => identifier === this.identifier && message !== undefined);
  }

  /** All presence events it was told, without the lists. */
  get events() {
    return this.told.filter(isEvent).map(({ message }) => message);
  }

  /** The ids of those that were told to have left. */
  get leaves() {
    return this.events.filter(({ type }) => type === 'leave').map(({ id }) => id);
  }

  /** All publications it was told, as `[epoch, offset, message]`. */
  get publications() {
    return this.told
      .filter(({ offset }) => offset !== undefined)
      .map(({ epoch, offset, message }) => [epoch, offset, message]);
  }

  /** The next join or update of this member. */
  hears(type, id, info = {}, ms = undefined) {
    return this.#hears({ type, id, info }, ms);
  }

  /** The next leave of this member. */
  hearsLeave(id, ms = undefined) {
    return this.#hears({ type: 'leave', id }, ms);
  }

  async #hears(message, ms) {
    try {
      await this.socket.hears({ type: 'presence', identifier: this.identifier, message }, ms);
    } catch (error) {
      const story = this.events.slice(-20).map((event) => JSON.stringify(event)).join(' ');
      throw new Error(`${error.message}\n${this.node.broker.origin} told: ${story}`);
    }
  }

  hearsPublication(message, ms = undefined) {
    return this.socket.hears({ identifier: this.identifier, message }, ms);
  }

  /** Asks who is there. */
  async list() {
    this.members = await this.socket.list(this.identifier);
    return this.members;
  }

  /** Asks who is there: each of its lists has to be the one before and the events since. */
  async isRight() {
    await this.list();
    let before = null;
    let events = [];
    for (const frame of this.told) {
      if (isEvent(frame)) events.push(frame.message);
      if (frame.message.type !== 'info' || frame.type !== 'presence') continue;
      const { records = [] } = frame.message;
      if (before) assert.deepEqual(replay(before, events), records, `the list at ${this.node.broker.origin}`);
      before = records;
      events = [];
    }
  }
}

function isEvent({ type, message }) {
  return type === 'presence' && /^(join|update|leave)$/.test(message.type);
}

/** All that was told, without the lists, as text; and which of it are publications, that have a position. */
function storyOf(watcher) {
  return watcher.told
    .filter((frame) => frame.type !== 'presence' || isEvent(frame))
    .map(({ identifier, ...frame }) => ({ text: JSON.stringify(frame), isMark: frame.offset !== undefined }));
}

/**
 * Watchers of one stream were told the same, in the same order, between the first and the last publication that all
 * were told, these included.
 */
export function assertAlike(watchers) {
  const stories = watchers.map(storyOf);
  const isCommon = ({ text, isMark }) =>
    isMark && stories.every((story) => story.some((frame) => frame.text === text));
  const parts = stories.map((story) => {
    const [first, last] = [story.findIndex(isCommon), story.findLastIndex(isCommon)];
    assert.notEqual(first, -1, 'all watchers were told a publication');
    return story.slice(first, last + 1).map(({ text }) => text);
  });
  for (const [at, part] of parts.entries()) {
    const pair = `${watchers[0].node.broker.origin} and ${watchers[at].node.broker.origin}`;
    assert.deepEqual(part, parts[0], `the stories of ${pair}`);
  }
}
