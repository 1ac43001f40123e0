// The dashboard in a browser, and its events as such.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { Metrics } from './support/http.js';
import { visitor } from './support/page.js';
import { until, within } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { derive, SECRET } from './support/sign.js';

const page = (s) => `http://${s.broker.origin}/dashboard`;

const watched = { dashboard: true, 'presence-ttl': '5s' };

scenario('the dashboard shows streams, members and what happens, live', watched, async (s) => {
  const [ann] = await s.member('room/1', 'ann', { name: 'Ann' });
  await s.member('room/1', 'ann', { name: 'Ann', device: 2 });
  await s.member('room/2', 'cem');
  const dashboard = await (await visitor(s)).open(page(s));
  await dashboard.reads('#status', 'Live');
  await dashboard.readsAll('#streams .name', ['room/1', 'room/2']);
  await dashboard.readsAll('#streams td', ['1', '2', '1', '1']);
  await dashboard.reads('.tile:nth-child(1)', /^Connections\s3/);
  await dashboard.reads('.tile:nth-child(2)', /^Members\s2/);
  await dashboard.reads('#no-members', 'Choose a stream to see who is in it.');

  const invites = () => dashboard.page.$eval('#events', (list) => getComputedStyle(list, '::before').content);
  assert.equal(await invites(), '"Choose a stream to see who comes and goes."');

  await dashboard.page.click('#streams button');
  await dashboard.reads('#chosen', 'room/1');
  assert.equal(await invites(), '"Nothing has happened since you opened this page."');
  await dashboard.readsAll('#members th', ['ann']);
  await dashboard.reads('#members .info', '{"name":"Ann","device":2}');
  await dashboard.readsAll('#members .number:nth-of-type(3)', ['2']);
  await dashboard.reads('#members .state', 'connected');

  const [bob, identifier] = await s.member('room/1', 'bob', { name: '<b>Bob</b>' });
  await dashboard.reads('#events .event', /bob\sjoined\s{"name":"<b>Bob<\/b>"}$/);
  await dashboard.readsAll('#members th', ['ann', 'bob']);
  await dashboard.reads('#members-note', '2 members');
  await dashboard.reads('.tile:nth-child(4) .value', /^0\.[1-9]/);
  bob.join(identifier, 'bob', { name: 'Bob' });
  await dashboard.reads('#events .event', /bob\schanged\s{"name":"Bob"}$/);

  bob.terminate();
  await dashboard.reads('#members tr:nth-child(2) .state', /^leaving in [1-5] s$/);
  await dashboard.reads('#events .event', /bob\sleft$/);
  await dashboard.readsAll('#members th', ['ann']);
  ann.terminate();
  await dashboard.readsAll('#members td:nth-of-type(3)', ['2']);
  await dashboard.readsAll('#members td:nth-of-type(3)', ['1']); // the other device stays
  await dashboard.reads('#members .state', 'connected');
  assert.deepEqual(dashboard.faults, []);
});

scenario('the dashboard is worked from a keyboard and has an address', watched, async (s) => {
  for (const stream of ['a', 'b', 'c']) await s.member(stream, `in ${stream}`);
  const dashboard = await (await visitor(s)).open(page(s));
  await dashboard.readsAll('#streams .name', ['a', 'b', 'c']);
  await dashboard.press('Tab');
  assert.equal(await dashboard.focus(), 'name');
  await dashboard.press('Tab', 'Tab');
  assert.equal(await dashboard.focus(), 'button a');
  await dashboard.press('ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowUp');
  assert.equal(await dashboard.focus(), 'button b');
  await dashboard.press('Enter');
  await dashboard.readsAll('#members th', ['in b']);
  // a larger stream comes to stand before it, and the focus stays where it was
  for (const id of ['x', 'y']) await s.member('c', id);
  await dashboard.readsAll('#streams .name', ['c', 'a', 'b']);
  assert.equal(await dashboard.focus(), 'button b');
  await dashboard.press('Tab');

  await dashboard.page.focus('#name');
  await dashboard.type('nobody/is here');
  await dashboard.press('Enter');
  await dashboard.reads('#chosen', 'nobody/is here');
  await dashboard.reads('#no-members', 'Nobody is in it.');
  assert.match(dashboard.page.url(), /#stream=nobody%2Fis\+here$/);
  await s.member('nobody/is here', 'somebody');
  await dashboard.readsAll('#members th', ['somebody']);
  await dashboard.page.goBack();
  await dashboard.readsAll('#members th', ['in b']);
  assert.deepEqual(dashboard.faults, []);
});

for (const dark of [false, true]) {
  const light = dark ? 'in the dark' : 'by light';
  const patient = { dashboard: true, 'presence-ttl': '60s' };
  scenario(`the dashboard is legible ${light}, and in a narrow window`, patient, async (s) => {
    const stream = 'a-stream-with-a-name-'.repeat(6);
    const info = { about: 'anything at all '.repeat(20) };
    const [socket] = await s.member(stream, 'somebody-'.repeat(12), info);
    const person = await visitor(s);
    const url = `${page(s)}#stream=${stream}`;
    const wide = await person.open(url, { dark });
    const narrow = await person.open(url, { dark, width: 340, height: 700 });
    // a page has opened before it follows: who joins in between is among its first members, and no event
    for (const dashboard of [wide, narrow]) {
      await dashboard.readsAll('#members th', ['somebody-'.repeat(12)]);
    }
    await s.member(stream, 'bob');
    for (const dashboard of [wide, narrow]) {
      await dashboard.readsAll('#members th', ['somebody-'.repeat(12), 'bob']);
      await dashboard.reads('#events .event', /bob\sjoined/);
      assert.equal(await dashboard.overflow(), 0, 'nobody scrolls sideways');
      const lightness = await dashboard.lightness();
      assert.ok(dark ? lightness < 60 : lightness > 200, `a ground of ${lightness}`);
      const { ratio, text } = await dashboard.contrast();
      assert.ok(ratio >= 4.5, `«${text}» has a contrast of ${ratio}`);
    }
    socket.terminate();
    await narrow.reads('#members .state', /^leaving/);
    assert.ok((await narrow.contrast()).ratio >= 4.5);
    // there, each thing about a member stands behind its name
    await narrow.reads('#members td:nth-of-type(3)', '1');
    const before = (cell) => getComputedStyle(cell, '::before').content;
    const label = await narrow.page.$eval('#members td:nth-of-type(3)', before);
    assert.equal(label, '"Devices"');
  });
}

const locked = { dashboard: true, secret: SECRET };

scenario('the dashboard asks for the key and keeps it to its tab', locked, async (s) => {
  const key = derive('api-cable');
  const dashboard = await (await visitor(s)).open(page(s));
  await dashboard.reads('#login h2', 'Enter the API key');
  assert.equal(await dashboard.focus(), 'key');
  assert.equal(await dashboard.read('#main'), null);
  await dashboard.type('wrong');
  await dashboard.press('Enter');
  await dashboard.reads('#status', 'Wrong key.');
  await dashboard.reads('#login-problem', 'Wrong key.');
  await dashboard.type(key);
  await dashboard.press('Enter');
  await dashboard.reads('#status', 'Live');
  assert.equal(await dashboard.read('#login'), null);
  assert.ok(!dashboard.page.url().includes(key));
  await dashboard.page.reload();
  await dashboard.reads('#status', 'Live');
  const cookies = await dashboard.page.cookies();
  assert.deepEqual(cookies, []);
  assert.deepEqual(dashboard.faults, []);
});

scenario('the dashboard comes back when the broker does', { dashboard: true, 'shutdown-timeout': '30s' }, async (s) => {
  await s.member('room', 'ann');
  const dashboard = await (await visitor(s)).open(page(s));
  await dashboard.reads('#status', 'Live');
  const began = performance.now();
  await s.broker.stop(); // what holds it up does so for the timeout
  assert.ok(performance.now() - began < 15_000, 'an open dashboard does not hold up the stop');
  s.broker.awaited = true;
  await dashboard.reads('#status', /Trying again in \d s…$/);
  s.broker = await s.start({ dashboard: true, port: s.broker.port });
  await dashboard.reads('#status', 'Live');
  await dashboard.reads('.tile:nth-child(2)', /^Members\s0/);
  await dashboard.reads('#no-streams', 'Nobody follows a stream yet.');
});

// ---- the events as such ----

/** Reads events of a dashboard; `next(name)` waits for one of that name. */
async function follow(s, query = '', headers = {}) {
  // `fetch` closes its connection only seconds after it was aborted
  const request = http.get(`${page(s)}/events${query}`, { headers, agent: false });
  const [answer] = await within(once(request, 'response'), 'an answer');
  const stop = () => answer.destroy();
  s.cleanup(stop);
  assert.equal(answer.statusCode, 200);
  assert.equal(answer.headers['content-type'], 'text/event-stream');
  assert.equal(answer.headers['cache-control'], 'no-store');
  const chunks = answer.setEncoding('utf8').iterator();
  let text = '';
  return {
    stop,
    async next(wanted) {
      for (;;) {
        const end = text.indexOf('\n\n');
        if (end === -1) {
          const { value, done } = await within(chunks.next(), `an event called ${wanted}`);
          assert.ok(!done, 'the stream is over');
          text += value;
          continue;
        }
        const [name, data] = text.slice(0, end).split('\n');
        text = text.slice(end + 2);
        if (name === `event: ${wanted}`) return JSON.parse(data.replace('data: ', ''));
      }
    },
  };
}

scenario('the dashboard is off unless it is asked for', {}, async (s) => {
  for (const path of ['', '/', '/events', '/dashboard.js']) {
    assert.equal((await s.http.request(`/dashboard${path}`)).status, 404, path);
  }
});

const own = { ...locked, 'api-key': 'k1' };

scenario('the dashboard needs the key of the API and no other', own, async (s) => {
  const status = async (authorization) => {
    const headers = authorization ? { authorization } : {};
    return (await s.http.request('/dashboard/events', { headers })).status;
  };
  assert.equal(await status(), 401);
  assert.equal(await status('Bearer k'), 401);
  assert.equal(await status(`Bearer ${SECRET}`), 401);
  assert.equal(await status(`Bearer ${derive('api-cable')}`), 401);
  assert.equal((await s.http.request('/dashboard/events?key=k1')).status, 401);
  const { next } = await follow(s, '', { authorization: 'Bearer k1' });
  assert.equal((await next('snapshot')).connections, 0);
  assert.equal((await s.http.request('/dashboard/')).status, 200, 'the page itself tells nothing');
});

scenario('without a key the dashboard is for this machine alone', { dashboard: true }, async (s) => {
  const status = (host) =>
    new Promise((resolve, reject) => {
      const request = http.get(`${page(s)}/events`, { headers: { host } });
      request.once('error', reject).once('response', (answer) => {
        resolve(answer.statusCode);
        answer.destroy();
      });
    });
  assert.equal(await status('localhost:1234'), 200);
  assert.equal(await status('rebound.example'), 403);
});

scenario('a dashboard costs nothing when it is closed', { dashboard: true }, async (s) => {
  // connections that are kept for later requests are tasks, too
  const headers = { connection: 'close' };
  const tasks = async () => new Metrics((await s.http.request('/metrics', { headers })).text).get('broker_tasks');
  const before = await tasks();
  const open = [];
  for (let number = 0; number < 16; number += 1) {
    open.push(await follow(s, `?stream=room${number % 3}`));
  }
  for (const { next } of open) await next('snapshot');
  const full = await s.http.request('/dashboard/events', { headers });
  assert.equal(full.status, 503);
  assert.match(full.json.error, /there are 16 dashboards open already/);
  for (const { stop } of open) stop();
  await until(async () => (await tasks()) <= before, 'its tasks are over');
  const { next } = await follow(s);
  await next('snapshot');
});

scenario('a strange name, and more events than anyone reads', watched, async (s) => {
  const name = 'a&b=c+d %2F "é"\n';
  const { next } = await follow(s, `?stream=${encodeURIComponent(name)}`);
  assert.deepEqual((await next('snapshot')).chosen, { name, total: 0, members: [] });
  const socket = await s.socket();
  const identifier = await socket.subscribe(name);
  // they count from one snapshot to the next: all of these come between the same two
  for (let waited = 0; waited < 200; ) {
    const since = performance.now();
    await next('snapshot');
    waited = performance.now() - since; // else it is one that came before
  }
  socket.ws._socket.cork();
  for (let number = 0; number < 150; number += 1) socket.join(identifier, 'ann', { number });
  socket.ws._socket.uncork();
  const { id, info } = await next('join');
  assert.deepEqual([id, info], ['ann', { number: 0 }]);
  assert.equal((await next('missed')).missed, 50);
  const { chosen } = await next('snapshot');
  assert.deepEqual(chosen.members[0].info, { number: 149 });
  assert.equal((await s.http.request('/dashboard/events?stream=%FF')).status, 422);
});
