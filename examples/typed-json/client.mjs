// A terminal for typed JSON: each line you write is sent, each message is a line. No dependencies,
// Node.js 22 or newer (it has a WebSocket of its own).
//
//   node client.mjs [ws://127.0.0.1:8080/] [user]
//
// With a user it joins as such. The line `/list` asks who is there, `/leave` leaves.

import { createInterface } from 'node:readline';

const [url = 'ws://127.0.0.1:8080/', user] = process.argv.slice(2);
if (typeof WebSocket === 'undefined') {
  console.error(`This needs Node.js 22 or newer, or node --experimental-websocket; here is ${process.version}.`);
  process.exit(1);
}

const socket = new WebSocket(url);
const send = (type, payload) => socket.send(JSON.stringify({ type, payload }));
const lines = createInterface({ input: process.stdin });

socket.onopen = () => {
  if (user) send('presence.join', { user });
  lines.on('line', (line) => {
    if (line === '/list') send('presence.list', {});
    else if (line === '/leave') send('presence.leave', { user });
    else if (line.trim()) socket.send(line);
  });
  lines.once('close', () => socket.close());
};
socket.onmessage = ({ data }) => console.log(data);
socket.onerror = () => {
  console.error(`${url} can't be reached: does the broker run, and is that its port?`);
  process.exitCode = 1;
};
socket.onclose = () => lines.close();
