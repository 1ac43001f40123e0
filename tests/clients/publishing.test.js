// Publishing over HTTP: what arrives, what is refused, who may.

import assert from 'node:assert/strict';
import { cableTo, follow, next } from './support/anycable.js';
import { freePort } from './support/broker.js';
import { chatterIn } from './support/chat.js';
import { eventsIn } from './support/events.js';
import { Http } from './support/http.js';
import { Inbox } from './support/patience.js';
import { phoenixIn } from './support/phoenix.js';
import { consumerOf } from './support/rails.js';
import { scenario } from './support/scenario.js';
import { identify } from './support/socket.js';
import { typedTo } from './support/typed.js';

const ENDPOINTS = ['/_broadcast', '/api/publish'];

for (const path of ENDPOINTS) {
  scenario(`what is posted to ${path} reaches the stream's subscribers`, {}, async (s) => {
    const [ann, identifier] = await s.subscriber('room/1');
    const [bob] = await s.subscriber('room/1');
    const [cid] = await s.subscriber('room/2');
    const answer = await s.http.post(path, { stream: 'room/1', data: '{"n":1}' });
    assert.equal(answer.status, 201);
    for (const socket of [ann, bob]) {
      assert.deepEqual((await socket.hears({ identifier })).message, { n: 1 });
    }
    await cid.settle();
    cid.hearsNothing();
  });

  scenario(`a batch posted to ${path} is published in its order`, {}, async (s) => {
    const [socket, identifier] = await s.subscriber('room');
    const other = await socket.subscribe('other');
    const batch = Array.from({ length: 100 }, (_, n) => ({
      stream: n % 10 === 9 ? 'other' : 'room',
      data: String(n),
    }));
    assert.equal((await s.http.post(path, batch)).status, 201);
    await socket.hears({ message: 98 });
    await socket.hears({ message: 99 });
    const heard = socket.transcript.slice(3).map((text) => JSON.parse(text));
    for (const stream of [identifier, other]) {
      const numbers = heard.filter((frame) => frame.identifier === stream).map((f) => f.message);
      assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
    }
    assert.equal(heard.length, 100);
  });
}

scenario('publishing to a stream nobody follows is accepted', {}, async (s) => {
  await s.http.publish('nobody', 1);
});

scenario('publications of one publisher arrive in the order they were accepted', {}, async (s) => {
  const [socket] = await s.subscriber('room');
  for (let n = 0; n < 100; n += 1) await s.http.publish('room', n);
  await socket.hears({ message: 99 });
  const heard = socket.transcript.slice(2).map((text) => JSON.parse(text).message);
  assert.deepEqual(heard, Array.from({ length: 100 }, (_, n) => n));
});

scenario('every subscriber hears publications of many publishers in one order', {}, async (s) => {
  const sockets = await Promise.all(Array.from({ length: 5 }, () => s.subscriber('room')));
  await Promise.all(Array.from({ length: 200 }, (_, n) => s.http.publish('room', n)));
  const heard = [];
  for (const [socket, identifier] of sockets) {
    await socket.settle(identifier);
    heard.push(socket.transcript.slice(2, -1));
  }
  assert.equal(heard[0].length, 200);
  for (const other of heard) assert.deepEqual(other, heard[0]);
});

for (const [what, data] of [
  ['an integer that no double holds', '{"n":9007199254740993}'],
  ['numbers in any spelling', '[1.0,1e5,1E+5,-0,0.1000,123456789012345678901234567890]'],
  ['escapes in any spelling', '"\\u00e9\\/\\n\\ud83d\\ude00 é 😀"'],
  ['whitespace', ' { "a" : 1 ,\n\t"b" : [ ] }\r\n'],
  ['keys twice and in any order', '{"b":1,"a":2,"b":3}'],
  ['keys that look like the protocol', '{"type":"ping","identifier":"x","message":"y"}'],
  ['a line separator of Unicode', '"\u2028\u2029"'],
  ['an empty string', '""'],
]) {
  scenario(`a payload passes through byte for byte: ${what}`, {}, async (s) => {
    const [socket, identifier] = await s.subscriber('room');
    await s.http.publishText('room', data);
    const { raw } = await socket.hears({ identifier });
    assert.ok(raw.includes(`"message":${data.trim()}`) || raw.includes(data), raw);
  });
}

for (const [what, data] of [
  ['plain text', 'hello "world"\n'],
  ['broken JSON', '{"a":'],
  ['two JSON values', '{} {}'],
  ['no JSON number', '01'],
  ['an empty payload', ''],
]) {
  scenario(`a payload that is not JSON arrives as a JSON string: ${what}`, {}, async (s) => {
    const [socket, identifier] = await s.subscriber('room');
    await s.http.publishText('room', data);
    assert.deepEqual((await socket.hears({ identifier })).message, data);
  });
}

for (const value of [null, false, 0]) {
  scenario(`the payload ${value} is a payload`, {}, async (s) => {
    const [socket, identifier] = await s.subscriber('room');
    await s.http.publish('room', value);
    assert.deepEqual((await socket.hears({ identifier })).message, value);
  });
}

scenario('exclude_socket spares the connection that caused the publication', {}, async (s) => {
  const [ann, identifier] = await s.subscriber('room');
  const [bob] = await s.subscriber('room');
  await s.http.publish('room', 1, { exclude_socket: ann.sid });
  await s.http.publish('room', 2, { exclude_socket: '0'.repeat(32) });
  await s.http.publish('room', 3, { exclude_socket: 'nobody' });
  await s.http.publish('room', 4, {});
  await ann.hears({ message: 4 });
  await bob.hears({ message: 4 });
  const numbers = (socket) => socket.transcript.slice(2).map((text) => JSON.parse(text).message);
  assert.deepEqual(numbers(ann), [2, 3, 4]);
  assert.deepEqual(numbers(bob), [1, 2, 3, 4]);
  assert.equal(ann.transcript[1], bob.transcript[1]);
  await ann.settle(identifier);
});

scenario('a transient publication is delivered live, without a position, and is not kept', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  await s.http.publish('room', 1);
  await s.http.publish('room', 2, { transient: true });
  await s.http.publish('room', 3, { transient: false });
  const first = await socket.hears({ message: 1 });
  assert.deepEqual(await socket.hears({ message: 2 }), { identifier, message: 2 });
  const { epoch, offset } = await socket.hears({ message: 3 });
  assert.deepEqual([epoch, offset], [first.epoch, 2], 'it takes no offset');
  const late = await s.socket();
  await late.subscribe('room', {}, { history: { since: 0 } });
  await late.hears({ type: 'confirm_history' });
  const told = late.transcript.map((text) => JSON.parse(text)).filter((frame) => frame.message);
  assert.deepEqual(told.map(({ message }) => message), [1, 3]);
});

scenario('a transient publication spares the excluded socket, and begins no stream', {}, async (s) => {
  await s.http.publish('room', 1, { transient: true });
  const [ann, identifier] = await s.subscriber('room');
  const [bob] = await s.subscriber('room');
  await s.http.publish('room', 2, { transient: true, exclude_socket: ann.sid });
  await bob.hears({ message: 2 });
  await ann.settle(identifier);
  ann.hearsNothing();
  await s.http.publish('room', 3);
  assert.equal((await ann.hears({ message: 3 })).offset, 1);
});

scenario('a transient publication has no id for readers of events, and no place among a room’s messages', {}, async (s) => {
  const events = await eventsIn(s, 'room');
  const ann = await chatterIn(s, 'room', 'ann');
  await s.http.publish('room', 'gone', { transient: true });
  await s.http.publish('room', 'kept');
  assert.equal((await events.hears({ data: 'gone' })).id, undefined);
  assert.ok((await events.hears({ data: 'kept' })).id);
  for (const content of ['gone', 'kept']) {
    assert.equal((await ann.hears({ type: 'message' })).data.content, content);
  }
  const { json } = await s.http.request('/api/rooms/room/messages');
  assert.deepEqual(json.map(({ content }) => content), ['kept']);
});

scenario('broadcast_type is the type of the frame, live and in the history', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  await s.http.publish('room', 1, { broadcast_type: 'say "hi"' });
  await s.http.publish('room', 2, { broadcast_type: '' });
  await s.http.publish('room', 3, { broadcast_type: 'x', transient: true });
  const first = await socket.hears({ message: 1 });
  assert.equal(first.type, 'say "hi"');
  assert.equal((await socket.hears({ message: 2 })).type, undefined);
  assert.deepEqual(await socket.hears({ message: 3 }), { identifier, type: 'x', message: 3 });
  const late = await s.socket();
  await late.subscribe('room', {}, { history: { since: 0 } });
  assert.deepEqual(await late.hears({ message: 1 }), first);
});

scenario('a publication with a type is one to every client', {}, async (s) => {
  const heard = next(await follow(cableTo(s), 'room'), 'message');
  const rails = new Inbox();
  consumerOf(s).subscriptions.create(JSON.parse(identify('room')), {
    connected: () => rails.put('connected'),
    received: (message) => rails.put(message),
  });
  await rails.take((it) => it === 'connected', 'the subscription');
  const [events, topic] = [await eventsIn(s, 'room'), await phoenixIn(s, 'room', 'ann')];
  const typed = await typedTo(s);
  await typed.join('bob', { room: 'room' });
  await s.http.publish('room', { n: 1 }, { broadcast_type: 'x', event: 'y' });
  assert.deepEqual(await heard, { n: 1 });
  await rails.take((it) => it.n === 1, 'the publication');
  assert.equal((await events.hears({ json: { n: 1 } })).event, undefined);
  assert.deepEqual(await topic.hears('y'), { n: 1 });
  assert.deepEqual((await typed.hears({ type: 'message' })).payload, { n: 1 });
});

const MALFORMED = [
  ['nothing', ''],
  ['no JSON', 'stream=room&data=1'],
  ['half a JSON', '{"stream":"room","data":"1"'],
  ['a number', '1'],
  ['an empty object', '{}'],
  ['no stream', '{"data":"1"}'],
  ['an empty stream', '{"stream":"","data":"1"}'],
  ['a stream that is a number', '{"stream":1,"data":"1"}'],
  ['no data', '{"stream":"room"}'],
  ['data that is no string', '{"stream":"room","data":{"n":1}}'],
  ['a type that clients know otherwise', '{"stream":"room","data":"1","meta":{"broadcast_type":"disconnect"}}'],
  ['a transient that is neither true nor false', '{"stream":"room","data":"1","meta":{"transient":1}}'],
  ['a meta that is no object', '{"stream":"room","data":"1","meta":7}'],
  ['an unknown command', '{"command":"explode","payload":{}}'],
  ['a batch with one bad element', '[{"stream":"room","data":"1"},{"stream":"room"}]'],
  ['a batch with an unknown command', '[{"stream":"room","data":"1"},{"command":"explode"}]'],
  ['a batch in a batch', '[[{"stream":"room","data":"1"}]]'],
  ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
];
for (const path of ENDPOINTS) {
  for (const [what, body] of MALFORMED) {
    scenario(`${path} refuses ${what} with a reason and publishes nothing`, {}, async (s) => {
      const [socket, identifier] = await s.subscriber('room');
      const answer = await s.http.request(path, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      });
      assert.equal(answer.status, 422, answer.text);
      assert.match(answer.headers.get('content-type'), /^application\/json\b/);
      assert.ok(answer.json?.error?.length > 3, answer.text);
      await socket.settle(identifier);
      socket.hearsNothing();
    });
  }
}

scenario('a refusal names the field and what to send instead', {}, async (s) => {
  for (const [body, reason] of [
    [{ stream: 'room', data: { n: 1 } }, '`data` is an object: send it as a string of JSON, such as "{\\"text\\":\\"hello\\"}"'],
    [{ stream: 7, data: '1' }, '`stream` is a number: send a string'],
    [{ stream: 'room', data: '1', meta: { transient: 'yes' } }, '`meta.transient` is a string: send true or false'],
  ]) {
    const { status, json } = await s.http.post('/_broadcast', body);
    assert.deepEqual([status, json.error], [422, reason]);
  }
});

scenario('a publication needs no content type', {}, async (s) => {
  const [socket] = await s.subscriber('room');
  const body = '{"stream":"room","data":"1"}';
  for (const headers of [{}, { 'content-type': 'text/plain' }, { 'content-type': 'x' }]) {
    const answer = await s.http.request('/_broadcast', { method: 'POST', body, headers });
    assert.equal(answer.status, 201);
    await socket.hears({ message: 1 });
  }
});

scenario('a body over its limit is refused, and the next one is not', { 'max-body-size': 2000 }, async (s) => {
  const [socket] = await s.subscriber('room');
  const data = JSON.stringify('x'.repeat(3000));
  const large = JSON.stringify({ stream: 'room', data });
  const answer = await s.http.post('/_broadcast', large);
  assert.equal(answer.status, 413);
  // A body whose length nobody announced.
  const body = new Blob([large]).stream();
  const streamed = await s.http.request('/_broadcast', { method: 'POST', body, duplex: 'half' });
  assert.equal(streamed.status, 413);
  await s.http.publish('room', 1);
  await socket.hears({ message: 1 });
  assert.equal(socket.transcript.length, 3);
});

scenario('a publication larger than a client may send is delivered whole', {}, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  const text = 'é✓'.repeat(100_000);
  await s.http.publish('room', { text });
  assert.equal((await socket.hears({ identifier })).message.text, text);
});

scenario('a remote disconnect is accepted', {}, async (s) => {
  const bystander = await s.socket();
  for (const path of ENDPOINTS) {
    const payload = { identifier: '{"user":1}', reconnect: false };
    const answer = await s.http.post(path, { command: 'disconnect', payload });
    assert.ok(answer.status >= 200 && answer.status < 300, `${path}: HTTP ${answer.status}`);
  }
  await bystander.settle();
});

scenario('405 says which methods the path takes', { examples: true, dashboard: true }, async (s) => {
  for (const [method, path, allowed] of [
    ['GET', '/_broadcast', 'POST'],
    ['PUT', '/_broadcast', 'POST'],
    ['DELETE', '/api/publish', 'POST'],
    ['POST', '/api/presence/room', 'GET'],
    ['POST', '/api/presence/room/ann', 'GET, PUT, DELETE'],
    ['POST', '/api/rooms/room/messages', 'GET, OPTIONS'],
    ['POST', '/health', 'GET, HEAD'],
    ['DELETE', '/metrics', 'GET'],
    ['POST', '/cable', 'GET'],
    ['POST', '/events', 'GET, OPTIONS'],
    ['PUT', '/socket/longpoll', 'GET, POST, OPTIONS'],
    ['POST', '/dashboard', 'GET, HEAD'],
    ['POST', '/examples/chat/', 'GET, HEAD'],
  ]) {
    const { status, headers, json } = await s.http.request(path, { method });
    const told = [status, headers.get('allow'), json.error];
    assert.deepEqual(told, [405, allowed, `this path takes ${allowed}, not ${method}`], path);
  }
  const list = await s.http.request('/api/presence/room/users', { method: 'POST' });
  assert.deepEqual([list.status, list.headers.get('allow')], [405, 'GET']);
});

for (const path of ['/nope', '/api', '/api/presence', '/api/presence/room/users/x', '/_broadcast/x']) {
  scenario(`${path} is answered with 404 in JSON`, {}, async (s) => {
    const answer = await s.http.request(path);
    assert.equal(answer.status, 404);
    assert.ok(answer.json?.error, answer.text);
  });
}

const KEYS = { 'broadcast-key': 'sesame', 'api-key': 'alibaba' };

for (const [who, key] of [
  ['without a key', undefined],
  ['with a wrong key', 'sesam'],
  ['with an empty key', ''],
  ['with the key of the API', 'alibaba'],
]) {
  scenario(`nobody broadcasts ${who} when there is one`, KEYS, async (s) => {
    const [socket, identifier] = await s.subscriber('room');
    const answer = await s.http.request('/_broadcast', {
      method: 'POST',
      body: '{"stream":"room","data":"1"}',
      headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
    });
    assert.equal(answer.status, 401);
    await socket.settle(identifier);
    socket.hearsNothing();
  });
}

scenario('a broadcast with its key is accepted', KEYS, async (s) => {
  const [socket] = await s.subscriber('room');
  await new Http(s.broker.origin, 'sesame').publish('room', 1);
  await socket.hears({ message: 1 });
});

scenario('a wrong key is refused before the body is looked at', KEYS, async (s) => {
  assert.equal((await s.http.post('/_broadcast', 'not JSON')).status, 401);
});

scenario('the API opens with its own key only', KEYS, async (s) => {
  const path = '/api/presence/room/users';
  for (const [key, status] of [[undefined, 401], ['sesame', 401], ['alibaba', 200]]) {
    assert.equal((await new Http(s.broker.origin, key).request(path)).status, status, key);
  }
  assert.equal((await s.http.post('/api/publish', { stream: 'room', data: '1' })).status, 401);
});

scenario('health and metrics need no key when there is no secret', KEYS, async (s) => {
  assert.equal((await s.http.request('/health')).status, 200);
  assert.equal((await s.http.request('/metrics')).status, 200);
});

scenario('API and metrics can have ports of their own, where no sockets are', {}, async (s) => {
  const [api, metrics] = [await freePort(), await freePort()];
  const { port } = await s.start({ 'api-port': api, 'metrics-port': metrics });
  const at = (number) => new Http(`127.0.0.1:${number}`);
  const status = async (number, path) => (await at(number).request(path)).status;
  assert.equal((await at(api).post('/_broadcast', { stream: 'room', data: '1' })).status, 201);
  assert.equal(await status(api, '/api/presence/room/users'), 200);
  assert.equal(await status(metrics, '/metrics'), 200);
  assert.equal((await at(port).post('/_broadcast', { stream: 'room', data: '1' })).status, 404);
  assert.equal(await status(port, '/api/presence/room/users'), 404);
  assert.equal(await status(port, '/metrics'), 404);
  assert.equal(await status(api, '/cable'), 404);
  assert.equal(await status(port, '/health'), 200);
});

scenario('one connection can publish many times', {}, async (s) => {
  const [socket] = await s.subscriber(identify('odd name'));
  const wire = await s.wire();
  const body = JSON.stringify({ stream: identify('odd name'), data: '1' });
  const request = `POST /_broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  wire.write(request.repeat(20));
  for (let n = 0; n < 20; n += 1) await socket.hears({ message: 1 });
});
