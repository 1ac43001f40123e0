// Who is online, with Phoenix's own client. The address says who you are: ?user_id=ann. Without it you
// watch and nobody sees you.

import { Presence, Socket } from 'phoenix';

const query = new URLSearchParams(location.search);
const broker = query.get('broker') ?? '127.0.0.1:8080';
const topic = query.get('topic') ?? 'room:lobby';
const userId = query.get('user_id');

const socket = new Socket(`ws://${broker}/socket`, { params: userId ? { user_id: userId } : {} });
const channel = socket.channel(topic, {});
const presence = new Presence(channel);

function say(text) {
  document.getElementById('status').textContent = text;
}

function note(text) {
  const made = document.createElement('li');
  made.textContent = text;
  document.getElementById('notes').prepend(made);
}

// From the first time of a user, or from another tab or device of theirs?
presence.onJoin((id, current) => {
  note(current ? `${id} is here from one more device` : `${id} has entered`);
});

// From all of them, or still here from another?
presence.onLeave((id, current) => {
  note(current.metas.length === 0 ? `${id} has left` : `${id} has left from a device`);
});

presence.onSync(() => {
  const users = presence.list((id, { metas: [first, ...rest] }) => {
    const made = document.createElement('li');
    const since = first.online_at ? new Date(first.online_at * 1000).toLocaleTimeString() : '';
    const name = document.createElement('strong');
    name.textContent = id;
    made.append(name, ` (count: ${rest.length + 1})`, since && ` since ${since}`);
    return made;
  });
  document.getElementById('users').replaceChildren(...users);
});

socket.onError(() => say(`${broker} can't be reached. Trying again…`));
socket.connect();
channel
  .join()
  .receive('ok', () => say(userId ? `You are ${userId}.` : 'You are watching: add ?user_id=… to be seen.'))
  .receive('error', ({ reason }) => say(`The topic is refused: ${reason}`));
