// A server that a scenario closes at its end, with all of its sockets.

import { once } from 'node:events';

/** Listens on a port of its own; gives the port. */
export async function listen(s, server, sockets) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  s.cleanup(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return server.address().port;
}
