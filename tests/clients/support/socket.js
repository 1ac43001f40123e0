// A plain WebSocket client that says exactly what a test tells it to, and keeps all it hears.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { WebSocket } from 'ws';
import { BEGINNING, Inbox, PATIENCE, within } from './patience.js';

/** The identifier of a subscription to a stream; `more` makes it another one to the same stream. */
export function identify(stream, more = {}) {
  return JSON.stringify({ channel: '$pubsub', stream_name: stream, ...more });
}

export class Socket {
  #inbox = new Inbox();

  /** All text frames as they came, pings left out. */
  transcript = [];
  /** The pings, as text. */
  pings = [];

  /** Opens a connection; does not wait for the welcome. */
  static async open(url, { protocols = ['actioncable-v1-json'], ...options } = {}) {
    const socket = new this(url, protocols, options);
    await within(socket.opened, `a connection to ${url}`, BEGINNING);
    return socket;
  }

  constructor(url, protocols, options) {
    this.ws = new WebSocket(url, protocols, { perMessageDeflate: false, ...options });
    this.ws.on('message', (data, binary) => this.#hear(data.toString(), binary));
    this.opened = new Promise((resolve, reject) => {
      this.ws.once('open', resolve);
      this.ws.once('error', reject);
      this.ws.once('unexpected-response', async (request, response) => {
        const { socket } = response; // Node would keep it for another request
        response.body = (await response.setEncoding('utf8').toArray()).join('');
        socket.destroy();
        reject(Object.assign(new Error(`HTTP ${response.statusCode}`), { response }));
      });
    });
    this.opened.catch(() => {});
    this.closed = new Promise((resolve) => {
      this.ws.once('close', (code, reason) => {
        this.#inbox.end(`the connection was closed (${code})`);
        resolve({ code, reason: reason.toString() });
      });
    });
    this.ws.on('error', () => {});
  }

  #hear(text, binary) {
    if (binary) throw new Error('a binary frame, where the protocol has only text');
    const frame = this.read(text);
    if (frame.type === 'ping') {
      this.pings.push(text);
      return;
    }
    this.transcript.push(text);
    this.#inbox.put({ ...frame, raw: text });
  }

  /** What a frame says, with the names its protocol has for that. */
  read(text) {
    return JSON.parse(text);
  }

  /** Sends an object as JSON, or a string as it is. */
  send(frame) {
    this.ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** The first frame that has all the keys of `like`, with these values. */
  async hears(like, ms = PATIENCE) {
    const wants = (frame) => Object.entries(like).every(([key, value]) => same(frame[key], value));
    const { raw, ...frame } = await this.#inbox.take(wants, JSON.stringify(like), ms);
    Object.defineProperty(frame, 'raw', { value: raw });
    return frame;
  }

  /** Frames that came and that nobody asked for. */
  get unheard() {
    return this.#inbox.rest.map(({ raw, ...frame }) => frame);
  }

  async welcome() {
    const { sid } = await this.hears({ type: 'welcome' });
    this.sid = sid;
    return this;
  }

  /** Subscribes and waits for the confirmation; gives the identifier. */
  async subscribe(stream, more = {}, extra = {}) {
    const identifier = identify(stream, more);
    this.send({ command: 'subscribe', identifier, ...extra });
    await this.hears({ type: 'confirm_subscription', identifier });
    return identifier;
  }

  unsubscribe(identifier) {
    this.send({ command: 'unsubscribe', identifier });
  }

  /** Asks to be present; does not wait for an answer. */
  join(identifier, id, info) {
    this.send({ command: 'join', identifier, presence: { id, info } });
  }

  leave(identifier) {
    this.send({ command: 'leave', identifier });
  }

  whisper(identifier, data) {
    this.send({ command: 'whisper', identifier, data });
  }

  /** The next presence event of this type. */
  async hearsPresence(identifier, type, ms = PATIENCE) {
    const wants = (frame) =>
      frame.type === 'presence' && frame.identifier === identifier && frame.message.type === type;
    const frame = await this.#inbox.take(wants, `presence ${type} of ${identifier}`, ms);
    assert.deepEqual(Object.keys(frame).sort(), ['identifier', 'message', 'raw', 'type']);
    return frame.message;
  }

  /** Asks who is present. */
  async list(identifier) {
    this.send({ command: 'presence', identifier, data: {} });
    const { total, records = [] } = await this.hearsPresence(identifier, 'info');
    assert.equal(total, records.length, 'the total of a list');
    return records;
  }

  /** Asks how many are present. */
  async count(identifier) {
    this.send({ command: 'presence', identifier, data: { return_records: false } });
    const info = await this.hearsPresence(identifier, 'info');
    assert.deepEqual(Object.keys(info).sort(), ['total', 'type']);
    return info.total;
  }

  /**
   * Returns when the broker has followed everything sent so far, and when all that had been said to
   * the subscription by then has come. With it a test can assert that nothing was said, in no time.
   */
  async settle(identifier) {
    if (identifier) {
      await this.count(identifier);
    } else {
      this.send({ command: 'ping' });
      await this.hears({ type: 'pong' });
    }
  }

  /** What was published to a stream has come; see `settle` in mark.js. */
  hearsPublication(data) {
    return this.hears({ message: data });
  }

  /** Nothing came that the test has not taken. */
  hearsNothing(what) {
    assert.deepEqual(this.unheard, [], what);
  }

  /** Ends the connection with a close frame. */
  async close(code = 1000) {
    this.ws.close(code);
    return within(this.closed, 'the close frame to be answered');
  }

  /** Ends the connection without a word: the socket is destroyed. */
  terminate() {
    this.ws.terminate();
  }

  /** How the broker ended the connection. */
  closing(ms = PATIENCE) {
    return within(this.closed, 'the connection to be closed', ms);
  }
}

/** Whether two values are the same JSON, whatever the order of their keys. */
export function same(a, b) {
  return a === b || isDeepStrictEqual(a, b);
}
