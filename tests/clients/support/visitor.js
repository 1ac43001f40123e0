// A client in its own process: node visitor.js URL STREAM PRESENCE_ID. Says "present", then idles.

import { Socket } from './socket.js';

const [url, stream, id] = process.argv.slice(2);
const socket = await (await Socket.open(url)).welcome();
const identifier = await socket.subscribe(stream);
socket.join(identifier, id, {});
await socket.hearsPresence(identifier, 'join');
console.log('present');
