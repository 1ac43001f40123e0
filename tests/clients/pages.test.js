// The examples in a browser: the chat room, beside it the same room over the other protocols; Phoenix's
// own client; and a chat page such as people write for themselves.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { visitor } from './support/page.js';
import { Inbox, pass, until } from './support/patience.js';
import { scenario } from './support/scenario.js';
import { SECRET, fromNow, sign, token } from './support/sign.js';
import { Tunnel } from './support/tunnel.js';

const served = { examples: true, 'presence-ttl': '1s' };
/** For those who come back: a page takes its time. */
const patient = { ...served, 'presence-ttl': '60s' };

/** Somebody's browser with the room open, joined. */
async function enter(s, name, { origin = s.broker.origin, more = {}, ...options } = {}) {
  const query = new URLSearchParams({ room: 'general', name, ...more });
  const url = `http://${origin}/examples/chat/?${query}`;
  const page = await (await visitor(s)).open(url, options);
  await page.reads('#status', 'Connected');
  return page;
}

async function write(page, text) {
  await page.page.focus('#message');
  await page.type(text);
  await page.press('Enter');
}

/** All that is ever to be read there from now on, each once. */
async function record(page, selector) {
  await page.page.evaluate((selector) => {
    const node = document.querySelector(selector);
    window.readings = [node.innerText];
    const note = () => window.readings.push(node.innerText);
    new MutationObserver(note).observe(node, { characterData: true, childList: true, subtree: true });
  }, selector);
  return async () => [...new Set(await page.page.evaluate(() => window.readings))];
}

scenario('who is there, who comes and who leaves', served, async (s) => {
  const ann = await enter(s, 'ann');
  await ann.reads('.chat-header .user-count', '1 online');
  await ann.reads('.chat-header .user-names', 'ann');
  await ann.readsAll('.system-message', ['ann joined the room']);
  const bob = await enter(s, 'bob');
  for (const page of [ann, bob]) {
    await page.reads('.user-count', '2 online');
    await page.reads('.user-names', 'ann, bob');
  }
  await ann.readsAll('.system-message', ['ann joined the room', 'bob joined the room']);
  await bob.readsAll('.system-message', ['bob joined the room']);
  await bob.close();
  await ann.reads('.user-count', '1 online');
  await ann.reads('.user-names', 'ann');
  await ann.reads('.system-message:last-child', 'bob left the room');
  assert.deepEqual(ann.faults, []);
});

scenario('several tabs of one person are one', served, async (s) => {
  const bob = await enter(s, 'bob');
  const first = await enter(s, 'ann');
  await bob.reads('.user-count', '2 online');
  const second = await enter(s, 'ann');
  await second.reads('.user-names', 'bob, ann');
  const notices = ['bob joined the room', 'ann joined the room'];
  await first.close();
  await pass(1500); // the TTL of the tab that was closed
  await bob.reads('.user-count', '2 online');
  await bob.readsAll('.system-message', notices);
  await second.close();
  await bob.readsAll('.system-message', [...notices, 'ann left the room']);
  await bob.reads('.user-count', '1 online');
});

scenario('messages, as they are and once', patient, async (s) => {
  const ann = await enter(s, 'ann');
  const bob = await enter(s, '<i>bob</i>');
  const evil = '<img src=x onerror="document.title=1"> & "so" on';
  await write(ann, 'hello');
  await bob.readsAll('.content', ['hello']);
  await write(bob, evil);
  for (const page of [ann, bob]) await page.readsAll('.content', ['hello', evil]);
  await ann.reads('.message:not(.mine) .username', '<i>bob</i>');
  await ann.reads('.user-names', 'ann, <i>bob</i>');
  assert.equal(await ann.page.$eval('#message', (field) => field.value), '');
  await s.http.publish('general', { username: 'deploys', content: 'v42 is out' });
  await s.http.publish('general', 'just text');
  const all = ['hello', evil, 'v42 is out', 'just text'];
  for (const page of [ann, bob]) await page.readsAll('.content', all);
  await ann.reads('.message:last-child .username', 'system');
  // who comes later finds all of it before the notice that they came
  const cem = await enter(s, 'cem');
  await cem.readsAll('.content', all);
  await cem.reads('.message:last-child', 'cem joined the room');
  const noticed = await until(async () => {
    const texts = await bob.readAll('.system-message');
    return texts.length === 2 && texts;
  }, 'bob sees that cem came');
  // and who loads the page anew is where they were
  await ann.page.reload();
  await ann.reads('#status', 'Connected');
  await ann.readsAll('.content', all);
  assert.deepEqual(await bob.readAll('.system-message'), noticed, 'nobody hears of a reload');
  for (const page of [ann, bob, cem]) {
    assert.deepEqual(page.faults, []);
    assert.equal(await page.page.$('img, i'), null);
    assert.match(await page.page.title(), /^general/);
  }
});

scenario('who is typing, for as long as they do', served, async (s) => {
  const ann = await enter(s, 'ann');
  const [bob, cem] = [await enter(s, 'bob'), await enter(s, 'cem')];
  await ann.page.focus('#message');
  await ann.type('w');
  await bob.reads('#typing-indicator', 'ann is typing…');
  await cem.page.focus('#message');
  // it is shown for three seconds: they go on until somebody has read it
  await until(async () => {
    await ann.type('w');
    await cem.type('x');
    return /^(ann and cem|cem and ann) are typing…$/.test(await bob.read('#typing-indicator'));
  }, 'both are typing', 20_000);
  await until(async () => {
    await cem.type('x');
    return (await ann.read('#typing-indicator')) === 'cem is typing…';
  }, 'one hears nothing of oneself', 20_000);
  await ann.press('Enter');
  await until(async () => {
    await cem.type('x');
    const [said, typing] = await bob.page.evaluate(() => {
      return ['.content', '#typing-indicator'].map((selector) => document.querySelector(selector)?.innerText);
    });
    // the notice goes with the message, before its time is over
    if (said) assert.doesNotMatch(typing, /ann/, 'who has said something types no more');
    return said && typing === 'cem is typing…';
  }, 'one of them has said something', 20_000);
  await bob.reads('#typing-indicator', '');
});

scenario('the page is worked from a keyboard, from the door to another room', served, async (s) => {
  const person = await visitor(s);
  const page = await person.open(`http://${s.broker.origin}/examples`);
  await page.reads('.who h2', 'Join a room');
  assert.equal(await page.focus(), 'username');
  await page.type('ann'); // in place of the name that is proposed
  await page.press('Enter');
  await page.reads('#status', 'Connected');
  await page.reads('#title', 'general');
  assert.equal(await page.focus(), 'message');
  await page.type('hi');
  await page.press('Enter');
  await page.readsAll('.content', ['hi']);
  await page.press('Tab', 'Tab');
  assert.match(await page.focus(), /^input/);
  await page.press('ArrowRight'); // to the next protocol
  await page.reads('#watch-status', /\/socket\/websocket$/);
  await page.page.focus('#change');
  await page.press('Enter');
  assert.equal(await page.focus(), 'username');
  assert.equal(await page.read('.user-count'), null);
  await page.page.focus('#room');
  await page.page.$eval('#room', (field) => field.select());
  await page.type('a/room of our own');
  await page.press('Enter');
  await page.reads('#title', 'a/room of our own');
  await page.reads('.user-names', 'ann');
  await page.readsAll('.content', []);
  assert.deepEqual(page.faults, []);
});

/** A page whose network can be cut: `tunnel.reset()`, and `tunnel.shut()` before it for longer. */
async function enterThroughTunnel(s, name) {
  const tunnel = await Tunnel.to(s.broker);
  s.cleanup(() => tunnel.close());
  return [await enter(s, name, { origin: `127.0.0.1:${tunnel.server.address().port}` }), tunnel];
}

scenario('a page comes back with what it missed, and nobody saw it gone', patient, async (s) => {
  const bob = await enter(s, 'bob');
  const [ann, tunnel] = await enterThroughTunnel(s, 'ann');
  await bob.reads('.user-count', '2 online');
  await write(bob, 'before');
  await ann.readsAll('.content', ['before']);
  const lists = [await record(ann, '#user-list'), await record(bob, '#user-list')];
  tunnel.shut();
  tunnel.reset();
  await ann.reads('#status', 'The connection is lost. Trying again in 3 s…');
  await ann.reads('#trouble', /can’t be reached\. What you write stays here until it can\.$/);
  assert.equal(await ann.page.$eval('#send', (button) => button.disabled), true);
  await write(ann, 'kept');
  await write(bob, 'meanwhile');
  await bob.readsAll('.content', ['before', 'meanwhile']);
  tunnel.open();
  await ann.reads('#status', 'Connected');
  await ann.readsAll('.content', ['before', 'meanwhile']);
  assert.equal(await ann.read('#trouble'), null);
  await ann.press('Enter'); // what could not be sent is still there to send
  await bob.readsAll('.content', ['before', 'meanwhile', 'kept']);
  await ann.readsAll('.content', ['before', 'meanwhile', 'kept']);
  for (const list of lists) assert.equal((await list()).length, 1, `${await list()}`);
  await bob.readsAll('.system-message', ['bob joined the room', 'ann joined the room']);
  await ann.readsAll('.system-message', ['ann joined the room']);
});

scenario('a page outlives the broker', patient, async (s) => {
  const dir = mkdtempSync(join(tmpdir(), 'broker-pages-'));
  s.cleanup(() => rmSync(dir, { recursive: true, force: true }));
  await s.broker.stop();
  const flags = { ...patient, 'state-dir': dir, port: s.broker.port };
  s.broker = await s.start(flags);
  const pages = [await enter(s, 'ann'), await enter(s, 'bob')];
  await write(pages[0], 'before');
  for (const page of pages) await page.readsAll('.content', ['before']);
  const lists = await Promise.all(pages.map((page) => record(page, '#user-list')));
  s.broker.kill('SIGKILL');
  await s.broker.exited();
  await pages[0].reads('#status', /^The connection is lost/);
  s.broker = await s.start(flags);
  for (const page of pages) await page.reads('#status', 'Connected');
  await write(pages[1], 'after');
  for (const page of pages) await page.readsAll('.content', ['before', 'after']);
  for (const list of lists) assert.equal((await list()).length, 1, `${await list()}`);
});

const PROTOCOLS = ['cable', 'phoenix', 'events', 'typed'];

scenario('one room, every client', served, async (s) => {
  const ann = await enter(s, 'ann');
  const watchers = [];
  for (const protocol of PROTOCOLS) {
    const watcher = await enter(s, 'ann');
    await watcher.page.click(`#protocols label:has([value=${protocol}])`);
    await watcher.reads('#watch-status', /^Watching over /);
    await watcher.readsAll('.member-id', ['ann']);
    watchers.push(watcher);
  }
  const bob = await enter(s, 'bob');
  for (const watcher of watchers) await watcher.readsAll('.member-id', ['ann', 'bob']);
  // one comes over another protocol, and everyone sees them
  const [socket, identifier] = await s.member('general', 'cem', { name: 'Cem' });
  for (const page of [ann, bob]) await page.reads('.user-names', 'ann, bob, cem');
  for (const watcher of watchers) {
    await watcher.readsAll('.member-id', ['ann', 'bob', 'cem']);
    await watcher.reads('#member-count', '3');
  }
  await bob.close();
  await write(ann, 'a <b>frame</b>');
  for (const watcher of watchers) {
    await watcher.readsAll('.member-id', ['ann', 'cem']);
    await watcher.reads('.frames', /a <b>frame<\/b>/);
  }
  socket.leave(identifier);
  for (const watcher of watchers) await watcher.readsAll('.member-id', ['ann']);
  for (const page of [ann, ...watchers]) assert.deepEqual(page.faults, []);
});

const locked = { ...served, secret: SECRET, 'streams-whisper': true };

scenario('a room of a broker with a secret', locked, async (s) => {
  const more = { jid: token({ exp: fromNow(60) }), signed_stream_name: sign('general') };
  const ann = await enter(s, 'ann', { more });
  await write(ann, 'between us');
  const bob = await enter(s, 'bob', { more });
  await bob.readsAll('.content', ['between us']);
  for (const protocol of PROTOCOLS) {
    await bob.page.click(`#protocols label:has([value=${protocol}])`);
    await bob.readsAll('.member-id', ['ann', 'bob']);
    assert.ok(!(await bob.read('#watch-status')).includes(more.jid), 'a token is not shown');
  }
  const url = `http://${s.broker.origin}/examples/chat/?room=general&name=eve`;
  const eve = await (await visitor(s)).open(url);
  await eve.reads('#status', /^The token is missing or invalid: connect with a valid one\. Trying again in 3 s…$/);
  await eve.reads('#trouble', /connect with a valid one\. Open this page with a token \(\?jid=…\)/);
  assert.equal(await eve.page.$eval('#send', (button) => button.disabled), true);
  assert.equal(await eve.read('.user-count'), null);
  assert.equal(await ann.read('.user-names'), 'ann, bob');
});

for (const dark of [false, true]) {
  const light = dark ? 'in the dark' : 'by light';
  scenario(`the room is legible ${light}, and in a narrow window`, served, async (s) => {
    const door = `http://${s.broker.origin}/examples/chat/`;
    const long = 'somebody-with-a-name-'.repeat(5);
    const pages = [await (await visitor(s)).open(door, { dark })];
    pages.push(await enter(s, long, { dark }));
    pages.push(await enter(s, 'ann', { dark, width: 340, height: 640 }));
    for (const page of pages.slice(1)) {
      await write(page, 'no space '.repeat(30) + 'x'.repeat(300));
    }
    for (const page of pages.slice(1)) await page.reads('#member-count', '2');
    await pages[1].type('…');
    await pages[2].reads('#typing-indicator', /is typing…$/);
    for (const page of pages) {
      assert.equal(await page.overflow(), 0, 'nobody scrolls sideways');
      const lightness = await page.lightness();
      assert.ok(dark ? lightness < 60 : lightness > 200, `a ground of ${lightness}`);
      const { ratio, text } = await page.contrast();
      assert.ok(ratio >= 4.5, `«${text}» has a contrast of ${ratio}`);
    }
    // a name's colour is one of all there are
    const faint = await pages[1].page.evaluate(() => {
      const avatar = document.querySelector('.avatar');
      const luminance = (color) => {
        const parts = color.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255);
        const [r, g, b] = parts.map((it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      return [...Array(360).keys()].filter((hue) => {
        avatar.style.setProperty('--hue', hue);
        const { color, backgroundColor } = getComputedStyle(avatar);
        return (luminance(color) + 0.05) / (luminance(backgroundColor) + 0.05) < 4.5;
      });
    });
    assert.deepEqual(faint, [], 'letters in these hues are faint');
    const placeholder = await pages[2].page.$eval('#message', (field) => {
      const [own, dim] = [getComputedStyle(field, '::placeholder'), getComputedStyle(document.querySelector('.status'))];
      return own.color === dim.color && own.opacity === '1';
    });
    assert.ok(placeholder, 'the hint in the field is as dark as other dim texts');
    const seen = await pages[2].page.$eval('#message', (field) => {
      return field.getBoundingClientRect().bottom <= innerHeight;
    });
    assert.ok(seen, 'the field to write in is on the screen');
  });
}

scenario('the files of the examples', served, async (s) => {
  const ask = (path, method = 'GET') => {
    return s.http.request(`/examples${path}`, { method, redirect: 'manual' });
  };
  for (const [path, kind] of [
    ['/chat/', 'text/html; charset=utf-8'],
    ['/chat/?room=general', 'text/html; charset=utf-8'],
    ['/chat/chat.js', 'text/javascript; charset=utf-8'],
    ['/chat/watch.js', 'text/javascript; charset=utf-8'],
    ['/chat/style.css', 'text/css; charset=utf-8'],
    ['/chat/icon.svg', 'image/svg+xml'],
  ]) {
    const { status, headers, text } = await ask(path);
    assert.equal(status, 200, path);
    assert.equal(headers.get('content-type'), kind);
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.equal(headers.get('cache-control'), 'no-cache');
    assert.match(headers.get('content-security-policy'), /^default-src 'none'; script-src 'self';/);
    const head = await ask(path, 'HEAD');
    assert.equal(head.status, 200, `HEAD ${path}`);
    assert.equal(head.headers.get('content-length'), String(Buffer.byteLength(text)));
    assert.equal(head.text, '');
  }
  for (const path of ['', '/', '/chat', '?name=a%26b', '/chat?name=a%26b']) {
    const { status, headers } = await ask(path);
    const query = path.replace(/^[^?]*/, '');
    assert.deepEqual([status, headers.get('location')], [308, `/examples/chat/${query}`], path);
  }
  for (const path of ['/chat/x.js', '/chat/chat.js/', '/chat//chat.js', '/README.md', 'chat/']) {
    assert.equal((await ask(path)).status, 404, path);
  }
  for (const method of ['POST', 'PUT', 'DELETE']) {
    assert.equal((await ask('/chat/', method)).status, 405, method);
  }
  await s.broker.logs(`url="http://${s.broker.origin}/examples/chat/"`);
});

scenario('there are no examples unless they are asked for', {}, async (s) => {
  for (const path of ['/examples', '/examples/', '/examples/chat/', '/examples/chat/chat.js']) {
    assert.equal((await s.http.request(path)).status, 404, path);
  }
});

// ---- pages that the broker doesn't serve ----

const below = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The server of the examples, and where it is. */
async function serveExamples(s) {
  const script = below('../../examples/serve.mjs');
  const child = spawn(process.execPath, [script, '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  s.cleanup(() => child.kill());
  const said = new Inbox();
  child.stdout.setEncoding('utf8').on('data', (text) => said.put(text));
  child.once('exit', () => said.end('it exited'));
  return (await said.take((text) => text.includes('http'), 'an address')).match(/http:\/\/[\d.:]+/)[0];
}

scenario('the room on a page from elsewhere', { 'presence-ttl': '1s' }, async (s) => {
  const elsewhere = await serveExamples(s);
  const open = async (name) => {
    const query = new URLSearchParams({ broker: s.broker.origin, room: 'general', name });
    const page = await (await visitor(s)).open(`${elsewhere}/chat?${query}`);
    await page.reads('#status', 'Connected');
    return page;
  };
  const ann = await open('ann');
  await write(ann, 'hello');
  const bob = await open('bob');
  await ann.reads('.user-names', 'ann, bob');
  await bob.readsAll('.content', ['hello']);
  await bob.readsAll('.member-id', ['ann', 'bob']);
});

scenario('presence with Phoenix and its own client', { 'presence-ttl': '1s' }, async (s) => {
  const elsewhere = await serveExamples(s);
  const path = '/phoenix-presence/node_modules/phoenix/priv/static/phoenix.mjs';
  const phoenix = readFileSync(below('node_modules/phoenix/priv/static/phoenix.mjs'), 'utf8');
  const routes = { [path]: ['text/javascript', phoenix] };
  const open = async (who) => {
    const url = `${elsewhere}/phoenix-presence/?user_id=${who}&broker=${s.broker.origin}`;
    return (await visitor(s)).open(url, { routes });
  };
  const ann = await open('ann');
  await ann.reads('#status', 'You are ann.');
  await ann.readsAll('#users strong', ['ann']);
  await ann.reads('#users li', /^ann \(count: 1\) since \d/);
  await ann.readsAll('#notes li', ['ann has entered']);
  const tablet = await open('ann');
  await ann.reads('#users li', /^ann \(count: 2\)/);
  await ann.reads('#notes li', 'ann is here from one more device');
  const bob = await open('bob');
  for (const page of [ann, tablet, bob]) await page.readsAll('#users strong', ['ann', 'bob']);
  await tablet.close();
  await bob.reads('#users li', /^ann \(count: 1\)/);
  await bob.reads('#notes li', 'ann has left from a device');
  await ann.close();
  await bob.readsAll('#users strong', ['bob']);
  await bob.reads('#notes li', 'ann has left');
  const watcher = await open('');
  await watcher.reads('#status', /^You are watching/);
  await watcher.readsAll('#users strong', ['bob']);
  for (const page of [bob, watcher]) assert.deepEqual(page.faults, []);
});

scenario('typed JSON in two terminals', { 'presence-ttl': '300ms' }, async (s) => {
  const terminal = (...args) => {
    const script = below('../../examples/typed-json/client.mjs');
    const node = ['--experimental-websocket', '--no-warnings', script]; // Node 20 has it behind a flag
    const child = spawn(process.execPath, [...node, s.broker.url('/'), ...args]);
    s.cleanup(() => child.kill());
    const said = new Inbox();
    createInterface({ input: child.stdout }).on('line', (line) => said.put(line));
    const exited = new Promise((resolve) => child.once('exit', resolve));
    const reads = (line) => said.take((one) => one === line, line);
    return { reads, exited, write: (line) => child.stdin.write(`${line}\n`), end: () => child.stdin.end() };
  };
  const a = terminal('Alice');
  await a.reads('{"type":"presence.online","payload":{"user":"Alice"}}');
  const b = terminal();
  await b.reads('{"type":"presence.system","payload":{"message":"A new connection opened"}}');
  b.write('{"type":"presence.join","payload":{"user":"Bob"}}');
  for (const one of [a, b]) await one.reads('{"type":"presence.online","payload":{"user":"Bob"}}');
  b.write('/list');
  await b.reads('{"type":"presence.current","payload":{"users":["Alice","Bob"]}}');
  a.write('/leave');
  for (const one of [a, b]) await one.reads('{"type":"presence.offline","payload":{"user":"Alice"}}');
  b.end();
  assert.equal(await b.exited, 0);
  await a.reads('{"type":"presence.offline","payload":{"user":"Bob"}}');
});

scenario('a page that people write for themselves', { 'presence-ttl': '500ms' }, async (s) => {
  const routes = {
    '/rooms/general': ['text/html', readFileSync(below('pages/room.html'), 'utf8')],
    '/room.js': ['text/javascript', readFileSync(below('pages/room.js'), 'utf8')],
  };
  const open = async (name) => {
    const url = `http://${s.broker.origin}/rooms/general?name=${name}`;
    return (await visitor(s)).open(url, { routes });
  };
  const ann = await open('ann');
  await ann.reads('.user-count', '1 online');
  const bob = await open('bob');
  for (const page of [ann, bob]) {
    await page.reads('.user-count', '2 online');
    await page.reads('.user-names', 'ann, bob');
  }
  await ann.readsAll('.system-message', ['ann joined the room', 'bob joined the room']);
  const isAnswered = () =>
    performance.getEntriesByType('resource').some((one) => one.name.endsWith('/messages') && one.responseEnd > 0);
  for (const { page } of [ann, bob]) {
    await until(() => page.evaluate(isAnswered), 'the history has come, which knows nothing of what follows');
  }
  await bob.page.focus('#message');
  await bob.type('hi');
  await ann.reads('#typing-indicator', 'bob is typing...');
  await bob.press('Enter');
  for (const page of [ann, bob]) await page.readsAll('.content', ['hi']);
  await ann.reads('.message .username', 'bob');
  await ann.reads('.message .timestamp', /^\d{4}-\d\d-\d\dT/);
  const guest = await open('');
  await guest.readsAll('.content', ['hi']);
  await guest.reads('.user-names', 'ann, bob, Guest');
  const second = await open('bob');
  await second.reads('.user-count', '3 online');
  await bob.close();
  await pass(800); // the TTL of that tab
  await ann.reads('.user-count', '3 online');
  await second.close();
  await ann.reads('.user-names', 'ann, Guest');
  await ann.reads('.system-message:last-of-type', 'bob left the room');
  assert.deepEqual(ann.faults, []);
});
