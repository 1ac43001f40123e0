// A client of the chat room: it says what the page says.

import { Socket } from './socket.js';

export class ChatSocket extends Socket {
  /** Enters a room; gives who is there then. `username` may be left out. */
  async enter(room, username, more = {}) {
    this.send({ type: 'join', room, username, ...more });
    const { users } = await this.hears({ type: 'user_list' });
    return users;
  }

  say(room, username, content) {
    this.send({ type: 'message', room, username, content });
  }

  typing(room, username) {
    this.send({ type: 'typing', room, username });
  }

  /** Why the broker didn't do what was asked. */
  async refusal() {
    const { message } = await this.hears({ type: 'error' });
    return message;
  }

  hearsPublication(data) {
    return this.hears({ type: 'message', data });
  }
}

/** An open socket that is in no room yet. */
export function chatTo(s, path = '/chat', options = {}) {
  return s.open(path, { kind: ChatSocket, protocols: [], ...options });
}

/** A socket whose user is in a room and has heard of that. */
export async function chatterIn(s, room, username) {
  const socket = await chatTo(s);
  await socket.enter(room, username);
  await socket.hears({ type: 'user_joined', username });
  return socket;
}
