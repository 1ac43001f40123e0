// One room as clients of four protocols see it, each written out by hand: what they say to follow a
// stream, and how they keep its members from what they hear. In an application the usual libraries do
// this: @rails/actioncable or @anycable/core, phoenix, the browser's own EventSource.
//
// A protocol is a function `(talk) → hear`: it gets `talk.send`, `talk.show` and what the room is
// called, and gives back what to do with each frame.

/** How long to wait before connecting again. */
const RECONNECT = 3000;

/** Action Cable: a subscription to a stream, then the list, then what changes. */
function cable({ send, show, room, broker }) {
  const identifier = JSON.stringify({ channel: '$pubsub', ...named(room, 'stream_name', broker) });
  const members = new Map();
  return (frame) => {
    if (frame.type === 'welcome') send({ command: 'subscribe', identifier });
    if (frame.type === 'confirm_subscription') send({ command: 'presence', identifier, data: {} });
    if (frame.type === 'reject_subscription') throw new Error('The subscription is rejected');
    if (frame.type === 'disconnect') throw new Error(`Disconnected: ${frame.reason}`);
    if (frame.type !== 'presence') return;
    const { type, id, info, records } = frame.message;
    if (type === 'info') {
      members.clear();
      for (const record of records) members.set(record.id, record.info);
    }
    if (type === 'join' || type === 'update') members.set(id, info);
    if (type === 'leave') members.delete(id);
    show(members);
  };
}

/** Phoenix Channels: a topic is joined, its presence comes as a state and then in diffs. */
function phoenix({ send, show, room, broker }) {
  const members = new Map(); // by id, the metas: one for each device
  send(['1', '1', room, 'phx_join', broker.signed('signed_stream_name')]);
  const heartbeat = setInterval(() => send([null, '0', 'phoenix', 'heartbeat', {}]), 30_000);
  const hear = ([, , topic, event, payload]) => {
    if (topic !== room) return;
    if (event === 'phx_reply' && payload.status === 'error') throw new Error(payload.response.reason);
    if (event === 'presence_state') {
      members.clear();
      for (const [id, { metas }] of Object.entries(payload)) members.set(id, metas);
    }
    if (event === 'presence_diff') {
      // first what is new, so that one who changed is not taken for one who left
      for (const [id, { metas }] of Object.entries(payload.joins)) {
        members.set(id, [...(members.get(id) ?? []), ...metas]);
      }
      for (const [id, { metas }] of Object.entries(payload.leaves)) {
        const gone = new Set(metas.map((meta) => meta.phx_ref));
        const left = (members.get(id) ?? []).filter((meta) => !gone.has(meta.phx_ref));
        if (left.length > 0) members.set(id, left);
        else members.delete(id);
      }
    }
    show(members);
  };
  return Object.assign(hear, { end: () => clearInterval(heartbeat) });
}

/** Typed JSON: naming a room follows it. */
function typed({ send, show, room, broker }) {
  const members = new Map();
  send({ type: 'presence.list', payload: { room, ...broker.signed('signed_stream_name') } });
  return ({ type, payload }) => {
    if (type === 'error') throw new Error(payload.message);
    if (payload?.room !== room && !(payload?.room === undefined && room === 'lobby')) return;
    if (type === 'presence.current') {
      members.clear();
      for (const user of payload.users) members.set(user, undefined);
    }
    if (type === 'presence.online') members.set(payload.user, undefined);
    if (type === 'presence.offline') members.delete(payload.user);
    show(members);
  };
}

/** Server-sent events: the messages of Action Cable, on their way without a WebSocket. */
function events({ show }) {
  const members = new Map();
  return (message) => {
    if (message.type === 'info') {
      members.clear();
      for (const record of message.records) members.set(record.id, record.info);
    }
    if (message.type === 'join' || message.type === 'update') members.set(message.id, message.info);
    if (message.type === 'leave') members.delete(message.id);
    show(members);
  };
}

/** What can be watched over. */
export const PROTOCOLS = {
  cable: { speak: cable, path: '/cable', subprotocols: ['actioncable-v1-json'] },
  phoenix: { speak: phoenix, path: '/socket/websocket?vsn=2.0.0' },
  typed: { speak: typed, path: '/' },
  events: { speak: events, path: '/events' },
};

/**
 * Watches a room until `close()`. `to` gets each `frame(sent, text)`, the `members(map)` and
 * of the `state(name, text)` of the connection.
 */
export function start(protocol, broker, room, to) {
  let closed = false;
  let timer;
  let end = () => {};

  function again(why) {
    end();
    if (closed) return;
    to.state('lost', `${why} Trying again in ${RECONNECT / 1000} s…`);
    timer = setTimeout(connect, RECONNECT);
  }

  function connect() {
    to.state('connecting', 'Connecting…');
    const open = protocol === PROTOCOLS.events ? overEvents : overWebSocket;
    end = open(protocol, broker, room, to, again);
  }

  connect();
  return {
    close() {
      closed = true;
      clearTimeout(timer);
      end();
    },
  };
}

function overWebSocket({ speak, path, subprotocols = [] }, broker, room, to, again) {
  const url = broker.address('ws', path);
  const socket = new WebSocket(url, subprotocols);
  let why = 'The connection is lost.';
  let hear;
  const send = (frame) => {
    const text = JSON.stringify(frame);
    to.frame(true, text);
    socket.send(text);
  };
  socket.onopen = () => {
    to.state('open', `Watching over ${plain(url)}`);
    hear = speak({ send, room, broker, show: to.members });
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type === 'ping') return; // every three seconds
    to.frame(false, data);
    try {
      hear(frame);
    } catch (error) {
      why = `${error.message}.`;
      socket.close();
    }
  };
  socket.onclose = () => again(why);
  return () => {
    hear?.end?.();
    socket.onclose = null;
    socket.close();
  };
}

function overEvents({ speak, path }, broker, room, to, again) {
  const url = broker.address('http', path, { ...named(room, 'stream', broker), presence: 'list' });
  const source = new EventSource(url);
  const hear = speak({ show: to.members });
  source.onopen = () => to.state('open', `Watching over ${plain(url)}`);
  source.onerror = () => {
    // it comes back by itself, unless it was refused
    if (source.readyState === EventSource.CLOSED) again('The stream of events is refused.');
    else to.state('connecting', 'The connection is lost. Connecting again…');
  };
  const heard = (event) => {
    const id = event.lastEventId && event.type === 'message' ? `id: ${event.lastEventId}  ` : '';
    to.frame(false, `event: ${event.type}  ${id}data: ${event.data}`);
  };
  for (const type of ['welcome', 'confirm_subscription', 'disconnect', 'message']) {
    source.addEventListener(type, heard);
  }
  source.addEventListener('presence', (event) => {
    heard(event);
    hear(JSON.parse(event.data));
  });
  return () => source.close();
}

/** An address without what is only for the broker to know. */
const plain = (url) => url.split('?')[0];

/** What names the room: its signed name, if there is one. */
function named(room, key, broker) {
  const signed = broker.signed(`signed_${key}`);
  return Object.keys(signed).length > 0 ? signed : { [key]: room };
}
