// Scenarios of a broker that asks an application, and what clients of its channel do.

import assert from 'node:assert/strict';
import { scenario } from '../scenario.js';
import { GrpcApplication } from './grpc.js';
import { HttpApplication } from './http.js';

export const BASE = 'actioncable-v1-json';
export const EXTENDED = 'actioncable-v1-ext-json';

/** What an application is asked over. */
const TRANSPORTS = { HTTP: HttpApplication, gRPC: GrpcApplication };

/** The identifier of the application's channel; `params` say what it does (see channels.js). */
export const room = (params = {}) => JSON.stringify({ channel: 'RoomChannel', ...params });

/**
 * Declares a test of a broker that asks an application: what `open` gives, in the scenario as `application`. It is there until
 * the broker has stopped. At the end it ran no command twice.
 */
export function asked(name, open, flags, run, system) {
  const begin = async (s) => {
    s.application = await open(s);
    s.t.after(() => s.application.close());
    return { 'rpc-host': s.application.host, ...(typeof flags === 'function' ? await flags(s) : flags) };
  };
  scenario(name, begin, async (s) => {
    await run(s);
    assert.deepEqual(ranTwice(s.application), [], 'commands that ran twice');
  }, system);
}

/** The same over HTTP and over gRPC. */
export function askedOverEach(name, flags, run, system) {
  for (const [transport, Application] of Object.entries(TRANSPORTS)) {
    asked(`${name}, over ${transport}`, () => new Application().open(), flags, run, system);
  }
}

/** The ids of the commands that the application ran more than once. */
function ranTwice({ calls }) {
  const ids = calls.filter(({ ran }) => ran).map(({ metadata }) => metadata['command-id']);
  return ids.filter((id, at) => id && ids.indexOf(id) !== at);
}

/** A WebSocket of a user, not yet welcomed; `more` is for the query. */
export function arrive(s, user, { protocol = EXTENDED, more = '', ...options } = {}) {
  return s.open(`/cable?user=${user}${more}`, { protocols: [protocol], ...options });
}

/** A WebSocket of a user that has been welcomed. */
export async function connect(s, user, options) {
  return (await arrive(s, user, options)).welcome();
}

/** Subscribes to the application's channel; gives the identifier. */
export function ask(socket, params, extra = {}) {
  const identifier = room(params);
  socket.send({ command: 'subscribe', identifier, ...extra });
  return identifier;
}

/** The same, and waits for the confirmation. */
export async function enter(socket, params, extra) {
  const identifier = ask(socket, params, extra);
  await socket.hears({ type: 'confirm_subscription', identifier });
  return identifier;
}

/** Performs an action: the channel does what `does` says. */
export function perform(socket, identifier, does) {
  socket.send({ command: 'message', identifier, data: JSON.stringify(does) });
}

let marks = 0;

/**
 * Returns when everything that was asked for an identifier has been answered, and what came of it has been said. Gives what the
 * application was told then: the connection's `identifiers` and its `env`.
 */
export async function shows(s, socket, identifier) {
  marks += 1;
  const does = { transmit: [{ mark: marks }] };
  perform(socket, identifier, does);
  await socket.hears({ identifier, message: does.transmit[0] });
  const { message } = s.application.of('message').find((call) => call.message.data === JSON.stringify(does));
  const { connection_identifiers: identifiers, env } = message;
  return { identifiers, env };
}

/** The calls by kind, in order. */
export const kinds = ({ calls }) => calls.map(({ kind }) => kind);
