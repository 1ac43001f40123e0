// A TCP (or TLS) connection that writes any bytes it is told to: half a handshake, frames no library makes.

import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import tls from 'node:tls';
import { BEGINNING, Inbox, PATIENCE, within } from './patience.js';
import { identify } from './socket.js';

export const TEXT = 1;
export const BINARY = 2;
export const CONTINUATION = 0;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** One WebSocket frame as bytes. */
export function frame(opcode, payload = '', { fin = true, reserved = 0, masked = true, length } = {}) {
  const body = Buffer.from(payload);
  const size = length ?? BigInt(body.length);
  const head = [((fin ? 0x80 : 0) | (reserved << 4) | opcode) & 0xff];
  const maskBit = masked ? 0x80 : 0;
  if (size < 126n) {
    head.push(maskBit | Number(size));
  } else if (size < 65536n) {
    head.push(maskBit | 126, Number(size >> 8n), Number(size & 255n));
  } else {
    head.push(maskBit | 127);
    for (let shift = 56n; shift >= 0n; shift -= 8n) head.push(Number((size >> shift) & 255n));
  }
  if (!masked) return Buffer.concat([Buffer.from(head), body]);
  const mask = randomBytes(4);
  return Buffer.concat([Buffer.from(head), mask, body.map((byte, at) => byte ^ mask[at % 4])]);
}

/** A command as a text frame. */
export const commandFrame = (command) => frame(TEXT, JSON.stringify(command));

/** The request that opens a WebSocket, with some headers changed, or left out by `null`. */
export function handshake(origin, headers = {}, request = 'GET /cable HTTP/1.1') {
  const all = {
    Host: origin,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  };
  const lines = Object.entries(all)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `${request}\r\n${lines.join('')}\r\n`;
}

export class Wire {
  /** All text frames as they came. */
  texts = [];
  /** Whether a close frame is answered with one, as the RFC wants it. */
  polite = true;

  #buffer = Buffer.alloc(0);
  #inbox = new Inbox();
  #upgraded = false;

  /** Connects, and writes nothing yet. `options` as of Node's `net.connect`. */
  static async connect(broker, options) {
    const wire = new Wire(broker, options);
    await within(wire.connected, 'a TCP connection', BEGINNING);
    return wire;
  }

  /** Connects and opens a WebSocket; bytes in `more` leave in the same packet as the request. */
  static async upgrade(broker, more = Buffer.alloc(0), headers = {}, request = undefined) {
    const wire = await Wire.connect(broker);
    wire.handshake(more, headers, request);
    const answer = await wire.answer();
    if (answer.status !== 101) throw new Error(`no upgrade: HTTP ${answer.status}`);
    return wire;
  }

  constructor(broker, options) {
    const at = { host: '127.0.0.1', port: broker.port, ...options };
    this.socket = broker.ca ? tls.connect({ ca: broker.ca, ...at }) : connect(at);
    this.origin = broker.origin;
    this.socket.setNoDelay(true);
    this.connected = new Promise((resolve, reject) => {
      this.socket.once(broker.ca ? 'secureConnect' : 'connect', resolve);
      this.socket.once('error', reject);
    });
    this.connected.catch(() => {});
    this.socket.on('error', () => {});
    this.socket.on('data', (bytes) => {
      this.#buffer = Buffer.concat([this.#buffer, bytes]);
      this.#parse();
    });
    /** The peer has closed its side, or the connection is over. */
    this.finished = new Promise((resolve) => {
      this.socket.once('end', resolve);
      this.socket.once('close', resolve);
    });
    // The peer's FIN is enough: this side then closes by itself.
    this.ended = new Promise((resolve) => {
      this.socket.once('close', () => {
        this.#inbox.end('the connection ended');
        resolve();
      });
    });
  }

  /** Asks for a WebSocket; the answer is not awaited. */
  handshake(more = Buffer.alloc(0), headers = {}, request = undefined) {
    this.write(Buffer.concat([Buffer.from(handshake(this.origin, headers, request)), more]));
  }

  write(bytes) {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  send(opcode, payload, options) {
    this.write(frame(opcode, payload, options));
  }

  say(command) {
    this.send(TEXT, typeof command === 'string' ? command : JSON.stringify(command));
  }

  #parse() {
    if (!this.#upgraded) {
      const end = this.#buffer.indexOf('\r\n\r\n');
      if (end === -1) return;
      const [first, ...lines] = this.#buffer.subarray(0, end).toString().split('\r\n');
      const headers = Object.fromEntries(
        lines.map((line) => [
          line.slice(0, line.indexOf(':')).toLowerCase(),
          line.slice(line.indexOf(':') + 1).trim(),
        ]),
      );
      this.#buffer = this.#buffer.subarray(end + 4);
      this.#upgraded = true;
      this.#inbox.put({ status: Number(first.split(' ')[1]), headers });
      if (Number(first.split(' ')[1]) !== 101) return;
    }
    for (;;) {
      const bytes = this.#buffer;
      if (bytes.length < 2) return;
      let size = bytes[1] & 0x7f;
      let start = 2;
      if (size === 126) {
        if (bytes.length < 4) return;
        size = bytes.readUInt16BE(2);
        start = 4;
      } else if (size === 127) {
        if (bytes.length < 10) return;
        size = Number(bytes.readBigUInt64BE(2));
        start = 10;
      }
      if (bytes.length < start + size) return;
      const payload = bytes.subarray(start, start + size);
      const opcode = bytes[0] & 15;
      this.#buffer = bytes.subarray(start + size);
      if (opcode === CLOSE) {
        this.#inbox.put({ opcode, code: payload.length >= 2 ? payload.readUInt16BE(0) : null });
        if (this.polite) this.send(CLOSE, payload);
      } else {
        if (opcode === TEXT) this.texts.push(payload.toString());
        this.#inbox.put({ opcode, text: payload.toString() });
      }
    }
  }

  /** The head of the HTTP response. */
  answer(ms = PATIENCE) {
    return this.#inbox.take((item) => 'status' in item, 'an HTTP response', ms);
  }

  /** The next frame of this kind whose text has the given part in it. */
  hears(opcode, part = '', ms = PATIENCE) {
    const wants = (item) => item.opcode === opcode && (item.text ?? '').includes(part);
    return this.#inbox.take(wants, `a frame of opcode ${opcode} with «${part}»`, ms);
  }

  /** The code of the broker's close frame; the TCP connection has ended then, too. */
  async closing(ms = PATIENCE) {
    const { code } = await this.hears(CLOSE, '', ms);
    await within(this.ended, 'the TCP connection to end after the close frame', ms);
    return code;
  }

  destroy() {
    this.socket.destroy();
  }

  /** Ends the connection by a TCP reset: the peer is told by an error, and loses what it has unread. */
  reset() {
    this.socket.resetAndDestroy();
  }
}

/** A connection over which these bytes have been written. */
export function wrote(wire, ...bytes) {
  for (const some of bytes) wire.write(some);
  return wire;
}

/** Somebody upgrades, subscribes and joins in one write, and all of it is answered. */
export async function joinsWithHandshake(s) {
  const identifier = identify('room');
  const early = [
    commandFrame({ command: 'subscribe', identifier }),
    commandFrame({ command: 'join', identifier, presence: { id: 'ann' } }),
  ];
  const wire = await s.upgraded(Buffer.concat(early));
  await wire.hears(TEXT, '"welcome"');
  await wire.hears(TEXT, 'confirm_subscription');
  await wire.hears(TEXT, '"join"');
}
