// DNS rebinding: a page elsewhere has its own name lead to the broker, and then is of the broker's own
// origin to its browser. It reads without `Origin`, and over plain HTTP without `Sec-Fetch-Site`, too.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { SECRET, token } from './support/sign.js';

const ALLOWED = { 'allowed-origins': 'https://app.example.io,*.example.com' };

/** What can be read without a WebSocket, with the status that a client gets who may. */
const READ = {
  '/events?stream=room': 200,
  '/socket/longpoll?vsn=2.0.0': 410,
  '/api/rooms/room/messages': 200,
};

/** The status of a GET with these headers, `host` among them; of a poll the one in its body. */
async function status(s, path, headers) {
  const { hostname, port } = new URL(s.http.base);
  const request = http.get({ hostname, port, path, headers, agent: false });
  const [response] = await within(once(request, 'response'), `the answer to GET ${path}`);
  const { statusCode } = response;
  if (!path.includes('longpoll')) {
    response.destroy();
    return statusCode;
  }
  const body = await within(response.setEncoding('utf8').toArray(), 'the body');
  return JSON.parse(body.join('')).status;
}

for (const [path, good] of Object.entries(READ)) {
  scenario(`${path}: a page whose name was made to lead here is refused`, ALLOWED, async (s) => {
    const { port } = new URL(s.http.base);
    for (const host of ['evil.example', `evil.example:${port}`, 'app.example.io.evil.example', 'example.com']) {
      assert.equal(await status(s, path, { host }), 403, host);
      assert.equal(await status(s, path, { host, 'sec-fetch-site': 'same-origin' }), 403, host);
    }
  });

  scenario(`${path}: the names of this machine and of allowed pages are good`, ALLOWED, async (s) => {
    const { port } = new URL(s.http.base);
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, '[::1]', 'app.example.io', 'A.Example.com']) {
      assert.equal(await status(s, path, { host }), good, host);
    }
    const origin = 'https://app.example.io';
    assert.equal(await status(s, path, { host: 'broker.internal', origin }), good);
  });

  scenario(`${path}: where every page may, every name does`, {}, async (s) => {
    assert.equal(await status(s, path, { host: 'evil.example' }), good);
  });
}

scenario('with a token, the name that the broker was reached by is as good as any', { ...ALLOWED, secret: SECRET, 'public-streams': true }, async (s) => {
  const host = 'broker.internal:8080';
  assert.equal(await status(s, `/events?stream=room&jid=${token()}`, { host }), 200);
  assert.equal(await status(s, `/api/rooms/room/messages?jid=${token()}`, { host }), 200);
  assert.equal(await status(s, '/events?stream=room', { host }), 401);
});

scenario('what is no host is held against no star', { 'allowed-origins': '*.ex.io' }, async (s) => {
  for (const host of ['evil.com#', 'evil.com?', 'evil.com/', 'evil.com:', 'evil.com:80:']) {
    const origin = `https://${host}.ex.io`;
    await assert.rejects(s.open('/cable', { headers: { origin } }), /HTTP 403/, origin);
    assert.equal(await status(s, '/events?stream=room', { origin }), 403, origin);
  }
  await s.socket('/cable', { headers: { origin: 'https://a.ex.io' } });
});
