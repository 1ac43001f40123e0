// What a client may do: signed streams, rights, presence ids; what keys open.

import assert from 'node:assert/strict';
import { cableTo, next } from './support/anycable.js';
import { Http } from './support/http.js';
import { within } from './support/patience.js';
import { consumerOf } from './support/rails.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, identifySigned, sign, token } from './support/sign.js';
import { identify } from './support/socket.js';

const SECURE = { secret: SECRET };
const SIGNED = { 'streams-secret': SECRET };

/** An HTTP client with the key of publishing. */
const publisher = (s, secret) => new Http(s.broker.origin, derive('broadcast-cable', secret));

async function follows(socket, identifier) {
  socket.send({ command: 'subscribe', identifier });
  await socket.hears({ type: 'confirm_subscription', identifier });
  return identifier;
}

async function isRejected(socket, identifier) {
  socket.send({ command: 'subscribe', identifier });
  await socket.hears({ type: 'reject_subscription', identifier });
}

async function joinError(socket, identifier, id) {
  socket.join(identifier, id, {});
  return (await socket.hearsPresence(identifier, 'error')).reason;
}

scenario('with a secret a stream is followed by its signed name alone', SECURE, async (s) => {
  const socket = await s.socket(`/cable?jid=${token()}`);
  await isRejected(socket, identify('room'));
  await isRejected(socket, identifySigned('room', 'other'));
  await isRejected(socket, JSON.stringify({ channel: '$pubsub', signed_stream_name: 'room' }));
  await isRejected(socket, JSON.stringify({ channel: '$pubsub', signed_stream_name: `${sign('a').split('--')[0]}--` }));
  const identifier = await follows(socket, identifySigned('room'));
  await publisher(s).publish('room', { n: 1 });
  assert.deepEqual((await socket.hears({ identifier })).message, { n: 1 });
});

scenario('a name that rails signed is followed', SIGNED, async (s) => {
  const name = 'ImNoYXQ6MjAyMSI=--f9ee45dbccb1da04d8ceb99cc820207804370ba0d06b46fc3b8b373af1315628';
  const socket = await s.socket();
  const identifier = await follows(socket, JSON.stringify({ channel: '$pubsub', signed_stream_name: name }));
  await s.http.publish('chat:2021', 1);
  await socket.hears({ identifier, message: 1 });
  await isRejected(socket, JSON.stringify({ channel: 'Turbo::StreamsChannel', signed_stream_name: name }));
});

scenario('public streams can be open beside signed ones', { ...SECURE, 'public-streams': true }, async (s) => {
  const socket = await s.socket(`/cable?jid=${token()}`);
  await follows(socket, identify('room'));
  await follows(socket, identifySigned('room'));
  await isRejected(socket, identifySigned('room', 'other'));
});

const FRAMEWORKS = { ...SIGNED, 'turbo-streams': true, 'cable-ready': true, 'cable-ready-secret': 'cr', 'streams-whisper': true };
scenario('Turbo and CableReady bring their own signed names', FRAMEWORKS, async (s) => {
  const socket = await s.socket();
  const turbo = JSON.stringify({ channel: 'Turbo::StreamsChannel', signed_stream_name: sign('posts') });
  const ready = JSON.stringify({ channel: 'CableReady::Stream', identifier: sign('posts', 'cr') });
  for (const identifier of [turbo, ready]) {
    await follows(socket, identifier);
    assert.equal(await joinError(socket, identifier, 'ann'), 'this subscription may not join');
  }
  await isRejected(socket, JSON.stringify({ channel: 'Turbo::StreamsChannel', stream_name: 'posts' }));
  await isRejected(socket, JSON.stringify({ channel: 'CableReady::Stream', identifier: sign('posts') }));
  await isRejected(socket, JSON.stringify({ channel: 'CableReady::Stream', identifier: 5 }));
  await s.http.publish('posts', '<turbo-stream></turbo-stream>');
  for (const identifier of [turbo, ready]) await socket.hears({ identifier, message: '<turbo-stream></turbo-stream>' });
});

scenario('nobody whispers on a signed stream unless that is allowed', SIGNED, async (s) => {
  const socket = await s.socket();
  socket.whisper(await follows(socket, identifySigned('room')), 1);
  const refusal = { type: 'error', command: 'whisper', reason: 'this subscription may not whisper' };
  await socket.hears(refusal);
});

scenario('whispers on signed streams can be allowed', { ...SIGNED, 'streams-whisper': true }, async (s) => {
  const [ann, bob] = [await s.socket(), await s.socket()];
  const identifier = identifySigned('room');
  for (const socket of [ann, bob]) await follows(socket, identifier);
  ann.whisper(identifier, { typing: true });
  await bob.hears({ identifier, message: { typing: true } });
});

scenario('an observer watches without joining', { ...SIGNED, 'streams-whisper': true }, async (s) => {
  const [observer, ann] = [await s.socket(), await s.socket()];
  const watch = await follows(observer, identifySigned({ stream: 'room', rights: ['subscribe'] }));
  const room = await follows(ann, identifySigned({ stream: 'room', rights: ['subscribe', 'join'] }));
  ann.join(room, 'ann', {});
  assert.equal((await observer.hearsPresence(watch, 'join')).id, 'ann');
  assert.deepEqual(await observer.list(watch), [{ id: 'ann', info: {} }]);
  assert.equal(await joinError(observer, watch, 'spy'), 'this subscription may not join');
  observer.whisper(watch, 1);
  await observer.hears({ type: 'error', command: 'whisper' });
  ann.whisper(room, 1);
  await ann.hears({ type: 'error', command: 'whisper' });
  assert.equal(await observer.count(watch), 1);
  const within = identifySigned({ stream: 'room', rights: ['subscribe'] }, SECRET, { again: 1 });
  observer.send({ command: 'subscribe', identifier: within, presence: { id: 'spy' } });
  await observer.hears({ type: 'confirm_subscription', identifier: within });
  assert.equal((await observer.hearsPresence(within, 'error')).reason, 'this subscription may not join');
  for (const rights of [[], ['join'], ['subscribe', 'fly'], 'subscribe']) {
    await isRejected(observer, identifySigned({ stream: 'room', rights }));
  }
});

const BOUND = { ...SECURE, 'presence-id-claim': 'sub', 'public-streams': true };
scenario('nobody joins as somebody else', BOUND, async (s) => {
  const ann = await s.socket(`/cable?jid=${token({ sub: 'ann' })}`);
  const identifier = await ann.subscribe('room');
  const reason = 'the presence id is not the one of the token';
  assert.equal(await joinError(ann, identifier, 'bob'), reason);
  const other = identify('room', { n: 2 });
  ann.send({ command: 'subscribe', identifier: other, presence: { id: 'bob' } });
  await ann.hears({ type: 'confirm_subscription', identifier: other });
  assert.equal((await ann.hearsPresence(other, 'error')).reason, reason);
  assert.deepEqual(await ann.list(identifier), []);
  ann.join(identifier, 'ann', { name: 'Ann' });
  await ann.hearsPresence(identifier, 'join');
  const number = await s.socket(`/cable?jid=${token({ ext: undefined, sub: 42 })}`);
  const same = await number.subscribe('room');
  number.join(same, '42', {});
  await number.hearsPresence(same, 'join');
  const nobody = await s.socket(`/cable?jid=${token()}`);
  const watching = await nobody.subscribe('room');
  assert.equal(await joinError(nobody, watching, 'ann'), 'there is no token that gives a presence id');
  assert.equal(await nobody.count(watching), 2);
});

scenario('in public, who has no token watches and does not join', { ...BOUND, public: true }, async (s) => {
  const [socket, identifier] = await s.subscriber('room');
  assert.equal(await joinError(socket, identifier, 'ann'), 'there is no token that gives a presence id');
});

scenario('@anycable/core follows a signed stream and is present in it', { ...SECURE, 'presence-id-claim': 'sub' }, async (s) => {
  const cable = cableTo(s, { auth: { token: token({ sub: 'ann' }) }, logLevel: 'none' });
  const channel = cable.streamFromSigned(sign('room'));
  await within(channel.ensureSubscribed(), 'the subscription');
  const joined = next(channel, 'presence', (event) => event.type === 'join');
  await channel.presence.join('ann', { name: 'Ann' });
  await joined;
  assert.deepEqual(await within(channel.presence.info(), 'info()'), { ann: { name: 'Ann' } });
  const message = next(channel, 'message');
  await publisher(s).publish('room', 'hi');
  assert.equal(await message, 'hi');
  await assert.rejects(within(cable.streamFrom('room').ensureSubscribed(), 'the refusal'), /rejected/i);
});

scenario('@rails/actioncable follows a signed stream', SIGNED, async (s) => {
  const received = new Promise((resolve) => {
    const params = { channel: '$pubsub', signed_stream_name: sign('room') };
    consumerOf(s).subscriptions.create(params, {
      connected: () => s.http.publish('room', 'hi'),
      received: resolve,
    });
  });
  assert.equal(await within(received, 'the publication'), 'hi');
});

const DOORS = [
  ['broadcast-cable', 'POST', '/_broadcast', 201],
  ['api-cable', 'POST', '/api/publish', 201],
  ['api-cable', 'GET', '/api/presence/room/users', 200],
  ['metrics-cable', 'GET', '/metrics', 200],
];
const PURPOSES = ['broadcast-cable', 'api-cable', 'metrics-cable', 'rpc-cable'];

async function opens(s, method, path, key) {
  const body = method === 'POST' ? '{"stream":"room","data":"1"}' : undefined;
  return (await new Http(s.broker.origin, key).request(path, { method, body })).status;
}

scenario('each derived key opens its own door and no other', SECURE, async (s) => {
  for (const [purpose, method, path, status] of DOORS) {
    assert.equal(await opens(s, method, path), 401, path);
    assert.equal(await opens(s, method, path, SECRET), 401, path);
    for (const other of PURPOSES) {
      const expected = other === purpose ? status : 401;
      assert.equal(await opens(s, method, path, derive(other)), expected, `${other} at ${path}`);
    }
  }
  assert.equal(await opens(s, 'GET', '/health'), 200);
});

const OWN = { ...SECURE, 'broadcast-key': 'b', 'api-key': 'a', 'metrics-key': 'm' };
scenario('keys of their own displace the derived ones', OWN, async (s) => {
  for (const [purpose, method, path, status] of DOORS) {
    assert.equal(await opens(s, method, path, purpose[0]), status, path);
    assert.equal(await opens(s, method, path, derive(purpose)), 401, path);
  }
});

scenario('old keys open while a secret is replaced', { secret: 'new,old' }, async (s) => {
  for (const [purpose, method, path, status] of DOORS) {
    for (const secret of ['new', 'old']) {
      assert.equal(await opens(s, method, path, derive(purpose, secret)), status, path);
    }
  }
  const socket = await s.socket(`/cable?jid=${token({}, { secret: 'old' })}`);
  await follows(socket, identifySigned('room', 'new'));
  await follows(socket, identifySigned('room', 'old'));
});

scenario('in public with a secret, publishing is open and reading is not', { ...SECURE, public: true }, async (s) => {
  for (const [purpose, method, path, status] of DOORS) {
    assert.equal(await opens(s, method, path), purpose === 'broadcast-cable' ? 201 : 401, path);
    assert.equal(await opens(s, method, path, derive(purpose)), status, path);
  }
});

scenario('a presence id may be one of the identifiers', { ...BOUND, 'presence-id-claim': 'ext.user' }, async (s) => {
  const socket = await s.socket(`/cable?jid=${token({ ext: '{"user":"ann"}', user: 'eve' })}`);
  const identifier = await socket.subscribe('room');
  assert.equal(await joinError(socket, identifier, 'eve'), 'the presence id is not the one of the token');
  socket.join(identifier, 'ann', {});
  await socket.hearsPresence(identifier, 'join');
});
