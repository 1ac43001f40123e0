// The application of the tests: its connections and its channel, however it is asked. What it does, its clients say: in the
// URL when they connect, in the identifier's parameters when they subscribe, in the data when they perform.

export const ERROR = 0;
export const SUCCESS = 1;
export const FAILURE = 2;

/** The cookies of a request, by name. */
function cookiesOf(headers) {
  const pairs = (headers.cookie ?? '').split(/;\s*/).filter(Boolean);
  return Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s, 2)));
}

/**
 * Whoever has a name may connect: in the query as `user`, in a cookie of that name, or in the header `x-user`. Further, in the
 * query: `cstate` is JSON of what to keep, `raise` the message of an error, and with `quiet` a refusal says nothing.
 */
function connect({ env }, { sid }) {
  const { url, headers = {} } = env;
  const query = new URL(url).searchParams;
  if (query.has('raise')) throw new Error(query.get('raise'));
  const user = query.get('user') ?? cookiesOf(headers).user ?? headers['x-user'];
  if (!user) {
    const refusal = { type: 'disconnect', reason: 'unauthorized', reconnect: false };
    return { status: FAILURE, transmissions: query.has('quiet') ? [] : [JSON.stringify(refusal)] };
  }
  return {
    status: SUCCESS,
    identifiers: JSON.stringify({ user }),
    transmissions: [JSON.stringify({ type: 'welcome', sid })],
    env: { cstate: JSON.parse(query.get('cstate') ?? '{}') },
  };
}

/**
 * What a channel can do, all in one answer:
 *
 * `follow`, `unfollow`: streams, `stop`: all of them; `transmit`: messages to this subscription, `raw`: any frames;
 * `istate`, `cstate`: what to keep; `whisper`: the stream for whispers, `presence`: the one for presence;
 * `join`: `{ id, info, ttl }`, `leave`: `{ id }`; `show`: transmits what the application was given;
 * `disconnect`: the connection; `fail`: refuses, `raise`: the message of an error.
 */
function act(does, { identifier, connection_identifiers: identifiers, env = {} }) {
  if (does.raise) throw new Error(does.raise);
  const istate = { ...does.istate };
  if (does.whisper !== undefined) istate.$w = does.whisper;
  if (does.presence !== undefined) istate.$p = does.presence;
  const messages = [...(does.transmit ?? [])];
  if (does.show) messages.push({ identifiers, ...env });
  const frames = messages.map((message) => JSON.stringify({ identifier, message }));
  const { id, info, ttl } = does.join ?? does.leave ?? {};
  return {
    status: does.fail ? FAILURE : SUCCESS,
    disconnect: does.disconnect ?? false,
    stop_streams: does.stop ?? false,
    streams: does.follow ?? [],
    stopped_streams: does.unfollow ?? [],
    transmissions: [...frames, ...(does.raw ?? [])],
    env: { istate, cstate: { ...does.cstate } },
    ...(does.join && { presence: { type: 'join', id, info: JSON.stringify(info ?? {}), ttl } }),
    ...(does.leave && { presence: { type: 'leave', id } }),
  };
}

/**
 * The identifier names this channel and says what it does: `does` when it is subscribed to, `leaving` when that is over; with
 * neither it follows the stream of its `id`. With `quiet` it neither confirms nor rejects by itself.
 */
const COMMANDS = {
  subscribe(message, { id, does = { follow: [`room/${id}`] }, quiet }) {
    const answer = act(does, message);
    const type = answer.status === SUCCESS ? 'confirm_subscription' : 'reject_subscription';
    if (!quiet) answer.transmissions.unshift(JSON.stringify({ type, identifier: message.identifier }));
    return answer;
  },
  unsubscribe(message, { leaving = {} }) {
    return act({ stop: true, ...leaving }, message);
  },
  message(message) {
    return act(JSON.parse(message.data), message);
  },
};

function command(message) {
  const { channel, ...params } = JSON.parse(message.identifier);
  if (channel !== 'RoomChannel') throw new Error(`there is no channel ${channel}`);
  return COMMANDS[message.command](message, params);
}

function disconnect() {
  return { status: SUCCESS };
}

/** By method: a message and its metadata in, the answer out. What raises an error is answered with it. */
export const METHODS = Object.fromEntries(
  Object.entries({ connect, command, disconnect }).map(([name, method]) => [
    name,
    (message, metadata) => {
      try {
        return method(message, metadata);
      } catch (error) {
        return { status: ERROR, error_msg: error.message };
      }
    },
  ]),
);
