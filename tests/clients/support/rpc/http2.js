// The application over gRPC by hand, on node:http2, for what a gRPC server doesn't do by itself: faults of HTTP/2 and of
// the framing, for `Http2Application.meet`.

import { constants, createServer } from 'node:http2';
import { once } from 'node:events';
import { status } from '@grpc/grpc-js';
import { RPC } from './grpc.js';
import { DONE, Refusal, Service } from './service.js';

const { NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants;
const METHODS = Object.fromEntries(Object.values(RPC.service).map((method) => [method.path, method]));
const HEAD = { ':status': 200, 'content-type': 'application/grpc' };

/** A message with its prefix: whether it is compressed, and its length. */
function framed(bytes, { flag = 0, length = bytes.length } = {}) {
  const prefix = Buffer.from([flag, 0, 0, 0, 0]);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, bytes]);
}

/** An answer: its chunks, then its trailers. */
function respond(stream, chunks, trailers) {
  stream.respond(HEAD, { waitForTrailers: true });
  stream.once('wantTrailers', () => stream.sendTrailers(trailers));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
}

/**
 * GOAWAY that leaves this call out: it surely didn't run. Then the connection ends. It has to have had another call before: for
 * 0 Node says the last one's number. With `last`, the greatest number of those that did run; more than the call's own
 * (`Infinity`) says that it may run, and the answer comes.
 */
export function goaway({ last } = {}) {
  return async (run, { stream }) => {
    const { session } = stream;
    session.goaway(NGHTTP2_NO_ERROR, Math.min(last ?? stream.id - 2, 2 ** 31 - 1));
    if (last >= stream.id) {
      const answer = await run();
      stream.once('close', () => session.close());
      return answer;
    }
    setImmediate(() => session.destroy());
    return DONE;
  };
}

/** RST_STREAM: REFUSED_STREAM says that it didn't run, another code nothing. With `after` it did. */
export function reset({ code = NGHTTP2_REFUSED_STREAM, after = false } = {}) {
  return async (run, { stream }) => {
    if (after) await run();
    stream.close(code);
    return DONE;
  };
}

/** The connection ends, with everything that is asked over it; with `after`, when the command has run. */
export function cut({ after = false } = {}) {
  return async (run, { stream }) => {
    if (after) await run();
    stream.session.destroy();
    return DONE;
  };
}

/** What may come instead of an answer, by what is wrong with it: a function of the stream and the answer's bytes. */
export const ANSWERS = {
  'a head alone, with the status': (stream) => {
    stream.respond({ ...HEAD, 'grpc-status': '13', 'grpc-message': 'no%20luck' }, { endStream: true });
  },
  'HTTP 503': (stream) => stream.respond({ ':status': 503, 'content-type': 'text/html' }, { endStream: true }),
  'HTML': (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'text/html' });
    stream.end('<html></html>');
  },
  'no trailers': (stream, bytes) => {
    stream.respond(HEAD);
    stream.end(framed(bytes));
  },
  'no message': (stream) => respond(stream, [], { 'grpc-status': '0' }),
  'two messages': (stream, bytes) => respond(stream, [framed(bytes), framed(bytes)], { 'grpc-status': '0' }),
  'half a message': (stream, bytes) => respond(stream, [framed(bytes).subarray(0, -1)], { 'grpc-status': '0' }),
  'a compressed message': (stream, bytes) => respond(stream, [framed(bytes, { flag: 1 })], { 'grpc-status': '0' }),
  'a message of 4 GiB, announced': (stream, bytes) => {
    respond(stream, [framed(bytes, { length: 2 ** 32 - 1 })], { 'grpc-status': '0' });
  },
  'bytes that are no message': (stream) => respond(stream, [framed(Buffer.from([0xff, 0xff, 0xff]))], { 'grpc-status': '0' }),
  'a status that is no number': (stream, bytes) => respond(stream, [framed(bytes)], { 'grpc-status': 'fine' }),
};

/** An answer of that list. */
export function reply(what) {
  return async (run, { stream, encode }) => {
    ANSWERS[what](stream, encode(await run()));
    return DONE;
  };
}

/** The answer, a byte at a time: nothing is wrong with it. */
export function crumbs() {
  return async (run, { stream, encode }) => {
    const bytes = framed(encode(await run()));
    respond(stream, [...bytes].map((byte) => Buffer.from([byte])), { 'grpc-status': '0' });
    return DONE;
  };
}

export class Http2Application extends Service {
  /** How many connections there have been. */
  connections = 0;
  #sessions = new Set();

  /** `settings` are those of HTTP/2, `maxConcurrentStreams` among them. */
  constructor({ settings } = {}) {
    super();
    this.server = createServer({ settings });
    this.server.on('session', (session) => {
      this.connections += 1;
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
    this.server.on('stream', (stream, headers) => {
      stream.on('error', () => {}); // the broker may go
      this.#serve(stream, headers);
    });
  }

  async #serve(stream, headers) {
    const method = METHODS[headers[':path']];
    const bytes = Buffer.concat(await stream.toArray());
    if (!method) return respond(stream, [], { 'grpc-status': String(status.UNIMPLEMENTED) });
    const name = method.originalName;
    const encode = method.responseSerialize;
    const more = { headers, stream, encode };
    try {
      const answer = await this.answer(name, headers, method.requestDeserialize(bytes.subarray(5)), more);
      if (answer !== DONE) respond(stream, [framed(encode(answer))], { 'grpc-status': '0' });
    } catch (error) {
      const code = error instanceof Refusal ? status[error.code] : status.UNKNOWN;
      respond(stream, [], { 'grpc-status': String(code), 'grpc-message': encodeURIComponent(error.message) });
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
    for (const session of this.#sessions) session.destroy();
  }

  /** What a broker's `--rpc-host` is. */
  get host() {
    return `127.0.0.1:${this.port}`;
  }
}
