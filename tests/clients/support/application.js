// An application that is asked who those are that join: a real HTTP server.

import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { until } from './patience.js';

export class Application {
  /** All requests so far, with their body read: `{ method, url, headers, stream, ids }`. */
  requests = [];
  /** How many connections there have been. */
  connections = 0;

  /**
   * `answer` gets a request and gives what it answers: an object to be sent as JSON, or
   * `{ status, headers, text }`, or nothing for no answer at all. With a certificate it speaks TLS.
   */
  constructor(answer, certificate) {
    this.answer = answer;
    this.scheme = certificate ? 'https' : 'http';
    const create = certificate ? createSecureServer : createServer;
    this.server = create(certificate ?? {}, async (request, response) => {
      const body = JSON.parse((await request.setEncoding('utf8').toArray()).join(''));
      const { method, url, headers } = request;
      const asked = { method, url, headers, ...body };
      this.requests.push(asked);
      const answered = await this.answer(asked, response);
      if (answered === undefined) return;
      const { status = 200, headers: more = {}, text } =
        answered.text === undefined ? { text: JSON.stringify(answered) } : answered;
      response.writeHead(status, { 'content-type': 'application/json', ...more }).end(text);
    });
    this.server.on('connection', () => (this.connections += 1));
  }

  /** Listens; at a port it had before, if that is given. */
  async open(port = 0) {
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.port = this.server.address().port;
    return this;
  }

  /** Ends at once, with every connection. */
  close() {
    this.server.close();
    this.server.closeAllConnections();
  }

  get url() {
    return `${this.scheme}://127.0.0.1:${this.port}/presence?v=1`;
  }

  /** All ids it was asked about, in order. */
  get ids() {
    return this.requests.flatMap(({ ids }) => ids);
  }

  /** Waits until it has been asked that often. */
  asked(times) {
    return until(() => this.requests.length >= times, `the application is asked ${times} times`);
  }
}

/** Knows everyone by name. */
export function byName({ ids }) {
  return Object.fromEntries(ids.map((id) => [id, { user: { name: id.toUpperCase() } }]));
}
