// Bad bytes. Each costs the one who sent them, and nobody else.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { LATE, pass, within } from './support/patience.js';
import { BYSTANDERS, fault } from './support/fault.js';
import { identify } from './support/socket.js';
import { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, handshake } from './support/wire.js';

const PING_COMMAND = '{"command":"ping"}';

/** A fault that nobody else hears of. */
function nuisance(name, flags, run) {
  fault(name, flags, async (s, bystanders) => {
    const heard = bystanders.events.length;
    await run(s);
    await bystanders.settle();
    assert.equal(bystanders.events.length, heard, 'nobody heard of it');
  });
}

for (const [what, bytes, code] of [
  ['a frame without a mask', frame(TEXT, PING_COMMAND, { masked: false }), 1002],
  ['a frame with reserved bit 1', frame(TEXT, PING_COMMAND, { reserved: 4 }), 1002],
  ['a frame with reserved bit 2', frame(TEXT, PING_COMMAND, { reserved: 2 }), 1002],
  ['a frame with reserved bit 3', frame(TEXT, PING_COMMAND, { reserved: 1 }), 1002],
  ['a data frame of opcode 3', frame(3, 'x'), 1002],
  ['a data frame of opcode 7', frame(7, 'x'), 1002],
  ['a control frame of opcode 11', frame(11, 'x'), 1002],
  ['a control frame of opcode 15', frame(15, 'x'), 1002],
  ['a ping in fragments', frame(PING, 'x', { fin: false }), 1002],
  ['a ping of 126 bytes', frame(PING, 'x'.repeat(126)), 1002],
  ['a continuation of nothing', frame(CONTINUATION, 'x'), 1002],
  ['a message in a message', Buffer.concat([frame(TEXT, '{', { fin: false }), frame(TEXT, '}')]), 1002],
  ['a close frame of one byte', frame(CLOSE, 'x'), 1002],
  ['a close frame of 126 bytes', frame(CLOSE, 'x'.repeat(126)), 1002],
  ['a close code nobody may send, 1005', frame(CLOSE, Buffer.from([0x03, 0xed])), 1002],
  ['a close code nobody may send, 999', frame(CLOSE, Buffer.from([0x03, 0xe7])), 1002],
  ['a close reason that is not UTF-8', frame(CLOSE, Buffer.from([0x03, 0xe8, 0xff])), [1002, 1007]],
  ['text that is not UTF-8', frame(TEXT, Buffer.from([0x22, 0xff, 0x22])), 1007],
  ['text that ends within a character', frame(TEXT, Buffer.from([0xe2, 0x9c])), 1007],
  ['an overlong encoding', frame(TEXT, Buffer.from([0xc0, 0xaf])), 1007],
  ['a surrogate in UTF-8', frame(TEXT, Buffer.from([0xed, 0xa0, 0x80])), 1007],
  ['a binary frame', frame(BINARY, PING_COMMAND), 1003],
  ['an empty binary frame', frame(BINARY, ''), 1003],
  ['a frame that announces a terabyte', frame(TEXT, 'x', { length: 1n << 40n }), 1009],
  ['a frame of the largest length there is', frame(TEXT, 'x', { length: (1n << 63n) - 1n }), 1009],
  ['a length with its top bit set', frame(TEXT, 'x', { length: 1n << 63n }), [1002, 1009]],
]) {
  nuisance(`${what} ends the connection with ${code}`, {}, async (s) => {
    const wire = await s.upgraded();
    await wire.hears(TEXT, 'welcome');
    wire.write(bytes);
    const got = await wire.closing();
    assert.ok([code].flat().includes(got), `closed with ${got}`);
  });
}

nuisance('a message over the limit ends the connection with 1009', { 'max-message-size': 1000 }, async (s) => {
  const text = (size) => JSON.stringify({ command: 'ping', pad: '' }).replace('""', `"${'x'.repeat(size - 27)}"`);
  assert.equal(text(1000).length, 1000);
  const one = await s.socket();
  one.send(text(1000));
  await one.hears({ type: 'pong' });
  one.send(text(1001));
  assert.equal((await one.closing()).code, 1009);
});

nuisance('a message over the limit ends the connection in fragments, too', { 'max-message-size': 1000 }, async (s) => {
  const wire = await s.upgraded();
  wire.send(TEXT, 'x'.repeat(400), { fin: false });
  wire.send(CONTINUATION, 'x'.repeat(400), { fin: false });
  wire.send(CONTINUATION, 'x'.repeat(400), { fin: false });
  assert.equal(await wire.closing(), 1009);
});

nuisance('the limit of a message is 64 KiB when nothing else is said', {}, async (s) => {
  const socket = await s.socket();
  socket.send(PING_COMMAND + ' '.repeat(65536 - PING_COMMAND.length));
  await socket.hears({ type: 'pong' });
  socket.send(PING_COMMAND + ' '.repeat(65537 - PING_COMMAND.length));
  assert.equal((await socket.closing()).code, 1009);
});

nuisance('a message without end in ever more fragments ends', {}, async (s) => {
  const wire = await s.upgraded();
  wire.send(TEXT, 'x', { fin: false });
  const part = frame(CONTINUATION, 'x'.repeat(1000), { fin: false });
  for (let n = 0; n < 70; n += 1) wire.write(part);
  assert.equal(await wire.closing(), 1009);
});

nuisance('empty fragments without end cost no memory worth a name', {}, async (s) => {
  const wire = await s.upgraded();
  wire.send(TEXT, '', { fin: false });
  wire.write(Buffer.concat(Array(20_000).fill(frame(CONTINUATION, '', { fin: false }))));
  wire.send(CONTINUATION, PING_COMMAND);
  await wire.hears(TEXT, '"pong"');
});

nuisance('a command in fragments with pings between them is one command', {}, async (s) => {
  const wire = await s.upgraded();
  const identifier = identify('✓');
  const bytes = Buffer.from(JSON.stringify({ command: 'subscribe', identifier }));
  const middle = bytes.indexOf('✓') + 1;
  wire.send(TEXT, bytes.subarray(0, 3), { fin: false });
  wire.send(PING, 'a');
  await wire.hears(PONG, 'a');
  wire.send(CONTINUATION, bytes.subarray(3, middle), { fin: false });
  wire.send(PING, 'b');
  wire.send(CONTINUATION, bytes.subarray(middle));
  await wire.hears(PONG, 'b');
  await wire.hears(TEXT, 'confirm_subscription');
});

nuisance('a frame that arrives byte by byte is a frame', {}, async (s) => {
  const wire = await s.upgraded();
  for (const byte of frame(TEXT, PING_COMMAND)) {
    wire.write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  await wire.hears(TEXT, '"pong"');
});

nuisance('a handshake that arrives byte by byte is a handshake', {}, async (s) => {
  const wire = await s.wire();
  for (const byte of Buffer.from(handshake(s.broker.origin))) {
    wire.write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  assert.equal((await wire.answer()).status, 101);
  await wire.hears(TEXT, 'welcome');
});

nuisance('a handshake and what follows it may be cut in two anywhere', {}, async (s) => {
  const subscribe = JSON.stringify({ command: 'subscribe', identifier: identify('another') });
  const bytes = Buffer.concat([Buffer.from(handshake(s.broker.origin)), frame(TEXT, subscribe), frame(PING, 'x')]);
  const cuts = Array.from({ length: bytes.length }, (_, at) => at + 1);
  while (cuts.length) {
    const wires = cuts.splice(0, 40).map(async (at) => {
      const wire = await s.wire();
      wire.write(bytes.subarray(0, at));
      await pass(5); // it is read before the rest is there
      wire.write(bytes.subarray(at));
      assert.equal((await wire.answer()).status, 101, `cut after ${at} bytes`);
      await wire.hears(TEXT, 'welcome');
      await wire.hears(TEXT, 'confirm_subscription');
      await wire.hears(PONG, 'x');
      wire.destroy();
    });
    await Promise.all(wires);
  }
});

nuisance('a thousand frames in one packet are a thousand frames', {}, async (s) => {
  const wire = await s.upgraded();
  wire.write(Buffer.concat(Array.from({ length: 1000 }, () => frame(TEXT, PING_COMMAND))));
  for (let n = 0; n < 1000; n += 1) await wire.hears(TEXT, '"pong"');
});

nuisance('nothing that follows a close frame is followed', {}, async (s) => {
  const wire = await s.upgraded();
  const identifier = identify('room');
  wire.say({ command: 'subscribe', identifier });
  await wire.hears(TEXT, 'confirm_subscription');
  const join = JSON.stringify({ command: 'join', identifier, presence: { id: 'ghost' } });
  wire.write(Buffer.concat([frame(CLOSE, Buffer.from([3, 232])), frame(TEXT, join)]));
  assert.equal(await wire.closing(), 1000);
});

for (const [what, bytes] of [
  ['nothing at all', ''],
  ['TLS', Buffer.from('16030100f1010000ed0303', 'hex')],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['zeros', Buffer.alloc(4096)],
  ['no HTTP', 'HELO broker\r\n\r\n'],
  ['HTTP/0.9', 'GET /cable\r\n\r\n'],
  ['a header without a colon', 'GET /cable HTTP/1.1\r\nHost\r\n\r\n'],
  ['a header with a NUL', 'GET /cable HTTP/1.1\r\nHost: a\0b\r\n\r\n'],
  ['two lengths', 'POST /_broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}'],
  ['a negative length', 'POST /_broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n'],
  ['a length and chunks', 'POST /_broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['a broken chunk', 'POST /_broadcast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'],
]) {
  nuisance(`a connection that says ${what} harms nobody`, {}, async (s) => {
    const wire = await s.wire();
    wire.socket.end(bytes);
    await within(wire.ended, 'the connection to end');
  });
}

nuisance('a client that speaks TLS to the plain port is told at once', {}, async (s) => {
  const since = performance.now();
  const secure = connect({ port: s.broker.port, host: '127.0.0.1', rejectUnauthorized: false });
  s.cleanup(() => secure.destroy());
  await within(assert.rejects(once(secure, 'secureConnect')), 'the failure');
  assert.ok(performance.now() - since < 8000, 'it need not wait for the handshake timeout');
});

nuisance('more headers than allowed are refused', { 'max-header-size': 8192 }, async (s) => {
  const wire = await s.wire();
  wire.write(`GET /cable HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(9000)}\r\n\r\n`);
  const { status } = await wire.answer();
  assert.ok([400, 431].includes(status), `HTTP ${status}`);
  await within(wire.ended, 'the connection to end');
});

nuisance('headers without end are cut off', {}, async (s) => {
  const wire = await s.wire();
  let open = true;
  wire.ended.then(() => (open = false));
  wire.write('GET /cable HTTP/1.1\r\nHost: x\r\n');
  for (let n = 0; open && n < 5000; n += 1) {
    wire.write(`X-${n}: ${'x'.repeat(1000)}\r\n`);
    if (n % 50 === 0) await pass(1);
  }
  await within(wire.ended, 'the connection to end');
});

nuisance('an address of 100 KB is refused', {}, async (s) => {
  const wire = await s.wire();
  wire.write(`GET /cable?${'x'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const { status } = await wire.answer();
  assert.ok([400, 414, 431].includes(status), `HTTP ${status}`);
});

for (const [what, begin] of [
  ['says nothing', ''],
  ['stops within the request line', 'GET /ca'],
  ['stops within the headers', 'GET /cable HTTP/1.1\r\nHost: x\r\nUpgr'],
]) {
  const SECOND = { 'handshake-timeout': '1s' };
  nuisance(`a connection that ${what} is closed when the handshake takes too long`, SECOND, async (s) => {
    const since = performance.now(); // the broker's time begins when it has let the connection in
    const wire = await s.wire();
    wire.write(begin);
    await within(wire.ended, 'the connection to end');
    const waited = performance.now() - since;
    assert.ok(waited > 900 && waited < 1000 + LATE, `it ended after ${waited} ms`);
  });
}

nuisance('dribbling headers buys no time', { 'handshake-timeout': '1s' }, async (s) => {
  const wire = await s.wire();
  const since = performance.now();
  let open = true;
  wire.ended.then(() => (open = false));
  wire.write('GET /cable HTTP/1.1\r\nHost: x\r\nX-Slow: ');
  while (open && performance.now() - since < 5000) {
    wire.write('x');
    await pass(100);
  }
  const waited = performance.now() - since;
  assert.ok(waited < 1000 + LATE, `it ended after ${waited} ms`);
});

nuisance('a hundred half-open handshakes keep nobody out', { 'handshake-timeout': '30s' }, async (s) => {
  for (let n = 0; n < 100; n += 1) (await s.wire()).write('GET /cable HTTP/1.1\r\nHost:');
  const socket = await s.socket();
  await socket.subscribe('another');
});

nuisance('a client that does not answer the close frame is cut off', {}, async (s) => {
  const wire = await s.upgraded();
  wire.polite = false;
  wire.send(BINARY, 'x');
  assert.equal(await wire.closing(10_000), 1003);
  await s.connections(BYSTANDERS);
});

nuisance('clients that vanish in the middle of anything are noticed', {}, async (s) => {
  const beginnings = [
    '',
    'GET /cable HTTP/1.1\r\n',
    'POST /_broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"stream":',
  ];
  for (const beginning of beginnings) {
    const wire = await s.wire();
    wire.write(beginning);
    await pass(20);
    wire.socket.resetAndDestroy();
  }
  for (const bytes of [Buffer.alloc(0), frame(TEXT, PING_COMMAND).subarray(0, 9)]) {
    const wire = await s.upgraded();
    wire.write(bytes);
    await pass(20);
    wire.socket.resetAndDestroy();
  }
  await s.connections(BYSTANDERS);
});
