// Who may connect: tokens, where they come from, what is wrong with them; origins.

import assert from 'node:assert/strict';
import { cableTo, next } from './support/anycable.js';
import { pass, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { Http } from './support/http.js';
import { SECRET, derive, fromNow, token } from './support/sign.js';
import { WebSocket } from 'ws';

const SECURE = { secret: SECRET };

/** Reads the metrics with their key from here on. */
function withKey(s) {
  s.http = new Http(s.broker.origin, derive('metrics-cable'));
}

/** Connects and is told why it may not. */
async function isRefused(s, reason, path, options) {
  const socket = await s.open(path, options);
  const frame = await socket.hears({ type: 'disconnect' });
  assert.deepEqual(frame, { type: 'disconnect', reason, reconnect: false });
  assert.deepEqual(await socket.closing(), { code: 1000, reason });
  assert.equal(socket.transcript.length, 1, 'nothing else is said');
}

scenario('a token may come as a parameter, a header or a subprotocol', SECURE, async (s) => {
  await s.socket(`/cable?jid=${token()}`);
  await s.socket('/cable', { headers: { 'x-jid': token() } });
  const protocols = ['actioncable-v1-json', `anycable-token.${token()}`];
  const { ws } = await s.socket('/cable', { protocols });
  assert.equal(ws.protocol, 'actioncable-v1-json');
  for (const alg of ['HS384', 'HS512']) await s.socket(`/cable?jid=${token({}, { alg })}`);
});

scenario('the header is asked first, then the subprotocol, then the query', SECURE, async (s) => {
  const [good, bad] = [token(), token({}, { secret: 'other' })];
  const protocols = (one) => ['actioncable-v1-json', `anycable-token.${one}`];
  await s.socket(`/cable?jid=${bad}`, { headers: { 'x-jid': good }, protocols: protocols(bad) });
  await s.socket(`/cable?jid=${bad}`, { protocols: protocols(good) });
  await isRefused(s, 'unauthorized', `/cable?jid=${good}`, { protocols: protocols(bad) });
});

scenario('the parameter can have another name', { ...SECURE, 'jwt-param': 'token' }, async (s) => {
  await s.socket(`/cable?token=${token()}`);
  await s.socket('/cable', { headers: { 'x-token': token() } });
  await isRefused(s, 'unauthorized', `/cable?jid=${token()}`);
});

const unsigned = () => `${token({}, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`;
for (const [what, make] of [
  ['no token', () => undefined],
  ['an empty token', () => ''],
  ['nonsense', () => 'nonsense'],
  ['a token of another secret', () => token({}, { secret: 'other' })],
  ['a token without signature', unsigned],
  ['a token that says it is not signed', () => token({}, { alg: 'none' })],
  ['a token that names a public key’s algorithm', () => token({}, { alg: 'RS256' })],
  ['a token of another type', () => token({}, { header: { typ: 'at+jwt' } })],
  ['a token that is not valid yet', () => token({ nbf: fromNow(60) })],
  ['a token whose identifiers are no string', () => token({ ext: { user: 1 } })],
  ['a token about nobody', () => token({ ext: undefined })],
  ['an expired token of another secret', () => token({ exp: fromNow(-9) }, { secret: 'other' })],
]) {
  scenario(`${what} is unauthorized`, SECURE, async (s) => {
    withKey(s);
    const given = make();
    await isRefused(s, 'unauthorized', given === undefined ? '/cable' : `/cable?jid=${given}`);
    await s.counts({ 'broker_connections_closed_total{reason="unauthorized"}': 1 });
    await s.counts({ broker_connections: 0 });
  });
}

scenario('an expired token is told from a bad one', SECURE, async (s) => {
  withKey(s);
  await isRefused(s, 'token_expired', `/cable?jid=${token({ exp: fromNow(-1) })}`);
  await s.counts({ 'broker_connections_closed_total{reason="token_expired"}': 1 });
});

scenario('a refused client is heard no more', SECURE, async (s) => {
  const wire = await s.upgraded();
  await wire.hears(1, '"unauthorized"');
});

scenario('a connection outlives its token', SECURE, async (s) => {
  const socket = await s.socket(`/cable?jid=${token({ exp: fromNow(5) })}`);
  await pass(5500);
  await socket.settle();
});

const MEANT = { ...SECURE, 'jwt-audience': 'chat', 'jwt-issuer': 'app' };
scenario('audience and issuer count where they are set', MEANT, async (s) => {
  await s.socket(`/cable?jid=${token({ aud: ['mail', 'chat'], iss: 'app' })}`);
  await isRefused(s, 'unauthorized', `/cable?jid=${token({ aud: 'mail', iss: 'app' })}`);
  await isRefused(s, 'unauthorized', `/cable?jid=${token({ aud: 'chat' })}`);
});

scenario('tokens can have a secret of their own', { ...SECURE, 'jwt-secret': 'jwt' }, async (s) => {
  await s.socket(`/cable?jid=${token({}, { secret: 'jwt' })}`);
  await isRefused(s, 'unauthorized', `/cable?jid=${token()}`);
});

scenario('a secret is replaced without a moment in which clients are refused', { secret: 'new,old' }, async (s) => {
  for (const secret of ['new', 'old']) await s.socket(`/cable?jid=${token({}, { secret })}`);
  await isRefused(s, 'unauthorized', `/cable?jid=${token({}, { secret: 'new,old' })}`);
});

scenario('in public nobody needs a token, but one that is given must be good', { ...SECURE, public: true }, async (s) => {
  await s.socket();
  await s.socket(`/cable?jid=${token()}`);
  await isRefused(s, 'unauthorized', '/cable?jid=nonsense');
});

scenario('without a secret a token is nothing', {}, async (s) => {
  await s.socket('/cable?jid=nonsense');
});

for (const strategy of ['param', 'header', 'sub-protocol']) {
  scenario(`@anycable/core brings its token by ${strategy}`, SECURE, async (s) => {
    const cable = cableTo(s, {
      auth: { token: token() },
      websocketAuthStrategy: strategy,
      websocketImplementation: WebSocket, // a browser's has no headers
    });
    await within(cable.connect(), 'the connection');
    assert.equal(cable.state, 'connected');
  });
}

scenario('@anycable/core gets a new token when its own has expired', SECURE, async (s) => {
  let refreshed = 0;
  const cable = cableTo(s, {
    auth: { token: token({ exp: fromNow(-5) }) },
    logLevel: 'none',
    tokenRefresher: async (transport) => {
      refreshed += 1;
      transport.setToken(token());
    },
  });
  const connected = next(cable, 'connect');
  await assert.rejects(within(cable.connect(), 'the refusal'), { reason: 'token_expired' });
  await connected;
  assert.equal(refreshed, 1);
});

scenario('@anycable/core that is refused stays away', SECURE, async (s) => {
  const cable = cableTo(s, { logLevel: 'none' });
  const closed = next(cable, 'close');
  await assert.rejects(within(cable.connect(), 'the refusal'), { reason: 'unauthorized' });
  assert.equal((await closed).reason, 'unauthorized');
  await pass(400);
  assert.equal(cable.state, 'closed', 'it does not try again');
});

const PAGES = { 'allowed-origins': 'app.example.io, *.example.com,https://localhost:3000' };
scenario('only pages of allowed origins connect', PAGES, async (s) => {
  const from = (origin) => ({ headers: origin === undefined ? {} : { origin } });
  for (const origin of ['https://app.example.io', 'http://a.b.example.com', 'https://localhost:3000']) {
    await s.socket('/cable', from(origin));
  }
  const foreign = ['https://example.io', 'https://evilexample.com', 'http://localhost:3000', 'null', undefined];
  for (const origin of foreign) await assert.rejects(s.open('/cable', from(origin)), /HTTP 403/, origin);
  await s.counts({ 'broker_handshake_failures_total{reason="origin"}': foreign.length });
});

scenario('without a list every page connects', {}, async (s) => {
  await s.socket('/cable', { headers: { origin: 'https://evil.example' } });
});
