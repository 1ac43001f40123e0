// Access over Phoenix: tokens, presence ids, and topics.

import assert from 'node:assert/strict';
import { LongPoll } from 'phoenix';
import { pass, until } from './support/patience.js';
import { Http } from './support/http.js';
import { Topic, phoenixIn, phoenixSocketTo, phoenixTo } from './support/phoenix.js';
import { scenario } from './support/scenario.js';
import { SECRET, derive, fromNow, sign, token } from './support/sign.js';

const SECURE = { secret: SECRET, 'presence-id-claim': 'sub' };
const LOBBY = 'room:lobby';
const signed = { signed_stream_name: sign(LOBBY) };

/** Reads the API with its key from here on. */
const withKey = (s) => (s.http = new Http(s.broker.origin, derive('api-cable')));

scenario('a token may come among the params or as authToken', SECURE, async (s) => {
  withKey(s);
  const jid = token({ sub: 'ann' });
  const ways = [{ params: { jid } }, { authToken: jid }, { authToken: () => jid }];
  for (const way of ways) {
    const ann = await phoenixIn(s, LOBBY, undefined, { ...way, join: signed });
    await ann.sees({ ann: 1 });
    await ann.leave();
  }
  const ann = await phoenixIn(s, LOBBY, undefined, { transport: LongPoll, authToken: jid, join: signed });
  await ann.sees({ ann: 1 });
});

scenario('a token that came as a subprotocol is answered with the other one', SECURE, async (s) => {
  const encoded = btoa(token({ sub: 'ann' })).replaceAll('=', '');
  const protocols = ['phoenix', `base64url.bearer.phx.${encoded}`];
  const socket = await phoenixSocketTo(s, 'vsn=2.0.0', { protocols });
  assert.equal(socket.ws.protocol, 'phoenix');
});

for (const [what, make] of [
  ['no token', () => undefined],
  ['nonsense', () => 'nonsense'],
  ['a token of another secret', () => token({ sub: 'ann' }, { secret: 'other' })],
  ['an expired token', () => token({ sub: 'ann', exp: fromNow(-1) })],
]) {
  scenario(`with ${what} nobody connects, and nobody tries again at once`, SECURE, async (s) => {
    const jid = make();
    const query = `vsn=2.0.0${jid ? `&jid=${jid}` : ''}`;
    await assert.rejects(phoenixSocketTo(s, query), ({ response }) => {
      assert.equal(response.statusCode, 403);
      assert.ok(response.body.length > 0, 'it says why');
      return true;
    });
    // a handshake that succeeds, and a close after it, would reset the client's patience
    let errors = 0;
    const client = phoenixTo(s, { params: jid ? { jid } : {}, reconnectAfterMs: undefined });
    client.onOpen(() => assert.fail('it was let in'));
    client.onError(() => (errors += 1));
    await pass(1500);
    await until(() => errors > 1, 'it tries again');
    assert.ok(errors < 12, `it tried ${errors} times`);
  });
}

scenario('without a good token nobody polls either', SECURE, async (s) => {
  for (const jid of [undefined, 'nonsense']) {
    const path = `/socket/longpoll?vsn=2.0.0${jid ? `&jid=${jid}` : ''}`;
    const { json } = await s.http.request(path);
    assert.equal(json.status, 403, 'the client looks into the body alone');
    assert.equal('token' in json, false);
  }
});

scenario('a token says who it is, whatever the params say', SECURE, async (s) => {
  withKey(s);
  const jid = token({ sub: 'ann' });
  const ann = await phoenixIn(s, LOBBY, 'bob', { params: { jid }, join: signed });
  await ann.sees({ ann: 1 });
  assert.deepEqual(await s.http.ids(LOBBY), ['ann']);
});

for (const [what, join] of [
  ['without a signed name', {}],
  ['with the name of another topic', { signed_stream_name: sign('room:other') }],
  ['with a name that somebody else signed', { signed_stream_name: sign(LOBBY, 'other') }],
  ['with a name that is no text', { signed_stream_name: 5 }],
]) {
  scenario(`a topic is not joined ${what}`, SECURE, async (s) => {
    withKey(s);
    const socket = phoenixTo(s, { params: { jid: token({ sub: 'ann' }) } });
    const topic = new Topic(socket, LOBBY, join);
    await assert.rejects(topic.join(), /reason/);
    await pass(250); // the client tries again, as is its way
    assert.equal((await s.http.users(LOBBY)).total, 0);
    assert.deepEqual(topic.story, []);
  });
}

scenario('what isn’t joined can’t be spoken to', SECURE, async (s) => {
  withKey(s);
  const socket = await phoenixSocketTo(s, `vsn=2.0.0&jid=${token({ sub: 'ann' })}`);
  assert.equal((await socket.ask(LOBBY, 'phx_join')).payload.status, 'error');
  for (const event of ['shout', 'presence:track', 'presence:update']) {
    const { payload } = await socket.ask(LOBBY, event);
    assert.deepEqual(payload, { status: 'error', response: { reason: 'unmatched topic' } });
  }
});

scenario('who may only watch is not seen', SECURE, async (s) => {
  withKey(s);
  const name = sign({ stream: LOBBY, rights: ['subscribe'] });
  const join = { signed_stream_name: name };
  const watcher = await phoenixIn(s, LOBBY, undefined, { params: { jid: token({ sub: 'spy' }) }, join });
  const jid = token({ sub: 'ann' });
  const ann = await phoenixIn(s, LOBBY, undefined, { params: { jid }, join: signed });
  await watcher.sees({ ann: 1 });
  assert.equal((await watcher.push('presence:track', {})).status, 'error');
  await ann.sees({ ann: 1 });
});
