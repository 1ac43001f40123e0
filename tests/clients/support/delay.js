// A TCP proxy before the broker that passes everything on, but what the broker says later: a slow line.

import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { listen } from './listening.js';

/** How much later, in ms, is `delay`; it may be changed, and what is under way comes first. */
export async function slowLine(s, delay = 0) {
  const line = { delay };
  const sockets = new Set();
  const server = createServer((near) => {
    const far = connect(s.broker.port, '127.0.0.1');
    let before = Promise.resolve();
    const later = (pass) => {
      const due = performance.now() + line.delay;
      before = before.then(() => sleep(Math.max(0, due - performance.now()))).then(pass);
    };
    far.on('data', (bytes) => later(() => near.write(bytes)));
    far.on('close', () => later(() => near.destroy()));
    near.on('data', (bytes) => far.write(bytes));
    near.on('close', () => far.destroy());
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', () => {});
      sockets.add(socket);
    }
  });
  line.url = `ws://127.0.0.1:${await listen(s, server, sockets)}/cable`;
  return line;
}
