// The application over gRPC with the server of Rails applications: Ruby's gem `grpc`, which answers RESOURCE_EXHAUSTED when
// its threads are busy, ends connections by age, and forbids pings that come too often. It is a process of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { status } from '@grpc/grpc-js';
import { BEGINNING, within } from '../patience.js';
import { RPC } from './grpc.js';
import { Refusal, Service } from './service.js';

const SCRIPT = fileURLToPath(new URL('./gem.rb', import.meta.url));

export class GemApplication extends Service {
  /**
   * So many `threads` answer at the same time, and no call waits for one of them; `connectionAge` is how old a connection gets,
   * in ms, before the server says GOAWAY. The defaults are the gem `anycable`'s.
   */
  constructor({ threads = 30, connectionAge = 300_000 } = {}) {
    super();
    this.options = {
      pool_size: threads,
      pool_keep_alive: 0.25,
      poll_period: 1,
      server_args: {
        'grpc.max_connection_age_ms': connectionAge,
        'grpc.keepalive_permit_without_calls': 1,
        'grpc.http2.min_ping_interval_without_data_ms': 10_000,
      },
    };
  }

  /** Listens; at a port it had before, if that is given. */
  async open(port = 0) {
    const child = spawn('ruby', [SCRIPT, JSON.stringify(this.options)], {
      env: { ...process.env, PORT: String(port) },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    child.stdin.on('error', () => {}); // it may have ended
    this.child = child;
    const lines = createInterface({ input: child.stdout });
    const failed = once(child, 'exit').then(([code]) => Promise.reject(new Error(`ruby exited with ${code}`)));
    failed.catch(() => {});
    const [first] = await within(Promise.race([once(lines, 'line'), failed]), 'the server in Ruby', BEGINNING);
    this.port = JSON.parse(first).port;
    lines.on('line', (line) => this.#serve(JSON.parse(line), child));
    return this;
  }

  async #serve({ id, method, metadata, message }, child) {
    const say = (answer) => child.stdin.write(`${JSON.stringify({ id, ...answer })}\n`);
    const { requestDeserialize, responseSerialize } = Object.values(RPC.service).find(
      ({ originalName }) => originalName === method,
    );
    try {
      const answer = await this.answer(method, metadata, requestDeserialize(Buffer.from(message, 'base64')));
      say({ message: responseSerialize(answer).toString('base64') });
    } catch (error) {
      say({ code: error instanceof Refusal ? status[error.code] : status.UNKNOWN, details: error.message });
    }
  }

  /** Ends at once, with every connection. */
  close() {
    this.child.kill('SIGKILL');
  }

  /** What a broker's `--rpc-host` is. */
  get host() {
    return `127.0.0.1:${this.port}`;
  }
}
