// The application over gRPC, with a server that people use: npm @grpc/grpc-js.

import { Metadata, Server, ServerCredentials, loadPackageDefinition, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { fileURLToPath } from 'node:url';
import { Refusal, Service } from './service.js';

const PROTO = fileURLToPath(new URL('../../../../src/app/rpc/rpc.proto', import.meta.url));
/** The contract: its methods with their names, paths and codecs. */
export const { RPC } = loadPackageDefinition(loadSync(PROTO, { keepCase: true })).anycable;

export class GrpcApplication extends Service {
  /** All connections, as `address:port` of the other side, in the order of their first call. */
  peers = new Set();

  /**
   * With a `certificate` it speaks TLS. `connectionAge` is how old a connection gets, in ms, before the server says GOAWAY,
   * as the gem's does; what has been asked by then has `grace` ms for its answer.
   */
  constructor({ certificate, connectionAge, grace = 5000 } = {}) {
    super();
    const pair = certificate && {
      private_key: Buffer.from(certificate.key),
      cert_chain: Buffer.from(certificate.cert),
    };
    this.credentials = pair ? ServerCredentials.createSsl(null, [pair]) : ServerCredentials.createInsecure();
    this.options = connectionAge
      ? { 'grpc.max_connection_age_ms': connectionAge, 'grpc.max_connection_age_grace_ms': grace }
      : {};
  }

  #method(name) {
    return async (call, callback) => {
      this.peers.add(call.getPeer());
      try {
        callback(null, await this.answer(name, call.metadata.getMap(), call.request, { peer: call.getPeer() }));
      } catch (error) {
        const code = error instanceof Refusal ? status[error.code] : status.UNKNOWN;
        callback({ code, details: error.message, metadata: new Metadata() });
      }
    };
  }

  /** Listens; at a port it had before, if that is given. */
  async open(port = 0) {
    this.server = new Server(this.options);
    this.server.addService(RPC.service, {
      Connect: this.#method('connect'),
      Command: this.#method('command'),
      Disconnect: this.#method('disconnect'),
    });
    this.port = await new Promise((resolve, reject) => {
      const done = (error, bound) => (error ? reject(error) : resolve(bound));
      this.server.bindAsync(`127.0.0.1:${port}`, this.credentials, done);
    });
    return this;
  }

  /** Takes no more calls, says GOAWAY, and ends when those under way are answered. */
  drain() {
    return new Promise((resolve) => this.server.tryShutdown(resolve));
  }

  /** Ends at once, with every connection. */
  close() {
    this.server.forceShutdown();
  }

  /** What a broker's `--rpc-host` is. */
  get host() {
    return `127.0.0.1:${this.port}`;
  }
}
