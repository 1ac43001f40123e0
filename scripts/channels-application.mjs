// An application that answers at once, in the sizes that Rails' does: of `channels.mjs`. It speaks HTTP/1.1 or gRPC, by hand.
//
//   node scripts/channels-application.mjs http|grpc MILLISECONDS
//
// A Connect takes so many milliseconds. On SIGUSR2 it says how full 25 places of Connects were.

import http from 'node:http';
import http2 from 'node:http2';

const [transport, delay] = [process.argv[2], Number(process.argv[3])];
const USER = JSON.stringify({ current_user: 'Z2lkOi8vYXBwL1VzZXIvMTIzNDU2Nzg5' });

/** What a method answers, from the text of its request, whatever that is encoded in. */
function answer(method, text) {
  if (method === 'connect') return { identifiers: USER, transmissions: ['{"type":"welcome"}'], env: { cstate: { _s_: '{"id":1}' } } };
  if (method === 'disconnect') return {};
  const [identifier] = /\{\\?"channel\\?":.*?\}/.exec(text);
  const own = identifier.replaceAll('\\', '');
  const quoted = JSON.stringify(own);
  if (text.includes('subscribe')) {
    const name = /"id":"?([^"}]*)/.exec(own)[1];
    return { streams: [name], transmissions: [`{"type":"confirm_subscription","identifier":${quoted}}`], env: { istate: { $w: name } } };
  }
  return { transmissions: [`{"identifier":${quoted},"message":"done"}`] };
}

/** Protobuf's bytes of a field: a text or bytes. */
function field(number, value) {
  const bytes = Buffer.from(value);
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7];
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}

const map = (number, entries = {}) =>
  Object.entries(entries).map(([key, value]) => field(number, Buffer.concat([field(1, key), field(2, value)])));

function encode(method, { identifiers, transmissions = [], streams = [], env = {} }) {
  const state = Buffer.concat([...map(1, env.cstate), ...map(2, env.istate)]);
  const own =
    method === 'connect'
      ? [field(2, identifiers), ...transmissions.map((it) => field(3, it))]
      : [...streams.map((it) => field(4, it)), ...transmissions.map((it) => field(5, it))];
  const message = Buffer.concat([Buffer.from([8, 1]), ...(method === 'disconnect' ? [] : own)]);
  const with_env = state.length > 0 ? Buffer.concat([message, field(method === 'connect' ? 5 : 7, state)]) : message;
  const head = Buffer.alloc(5);
  head.writeUInt32BE(with_env.length, 1);
  return Buffer.concat([head, with_env]);
}

/** How full the places are over time. */
const places = { now: 0, since: 0, first: 0, last: 0, full: 0, sum: 0, taken: 0, count: 0 };

function change(by) {
  const now = performance.now();
  if (places.first === 0) places.first = now;
  else {
    const passed = now - places.since;
    places.sum += passed * places.now;
    if (places.now >= 25) places.full += passed;
  }
  places.now += by;
  places.since = now;
  places.last = now;
}

async function serve(method, text) {
  if (method === 'connect' && delay > 0) {
    const began = performance.now();
    change(1);
    await new Promise((resolve) => setTimeout(resolve, delay));
    change(-1);
    places.taken += performance.now() - began;
    places.count += 1;
  }
  return answer(method, text);
}

process.on('SIGUSR2', () => {
  const time = places.last - places.first;
  const { full, sum, taken, count } = places;
  console.log(JSON.stringify({ full: full / time, mean: sum / time, service: taken / count }));
});

/** What the gem writes. */
const EMPTY = { status: 'SUCCESS', disconnect: false, stop_streams: false, streams: [], transmissions: [], error_msg: '', stopped_streams: [] };

const server =
  transport === 'http'
    ? http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
        let text = '';
        request.setEncoding('utf8').on('data', (data) => (text += data));
        request.on('end', async () => {
          const body = JSON.stringify({ ...EMPTY, ...(await serve(request.url.slice(1), text)) });
          response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
          response.end(body);
        });
      })
    : http2.createServer().on('stream', (stream, headers) => {
        const method = headers[':path'].split('/')[2].toLowerCase();
        let text = '';
        stream.setEncoding('latin1').on('data', (data) => (text += data));
        stream.on('end', async () => {
          const message = encode(method, await serve(method, text));
          stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
          stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
          stream.end(message);
        });
      });

server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
