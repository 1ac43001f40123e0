// What an idle connection costs: opens many, each subscribed to a room and present in it, and reads
// the broker's memory and CPU time from /proc.
//
//   target/release/broker --port 8080 &
//   node scripts/idle-memory.mjs --pid $! --port 8080 --connections 10000
//
// With --events they are streams of server-sent events rather than WebSockets.
//
// Loopback only; stops by itself. Needs an open-file limit above the number of connections.

import { readFileSync } from 'node:fs';
import net from 'node:net';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    pid: { type: 'string' },
    port: { type: 'string', default: '8080' },
    connections: { type: 'string', default: '10000' },
    room: { type: 'string', default: '10' },
    idle: { type: 'string', default: '15' },
    events: { type: 'boolean', default: false },
  },
});
const [port, connections, room, idle] = ['port', 'connections', 'room', 'idle'].map((k) => Number(values[k]));

/** The broker's resident memory, in bytes. */
const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${values.pid}/status`, 'utf8'))[1]) * 1024;

/** The CPU time it has used, in seconds: user and system, 100 ticks a second. */
function cpu() {
  const fields = readFileSync(`/proc/${values.pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const pass = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** A client's text frame; the mask is zero, so the payload stays as it is. */
function frame(value) {
  const payload = Buffer.from(JSON.stringify(value));
  const header = Buffer.from([0x81, 0x80 | 126, payload.length >> 8, payload.length & 0xff, 0, 0, 0, 0]);
  return Buffer.concat([header, payload]);
}

/** What a WebSocket client sends to be present. */
function overWebSocket(stream, { id, info }) {
  const identifier = JSON.stringify({ channel: '$pubsub', stream_name: stream });
  const handshake =
    'GET /cable HTTP/1.1\r\nHost: broker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
  return Buffer.concat([
    Buffer.from(handshake),
    frame({ command: 'subscribe', identifier, presence: { id, info } }),
  ]);
}

/** What a reader of events sends. */
function overEvents(stream, { id, info }) {
  const query = new URLSearchParams({ stream, presence_id: id, presence_info: JSON.stringify(info) });
  return `GET /events?${query} HTTP/1.1\r\nHost: broker\r\nAccept: text/event-stream\r\n\r\n`;
}

/** Opens a connection and resolves once it has joined. */
function join(number) {
  const stream = `room/${Math.floor(number / room)}`;
  const presence = { id: `user-${number}`, info: { name: `User ${number}` } };
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: '127.0.0.1', localAddress: `127.0.0.${2 + (number % 4)}` });
    socket.write(values.events ? overEvents(stream, presence) : overWebSocket(stream, presence));
    let heard = '';
    socket.on('data', (data) => {
      if (heard === undefined) return;
      heard += data;
      if (!heard.includes(`"id":"user-${number}"`)) return;
      heard = undefined;
      resolve();
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`connection ${number} was closed`)));
  });
}

const before = { memory: memory(), cpu: cpu() };
for (let number = 0; number < connections; number += 200) {
  const batch = Math.min(200, connections - number);
  await Promise.all(Array.from({ length: batch }, (_, k) => join(number + k)));
}
const connected = cpu();
await pass(3);
const settled = { memory: memory(), cpu: cpu() };
await pass(idle);
const cpuIdle = cpu() - settled.cpu;

console.log(`${connections} connections, subscribed and joined, rooms of ${room}`);
console.log(`memory   ${Math.round((settled.memory - before.memory) / connections)} bytes a connection`);
console.log(`connect  ${(((connected - before.cpu) * 1e6) / connections).toFixed(1)} µs of CPU each: handshake, subscribe, join, and telling the room`);
console.log(`idle     ${((cpuIdle / idle) * 100).toFixed(1)} % of one core`);
process.exit(0);
