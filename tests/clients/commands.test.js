// Whispers, and commands that make no sense.

import assert from 'node:assert/strict';
import { scenario } from './support/scenario.js';

scenario('a whisper reaches every other subscriber and not the one who whispers', {}, async (s) => {
  const [ann, identifier] = await s.subscriber('room');
  const [bob] = await s.subscriber('room');
  const [cid] = await s.subscriber('room');
  const [dan] = await s.subscriber('elsewhere');
  ann.whisper(identifier, { typing: true });
  for (const other of [bob, cid]) {
    const heard = await other.hears({ message: { typing: true } });
    assert.deepEqual(heard, { identifier, message: { typing: true } });
  }
  await ann.settle(identifier);
  await dan.settle();
  ann.hearsNothing();
  dan.hearsNothing();
});

scenario('a whisper passes through byte for byte', {}, async (s) => {
  const [ann, identifier] = await s.subscriber('room');
  const [bob] = await s.subscriber('room');
  const data = '{ "n": 9007199254740993,\n"u" :"\\u00e9\\/", "f":1.50, "n": 2 }';
  ann.send(`{"command":"whisper","identifier":${JSON.stringify(identifier)},"data":${data}}`);
  const { raw } = await bob.hears({ identifier });
  assert.ok(raw.includes(data), raw);
});

for (const data of ['text', 0, false, [1, [2]], {}]) {
  scenario(`a whisper may be ${JSON.stringify(data)}`, {}, async (s) => {
    const [ann, identifier] = await s.subscriber('room');
    const [bob] = await s.subscriber('room');
    ann.whisper(identifier, data);
    assert.deepEqual(await bob.hears({ identifier }), { identifier, message: data });
  });
}

scenario('whispers of one client arrive in the order they were sent', {}, async (s) => {
  const [ann, identifier] = await s.subscriber('room');
  const [bob] = await s.subscriber('room');
  for (let n = 0; n < 200; n += 1) ann.whisper(identifier, n);
  await bob.hears({ message: 199 });
  const heard = bob.transcript.slice(2).map((text) => JSON.parse(text).message);
  assert.deepEqual(heard, Array.from({ length: 200 }, (_, n) => n));
});

scenario('a whisper to a stream the client does not follow is refused', {}, async (s) => {
  const [bob, identifier] = await s.subscriber('room');
  const ann = await s.socket();
  ann.whisper(identifier, 1);
  await refusal(ann, ['whisper']);
  await bob.settle(identifier);
  bob.hearsNothing();
});

scenario('an action for a backend is refused: there is none', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  socket.send({ command: 'message', identifier, data: '{"action":"speak"}' });
  await refusal(socket, ['message']);
  await s.http.publish('room', 1);
  await socket.hears({ identifier, message: 1 });
});

for (const [text, ...commands] of [
  ['hello', 'unknown'],
  ['', 'unknown'],
  [' ', 'unknown'],
  ['null', 'unknown'],
  ['42', 'unknown'],
  ['"subscribe"', 'unknown'],
  ['[]', 'unknown'],
  ['["1","1","room:lobby","phx_join",{}]', 'unknown'],
  ['{}', 'unknown'],
  ['{"command":', 'unknown'],
  ['{"command":"ping"', 'unknown'],
  ['{"command":"ping"}}', 'unknown'],
  ['{"command":"fly"}', 'unknown'],
  ['{"command":null}', 'unknown'],
  ['{"command":42}', 'unknown'],
  ['{"command":["subscribe"]}', 'unknown'],
  ["{'command':'ping'}", 'unknown'],
  ['{"command":"subscribe"}', 'subscribe', 'unknown'],
  ['{"command":"subscribe","identifier":42}', 'subscribe', 'unknown'],
  ['{"command":"subscribe","identifier":{"channel":"$pubsub"}}', 'subscribe', 'unknown'],
  ['{"command":"subscribe","identifier":"\\ud800"}', 'subscribe', 'unknown'],
  ['{"command":"unsubscribe"}', 'unsubscribe', 'unknown'],
  ['{"command":"join"}', 'join', 'unknown'],
  ['{"command":"leave","identifier":null}', 'leave', 'unknown'],
  ['{"command":"presence","identifier":[]}', 'presence', 'unknown'],
  ['{"command":"history"}', 'history', 'unknown'],
  ['{"command":"whisper","data":1}', 'whisper', 'unknown'],
  ['{"command":"message"}', 'message', 'unknown'],
  [`{"command":"fly","x":${'['.repeat(20000)}}`, 'unknown'],
  ['\u0000', 'unknown'],
  ['\ufeff{"command":"ping"}', 'unknown'],
]) {
  const shown = text.length > 60 ? `${text.slice(0, 40)}…` : text;
  scenario(`the frame «${shown}» gets an error that stock clients drop`, {}, async (s) => {
    const [socket, identifier] = await s.subscriber('room');
    const [bystander] = await s.subscriber('room');
    socket.send(text);
    await refusal(socket, commands);
    await s.http.publish('room', 1);
    await socket.hears({ identifier, message: 1 });
    await bystander.hears({ identifier, message: 1 });
    bystander.hearsNothing();
  });
}

scenario('a command that is nested very deeply costs nobody anything', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  const [bystander] = await s.subscriber('room');
  const deep = '['.repeat(15000) + ']'.repeat(15000);
  socket.send(`{"command":"whisper","identifier":${JSON.stringify(identifier)},"data":${deep}}`);
  socket.send(`{"command":"x","deep":${deep}}`);
  await socket.settle();
  await bystander.settle(identifier);
});

scenario('a hundred refused frames get a hundred answers', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  for (let n = 0; n < 100; n += 1) {
    socket.send('nonsense');
    socket.send({ command: 'leave', identifier });
  }
  for (let n = 0; n < 100; n += 1) {
    await refusal(socket, ['unknown']);
    await socket.hearsPresence(identifier, 'error');
  }
  await socket.settle(identifier);
  socket.hearsNothing();
});

/** Takes the error frame that answers one of these commands. */
async function refusal(socket, commands) {
  const error = await socket.hears({ type: 'error' });
  assert.deepEqual(Object.keys(error).sort(), ['command', 'identifier', 'reason', 'type'], error.raw);
  // nobody's: the Rails client hands such a frame to the subscriptions of its identifier
  assert.equal(error.identifier, '', error.raw);
  assert.ok(commands.includes(error.command), error.raw);
  assert.ok(typeof error.reason === 'string' && error.reason.length > 3, error.raw);
}
