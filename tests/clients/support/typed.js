// A client of the typed JSON protocol: what `websocat ws://127.0.0.1:PORT/` and a person are together.

import { Socket } from './socket.js';

export class TypedSocket extends Socket {
  /** Sends a frame of a type. */
  say(type, payload = {}) {
    this.send({ type, payload });
  }

  /** Becomes present and hears of it. */
  async join(user, more = {}) {
    this.say('presence.join', { user, ...more });
    await this.hears({ type: 'presence.online', payload: { user, ...more } });
    return this;
  }

  /** Who is present; in order with all that is said to the room. */
  async list(more = {}) {
    this.say('presence.list', more);
    const { payload } = await this.hears({ type: 'presence.current' });
    return payload.users;
  }

  /** Why the broker didn't do what was asked. */
  async refusal() {
    const { payload } = await this.hears({ type: 'error' });
    return payload.message;
  }

  hearsPublication(data) {
    return this.hears({ type: 'message', payload: data });
  }
}

/** What everyone in the default room is told when somebody opens a socket. */
export const OPENED = {
  type: 'presence.system',
  payload: { message: 'A new connection opened' },
};

/** An open socket that has heard of its own opening. */
export async function typedTo(s, path = '/', options = {}) {
  const socket = await s.open(path, { kind: TypedSocket, protocols: [], ...options });
  await socket.hears(OPENED);
  return socket;
}
