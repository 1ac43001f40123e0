// The application over HTTP, as the Ruby gem serves it: what is wrong with a request has a status of its own, and an answer
// is 200 without a content type, with the names of the contract, numbers for its enum, and no field that has its default.

import { timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { DONE, Refusal, Service } from './service.js';

/** The fields that a request may have. As the gem reads them, any other is an error. */
const FIELDS = {
  connect: ['env'],
  command: ['command', 'identifier', 'connection_identifiers', 'data', 'env'],
  disconnect: ['identifiers', 'subscriptions', 'env'],
};
const ENV_FIELDS = ['url', 'headers', 'cstate', 'istate'];

/** The names of fields in a request that aren't the contract's. */
function unknownFields(method, { env = {}, ...message }) {
  const unknown = (names, fields) => names.filter((name) => !fields.includes(name));
  return [...unknown(Object.keys(message), FIELDS[method]), ...unknown(Object.keys(env), ENV_FIELDS)];
}

/** Without the fields that have their default. A map's entries are no fields: an empty string in one deletes it there. */
function concise(message) {
  const isDefault = (value) => !value || (typeof value === 'object' && Object.keys(value).length === 0);
  const fields = Object.entries(message).map(([name, value]) => [name, name === 'env' ? concise(value) : value]);
  return Object.fromEntries(fields.filter(([, value]) => !isDefault(value)));
}

function isSame(one, other) {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

const MARK = 'x-anycable-meta-';

/** What gRPC has as metadata. */
function metadataOf(headers) {
  const marked = Object.entries(headers).filter(([name]) => name.startsWith(MARK));
  return Object.fromEntries(marked.map(([name, value]) => [name.slice(MARK.length), value]));
}

export class HttpApplication extends Service {
  /** What was asked for, whatever it was: `POST /_anycable/connect`. */
  requests = [];
  /** How many connections there have been. */
  connections = 0;

  /**
   * With a `token`, requests need it; with a `certificate` it speaks TLS; `path` is where it is mounted. What the application
   * does may be others' `methods`, and its answers be written in another way than the gem's (`encode`).
   */
  constructor({ token, certificate, path = '/_anycable', methods, encode = concise } = {}) {
    super(methods);
    Object.assign(this, { token, path, encode });
    this.scheme = certificate ? 'https' : 'http';
    const create = certificate ? createSecureServer : createServer;
    this.server = create(certificate ?? {}, async (request, response) => {
      const { status, headers = {}, text = '' } = await this.#respond(request, response);
      if (status) response.writeHead(status, headers).end(text);
    });
    this.server.on('connection', () => (this.connections += 1));
  }

  async #respond(request, response) {
    const { headers, url } = request;
    this.requests.push(`${request.method} ${url}`);
    const text = (await request.setEncoding('utf8').toArray()).join('');
    const method = Object.keys(FIELDS).find((name) => url === `${this.path}/${name}`);
    if (request.method !== 'POST' || !method) return { status: 404 };
    if (this.token && !isSame(headers.authorization ?? '', `Bearer ${this.token}`)) return { status: 401 };
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return { status: 422 };
    }
    const unknown = unknownFields(method, message);
    if (unknown.length > 0) return { status: 500, text: `unknown fields: ${unknown.join(', ')}` };
    try {
      const answer = await this.answer(method, metadataOf(headers), message, { headers, text, response });
      return answer === DONE ? {} : { status: 200, text: JSON.stringify(this.encode(answer)) };
    } catch (error) {
      if (error instanceof Refusal) return error;
      return { status: 500, text: String(error) };
    }
  }

  /** Listens; at a port it had before, if that is given. */
  async open(port = 0) {
    this.server.listen(port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = this.server.address().port;
    return this;
  }

  /** Ends at once, with every connection. */
  close() {
    this.server.close();
    this.server.closeAllConnections();
  }

  /** What a broker's `--rpc-host` is. */
  get host() {
    return `${this.scheme}://127.0.0.1:${this.port}${this.path}`;
  }
}
