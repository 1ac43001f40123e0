// Server-sent events: a reader that keeps the bytes, and the client of browsers (npm eventsource).

import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { EventSource } from 'eventsource';
import { Inbox, within } from './patience.js';
import { same } from './socket.js';

/** One event's lines, as the standard reads them: `{ event, data, id, retry }`, what is absent left out. */
function parse(block) {
  const event = {};
  for (const line of block.split(/\r\n|\r|\n/)) {
    if (line === '' || line.startsWith(':')) continue;
    const [, field, value = ''] = line.match(/^([^:]*)(?:: ?(.*))?$/su);
    if (field === 'data' && 'data' in event) event.data += `\n${value}`;
    else event[field] = value;
  }
  return event;
}

export class EventStream {
  #inbox = new Inbox();
  #rest = '';

  /** The body as it came, in the pieces it came in. */
  pieces = [];

  /** Asks for a stream; fails with the response unless its status is 200. With `ca`, over TLS. */
  static async open(url, headers = {}, ca = undefined) {
    const request = (ca ? https : http).get(url, { agent: false, headers, ca });
    const stream = new EventStream(request);
    const [response] = await within(once(request, 'response'), `the answer to GET ${url}`);
    if (response.statusCode !== 200) {
      response.body = (await response.setEncoding('utf8').toArray()).join('');
      throw Object.assign(new Error(`HTTP ${response.statusCode}`), { response });
    }
    stream.headers = response.headers;
    response.setEncoding('utf8').on('data', (text) => stream.#hear(text));
    response.once('close', () => stream.#inbox.end('the stream of events ended'));
    response.on('error', () => {});
    stream.ended = new Promise((resolve) => response.once('close', resolve));
    return stream;
  }

  constructor(request) {
    this.request = request;
    request.on('error', () => {});
  }

  #hear(text) {
    this.pieces.push(text);
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop();
    for (const block of blocks) {
      const event = parse(block);
      if (event.event === 'ping' || !('data' in event)) continue; // a comment is no event
      try {
        event.json = JSON.parse(event.data);
      } catch {
        // text as it was published, which `data` has
      }
      this.#inbox.put(event);
    }
  }

  /** All that came. */
  get body() {
    return this.pieces.join('');
  }

  /** The next event that has all the keys of `like`, with these values; publications have no `event`. */
  hears(like, ms = undefined) {
    const wants = (event) => Object.entries(like).every(([key, value]) => same(event[key], value));
    return this.#inbox.take(wants, JSON.stringify(like), ms);
  }

  /** The next presence event's data. */
  async hearsPresence(type) {
    const wants = ({ event, json }) => event === 'presence' && json.type === type;
    return (await this.#inbox.take(wants, `presence ${type}`)).json;
  }

  hearsPublication(data) {
    return this.hears({ event: undefined, json: data });
  }

  /** What came and the test has not taken, pings left out. */
  get unheard() {
    return this.#inbox.rest;
  }

  /** Ends the connection as a page does that is closed. */
  close() {
    this.request.destroy();
  }
}

/** The URL of a stream of events; `query` as an object. */
export function eventsUrl(s, query, path = '/events') {
  const origin = s.broker.url(path).replace(/^ws/, 'http');
  return `${origin}?${new URLSearchParams(query)}`;
}

/** A stream of events that has been answered, its welcome not awaited. */
export async function openEvents(s, query, headers) {
  const stream = await EventStream.open(eventsUrl(s, query), headers, s.broker.ca);
  s.cleanup(() => stream.close());
  return stream;
}

/** A stream of events whose subscription has been confirmed. */
export async function eventsIn(s, name, more = {}, headers = {}) {
  const stream = await openEvents(s, { stream: name, ...more }, headers);
  await stream.hears({ event: 'welcome' });
  await stream.hears({ event: 'confirm_subscription' });
  return stream;
}

/** The client of browsers; what it dispatches is kept: `{ type, data, lastEventId }`. */
export function eventSourceTo(s, url) {
  const source = new EventSource(url);
  s.cleanup(() => source.close());
  const inbox = new Inbox();
  for (const type of ['open', 'error', 'message', 'welcome', 'confirm_subscription', 'presence']) {
    source.addEventListener(type, ({ data, lastEventId, code }) => {
      inbox.put({ type, data, lastEventId, code });
    });
  }
  source.hears = (type) => inbox.take((event) => event.type === type, `the event ${type}`);
  return source;
}
