// Presence ids that a client of another protocol can't bear: npm phoenix before 1.8.9 keeps who is
// there in a plain object, which has these properties from the start.

import assert from 'node:assert/strict';
import { chatTo } from './support/chat.js';
import { openEvents } from './support/events.js';
import { phoenixIn, phoenixSocketTo } from './support/phoenix.js';
import { scenario } from './support/scenario.js';
import { SECRET, token } from './support/sign.js';
import { identify } from './support/socket.js';
import { typedTo } from './support/typed.js';

const RESERVED = Object.getOwnPropertyNames(Object.prototype);
const ROOM = identify('room');
const why = (id) =>
  `the presence id ${id} is reserved: every JavaScript object has a property of that name, and ` +
  'pages with npm phoenix before 1.8.9 fail over it; choose another one';

assert.ok(RESERVED.includes('__proto__') && RESERVED.includes('constructor'));

const put = (s, id) =>
  s.http.request(`/api/presence/room/${encodeURIComponent(id)}`, { method: 'PUT', body: '{}' });

scenario('whoever joins under a reserved id is refused, whatever it speaks', {}, async (s) => {
  const phoenix = await phoenixIn(s, 'room', 'watcher');
  const [ann] = await s.subscriber('room');
  const typed = await typedTo(s);
  const chat = await chatTo(s);
  for (const id of RESERVED) {
    ann.join(ROOM, id, {});
    assert.equal((await ann.hearsPresence(ROOM, 'error')).reason, why(id));
    const other = await s.socket();
    await other.subscribe('room', {}, { presence: { id } });
    assert.equal((await other.hearsPresence(ROOM, 'error')).reason, why(id));
    typed.say('presence.join', { user: id, room: 'room' });
    assert.equal(await typed.refusal(), why(id));
    chat.send({ type: 'join', room: 'room', username: id });
    assert.equal(await chat.refusal(), why(id));
    const named = await phoenixSocketTo(s, `user_id=${encodeURIComponent(id)}&vsn=2.0.0`);
    const { payload } = await named.ask('room', 'phx_join');
    assert.deepEqual(payload, { status: 'error', response: { reason: why(id) } });
    const { response } = await openEvents(s, { stream: 'room', presence_id: id }).catch((error) => error);
    assert.equal(response.statusCode, 401);
    assert.match(response.body, /is reserved/);
    const { status, json } = await put(s, id);
    assert.deepEqual([status, json.error], [422, why(id)]);
  }
  for (const id of ['Constructor', 'toString()', 'proto', 'watch']) {
    assert.equal((await put(s, id)).status, 201, id);
  }
  await phoenix.sees({ watcher: 1, Constructor: 1, 'toString()': 1, proto: 1, watch: 1 });
});

const BOUND = { secret: SECRET, 'public-streams': true, 'presence-id-claim': 'sub' };

scenario('an id of a token is refused likewise', BOUND, async (s) => {
  for (const sub of RESERVED) {
    const socket = await s.socket(`/cable?jid=${token({ sub })}`);
    await socket.subscribe('room', {}, { presence: { id: sub } });
    assert.equal((await socket.hearsPresence(ROOM, 'error')).reason, why(sub));
    const phoenix = await phoenixSocketTo(s, `jid=${token({ sub })}&vsn=2.0.0`);
    const { payload } = await phoenix.ask('room', 'phx_join');
    assert.deepEqual(payload, { status: 'error', response: { reason: why(sub) } });
  }
});

scenario('where Phoenix is not spoken, no id is reserved', { protocols: 'action-cable,typed' }, async (s) => {
  const [ann] = await s.subscriber('room');
  for (const id of RESERVED) {
    assert.equal((await put(s, id)).status, 201, id);
    await ann.hearsPresence(ROOM, 'join');
  }
  await s.member('room', 'constructor', 1);
  assert.deepEqual(await s.http.ids('room'), RESERVED);
});
