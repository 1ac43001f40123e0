// A room of many members at little cost: their connections have ended, their TTL runs.

import { identify } from './socket.js';

/** Makes that many members, twenty to a connection; the broker's TTL has to be long. */
export async function crowd(s, stream, members, info = {}) {
  for (let first = 0; first < members; first += 20) {
    const socket = await s.socket();
    const last = Math.min(first + 20, members);
    let identifier;
    for (let n = first; n < last; n += 1) {
      identifier = identify(stream, { n });
      socket.send({ command: 'subscribe', identifier, presence: { id: `user-${n}`, info } });
    }
    await socket.settle(identifier);
    socket.terminate();
  }
}
