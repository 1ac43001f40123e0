// Thousands of clients in a process of their own, with little more than the system needs for each:
// node thousands.js PORT. Does what it is told by messages, one after the other, and answers each.

import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { identify } from './socket.js';
import { CLOSE, TEXT, frame, handshake } from './wire.js';

/** How many are on their way in at a time: fewer than the kernel holds for the broker. */
const AT_A_TIME = 250;

const port = Number(process.argv[2]);
const request = handshake(`127.0.0.1:${port}`);
const goodbye = frame(CLOSE, Buffer.from([3, 232]));
/** What comes in is looked at by nobody, and all of it goes here. */
const buffer = Buffer.alloc(64 * 1024);

/** Who is connected. */
let sockets = new Set();

/** Ways to go. */
const ENDINGS = {
  reset: (socket) => socket.resetAndDestroy(),
  fin: (socket) => socket.end(),
  close: (socket) => socket.end(goodbye),
  cut: (socket) => socket.write(goodbye.subarray(0, 3), () => socket.resetAndDestroy()),
};

/** Connects one client that joins a stream; resolves when the broker has answered anything. */
function enter({ stream, id }) {
  return new Promise((resolve, reject) => {
    const presence = { id, info: {} };
    const command = { command: 'subscribe', identifier: identify(stream), presence };
    const onread = { buffer, callback: () => (resolve(socket), true) };
    const socket = connect({ port, host: '127.0.0.1', onread });
    sockets.add(socket);
    socket.once('error', reject);
    socket.once('close', () => {
      sockets.delete(socket);
      reject(new Error('the broker closed a connection that had just come'));
    });
    socket.write(Buffer.concat([Buffer.from(request), frame(TEXT, JSON.stringify(command))]));
  });
}

/** Does something with each, so many at a time. */
async function each(all, act) {
  const rest = all.values();
  const one = async () => {
    for (const item of rest) await act(item);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, one));
}

/** `count` members, ten to a room, each under an id of its own, with a way to go. */
function* members({ count, round }) {
  const endings = Object.keys(ENDINGS);
  for (let n = 0; n < count; n += 1) {
    const how = endings[n % endings.length];
    yield { stream: `crowd/${Math.floor(n / 10)}`, id: `${round}-${n}`, how };
  }
}

const ORDERS = {
  /** All come in. */
  enter: (order) => each([...members(order)], enter),
  /** All go at once. */
  leave({ how }) {
    for (const socket of sockets) ENDINGS[how](socket);
  },
  /** All come in, and each goes as soon as it is in, in one way or another. */
  visit: (order) =>
    each([...members(order)], async (member) => {
      ENDINGS[member.how](await enter(member));
    }),
  /** How many files this process may open. */
  files: () => Number(readFileSync('/proc/self/limits', 'utf8').match(/^Max open files\s+(\d+)/m)[1]),
};

process.on('message', async (order) => {
  try {
    process.send({ answer: await ORDERS[order.what](order) });
  } catch (error) {
    process.send({ error: error.stack });
  }
});
