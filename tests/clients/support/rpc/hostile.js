// Faults of an application over HTTP, for `HttpApplication.meet`: what servers, and what stands before them, answer when
// something is wrong.

import { setTimeout as sleep } from 'node:timers/promises';
import { DONE } from './service.js';

/** This answer, as it is. */
export function reply({ status = 200, headers = {}, text = '' }) {
  return (run, { response }) => {
    response.writeHead(status, headers).end(text);
    return DONE;
  };
}

/** Bodies that are no answer to a call, by what is wrong with them. */
export const BODIES = {
  'nothing': '',
  'HTML': '<html><body>It works!</body></html>',
  'half an object': '{"status":1,"transmissions":["{}',
  'no object': '[1]',
  'an identifier that is no string': '{"status":1,"identifiers":{"user":"ann"}}',
  'streams that are no list': '{"status":1,"streams":"a"}',
  'a transmission that is no string': '{"status":1,"transmissions":[{"type":"welcome"}]}',
  'a state that is no object': '{"status":1,"env":{"istate":[1]}}',
  'a status that there isn\'t': '{"status":7}',
  'no UTF-8': Buffer.from('{"status":1,"identifiers":"\xff"}', 'latin1'),
};

/** Elsewhere, as an application says that wants TLS. The place is the application's own, so that it sees whoever goes there. */
export function redirect(status = 302) {
  return reply({ status, headers: { location: '/_anycable/elsewhere' } });
}

/** The answer, so many ms late. */
export function late(ms) {
  return async (run) => {
    await sleep(ms);
    return run();
  };
}

/** The connection ends without an answer; with `after`, when the command has run. */
export function cut({ after = false } = {}) {
  return async (run, { response }) => {
    if (after) await run();
    response.socket.destroy();
    return DONE;
  };
}

/** The head and half of the body; then the connection ends, or, with `stay`, nothing more happens. */
export function half({ stay = false } = {}) {
  return async (run, { response }) => {
    const text = JSON.stringify(await run());
    response.writeHead(200, { 'content-length': Buffer.byteLength(text) });
    response.write(text.slice(0, text.length / 2), () => stay || response.socket.destroy());
    return DONE;
  };
}

/** An answer of so many bytes and more, or one that never ends: `Infinity`. Gives up when nobody reads it. */
export function huge(bytes) {
  return async (run, { response }) => {
    response.writeHead(200);
    response.write('{"status":1,"transmissions":["');
    const chunk = 'x'.repeat(64 * 1024);
    for (let sent = 0; sent < bytes && !response.destroyed; sent += chunk.length) {
      if (!response.write(chunk)) await Promise.race([new Promise((go) => response.once('drain', go)), sleep(5000)]);
    }
    response.end('"]}');
    return DONE;
  };
}

/** The answer; and then the connection ends, which was to be kept by all that its head says. */
export function hangUp() {
  return async (run, { response }) => {
    const text = JSON.stringify(await run());
    const { socket } = response;
    response.writeHead(200, { connection: 'keep-alive', 'content-length': Buffer.byteLength(text) });
    response.end(text, () => socket.end());
    return DONE;
  };
}
