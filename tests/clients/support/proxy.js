// A proxy that passes requests on and WebSockets not, as some offices have it.

import http from 'node:http';
import { listen } from './listening.js';

/** Starts one before the broker; `upgrade` does what it does to a WebSocket's handshake. */
export async function proxyTo(s, upgrade) {
  const sockets = new Set();
  const server = http.createServer((request, response) => {
    const { url: path, method, headers } = request;
    const on = http.request({ host: '127.0.0.1', port: s.broker.port, path, method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    on.on('error', () => response.destroy());
    response.on('close', () => on.destroy());
    request.pipe(on);
  });
  server.on('upgrade', (request, socket) => upgrade(socket));
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  return `ws://127.0.0.1:${await listen(s, server, sockets)}`;
}
