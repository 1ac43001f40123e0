// A chat room: joins over the broker's chat protocol, shows who is there, who comes and goes, who is
// typing, and what was said before. `watch.js` shows the same room as clients of other protocols see it.

import { PROTOCOLS, start as startWatching } from './watch.js';

/** How long to wait before connecting again, and how long after so many refusals in a row. */
const RECONNECT = 3000;
const RECONNECT_REFUSED = 60_000;
const REFUSALS = 5;
/** How often others are told that somebody is typing, and how long they show it. */
const TYPING = 2000;
const TYPING_SHOWN = 3000;
/** How near to its end a list has to be to follow what is added, in pixels. */
const NEAR = 60;

/** What the address needs where the broker has a secret. */
const HOW_TO_GET_IN = 'Open this page with a token (?jid=…) and the room’s signed name (&signed_stream_name=…).';

const query = new URLSearchParams(location.search);
const $ = (id) => document.getElementById(id);
/** What the address says of the broker: where it is, if it isn't the page's own server, and what it wants to
 *  know of a client if it has a secret. */
const broker = {
  host: query.get('broker') ?? location.host,
  /** The room's signed name, by the key that `as` says: `{}` if there is none. */
  signed: (as) => (query.has('signed_stream_name') ? { [as]: query.get('signed_stream_name') } : {}),
  /** An address there; `scheme` is `http` or `ws`. */
  address(scheme, path, parameters = {}) {
    const secure = location.protocol === 'https:' ? 's' : '';
    const url = new URL(path, `${scheme}${secure}://${this.host}`);
    if (query.has('jid')) url.searchParams.set('jid', query.get('jid'));
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    return url.href;
  },
};

/** What one visit to a room needs, from joining to changing the room. */
class Visit {
  #socket;
  #timer;
  #typed = -Infinity;
  #typists = new Map();
  #closed = false;
  #refusals = 0;

  constructor(room, username) {
    this.room = room;
    this.username = username;
    this.#connect();
  }

  #connect() {
    say('connecting', 'Connecting…');
    const socket = new WebSocket(broker.address('ws', '/chat'));
    let [refusal, entered] = [undefined, false];
    this.#socket = socket;
    socket.onopen = () => {
      this.#send('join', broker.signed('signed_stream_name'));
      this.#loadHistory();
    };
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      entered ||= frame.type === 'user_list';
      if (frame.type !== 'error') this.#hear(frame);
      else if (entered) showTrouble(sentence(frame.message));
      else refusal = frame.message;
    };
    socket.onclose = () => {
      if (this.#closed) return;
      $('send').disabled = true;
      document.body.classList.add('away');
      showTrouble(
        refusal
          ? `${sentence(refusal)} ${HOW_TO_GET_IN}`
          : `The broker at ${broker.host} can’t be reached. What you write stays here until it can.`,
      );
      this.#refusals = refusal ? this.#refusals + 1 : 0;
      const wait = this.#refusals < REFUSALS ? RECONNECT : RECONNECT_REFUSED;
      const why = refusal ? sentence(refusal) : 'The connection is lost.';
      say('lost', `${why} Trying again in ${wait / 1000} s…`);
      this.#timer = setTimeout(() => this.#connect(), wait);
    };
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket.close();
    for (const timer of this.#typists.values()) clearTimeout(timer);
  }

  #send(type, more) {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify({ type, room: this.room, username: this.username, ...more }));
    return true;
  }

  /** Whether it could be sent. */
  write(content) {
    this.#typed = -Infinity;
    return this.#send('message', { content });
  }

  type() {
    const now = performance.now();
    if (now - this.#typed > TYPING && this.#send('typing')) this.#typed = now;
  }

  #hear(frame) {
    switch (frame.type) {
      case 'user_list':
        document.body.classList.remove('away');
        $('send').disabled = false;
        showTrouble('');
        this.#refusals = 0;
        say('open', 'Connected');
        showUsers(frame.users);
        break;
      case 'user_joined':
        showNotice(`${frame.username} joined the room`);
        showUsers(frame.users);
        break;
      case 'user_left':
        showNotice(`${frame.username} left the room`);
        showUsers(frame.users);
        this.#stopsTyping(frame.username);
        break;
      case 'message':
        this.#stopsTyping(frame.data.username);
        showMessage(frame.data, this.username);
        break;
      case 'typing':
        this.#types(frame.username);
        break;
    }
  }

  #types(username) {
    clearTimeout(this.#typists.get(username));
    this.#typists.set(username, setTimeout(() => this.#stopsTyping(username), TYPING_SHOWN));
    showTypists([...this.#typists.keys()]);
  }

  #stopsTyping(username) {
    clearTimeout(this.#typists.get(username));
    if (this.#typists.delete(username)) showTypists([...this.#typists.keys()]);
  }

  /** What was said before; a page that was away gets what it missed in the same way. */
  async #loadHistory() {
    const path = `/api/rooms/${encodeURIComponent(this.room)}/messages`;
    try {
      const answer = await fetch(broker.address('http', path, broker.signed('signed_stream_name')));
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      for (const message of await answer.json()) {
        if (!this.#closed) showMessage(message, this.username, true);
      }
    } catch (error) {
      // then the room begins with what is said from now on
      console.info(`What was said before can't be read: ${error.message}`);
    }
  }
}

// ---- what is shown; all text goes in as text ----

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function say(state, text) {
  $('status').dataset.state = state;
  $('status').textContent = text;
}

/** What stands in the way, above the field to write in. */
function showTrouble(text) {
  $('trouble').hidden = text === '';
  $('trouble').textContent = text;
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

function showUsers(users) {
  const unique = [...new Set(users)];
  const list = $('user-list');
  list.hidden = false;
  list.querySelector('.user-count').textContent = `${unique.length} online`;
  const names = list.querySelector('.user-names');
  names.textContent = unique.join(', ');
  names.title = names.textContent;
}

function showTypists(names) {
  const who = names.length > 2 ? `${names.length} people` : names.join(' and ');
  const are = names.length > 1 ? 'are' : 'is';
  $('typing-indicator').textContent = names.length > 0 ? `${who} ${are} typing…` : '';
}

/** Adds to a list that stays at its end if it was there. */
function append(list, made, before) {
  const follows = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR;
  list.insertBefore(made, before ?? null);
  if (follows) list.scrollTop = list.scrollHeight;
}

function showNotice(text) {
  const made = element('div', 'message system-message', text);
  made.dataset.at = Date.now();
  append($('messages'), made);
}

/** Shows a message, an earlier one in its place; one that is there already is not shown again. */
function showMessage({ username, content, timestamp }, me, isEarlier = false) {
  const shown = [...$('messages').children];
  const key = JSON.stringify([timestamp, username, content]);
  if (shown.some((other) => other.dataset.key === key)) return;

  const at = Date.parse(timestamp);
  const made = element('div', username === me ? 'message mine' : 'message');
  made.dataset.key = key;
  made.dataset.at = at;
  const time = element('time', 'timestamp', clock(at));
  time.dateTime = timestamp;
  time.title = timestamp;
  made.append(avatar(username), element('span', 'username', username), time);
  made.append(element('span', 'content', content));
  const later = (other) => Number(other.dataset.at) > at;
  append($('messages'), made, isEarlier ? shown.find(later) : undefined);
}

/** The first letter of a name in a colour that is always the same. */
function avatar(name) {
  const made = element('span', 'avatar', [...name][0]?.toUpperCase() ?? '?');
  made.style.setProperty('--hue', hue(name));
  made.ariaHidden = true;
  return made;
}

function clock(at, more) {
  if (Number.isNaN(at)) return '';
  return new Date(at).toLocaleTimeString([], { hour: 'numeric', minute: '2-digit', ...more });
}

function hue(name) {
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  return hash;
}

/** A name for somebody who has none yet. */
function anyName() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  return `${pick(['amber', 'brisk', 'calm', 'keen', 'merry', 'quiet', 'sunny', 'witty'])}-${pick([
    'badger', 'crane', 'fox', 'heron', 'lynx', 'otter', 'robin', 'wren',
  ])}`;
}

// ---- the page ----

let visit;
let watching;

function watch() {
  watching?.close();
  const chosen = document.querySelector('#protocols input:checked').value;
  $('frames').replaceChildren();
  showMembers(new Map());
  watching = startWatching(PROTOCOLS[chosen], broker, visit.room, {
    state: (state, text) => {
      $('watch-status').dataset.state = state;
      $('watch-status').textContent = text;
    },
    members: showMembers,
    frame: showFrame,
  });
}

function showMembers(members) {
  $('member-count').textContent = members.size;
  $('members').replaceChildren(
    ...[...members].map(([id, info]) => {
      const made = element('li', 'member');
      made.append(avatar(id), element('span', 'member-id', id));
      if (info !== undefined) made.append(element('code', 'member-info', JSON.stringify(info)));
      return made;
    }),
  );
}

function showFrame(sent, text) {
  const frames = $('frames');
  const made = element('li', sent ? 'frame sent' : 'frame');
  const code = element('code', '');
  // without a space in it, a frame is best broken behind a comma
  for (const part of text.split(/(?<=,)/)) code.append(part, document.createElement('wbr'));
  made.append(element('time', 'timestamp', clock(Date.now(), { second: '2-digit' })), code);
  append(frames, made);
  while (frames.childElementCount > 100) frames.firstElementChild.remove();
}

function enter(room, username) {
  sessionStorage.setItem('room', room);
  sessionStorage.setItem('username', username);
  $('room').value = room;
  $('username').value = username;
  $('title').textContent = room;
  document.title = `${room} · Chat`;
  $('who').hidden = true;
  $('conversation').hidden = false;
  $('change').hidden = false;
  $('messages').replaceChildren();
  visit = new Visit(room, username);
  watch();
  $('message').focus();
}

function leave() {
  visit.close();
  watching.close();
  sessionStorage.removeItem('room');
  $('title').textContent = document.title = 'Chat';
  $('who').hidden = false;
  $('conversation').hidden = true;
  $('change').hidden = true;
  $('user-list').hidden = true;
  showTypists([]);
  showTrouble('');
  $('send').disabled = true;
  document.body.classList.remove('away');
  say('idle', 'Not connected');
  $('username').select();
}

$('who').addEventListener('submit', (event) => {
  event.preventDefault();
  enter($('room').value.trim() || 'general', $('username').value.trim() || 'Guest');
});
$('change').addEventListener('click', leave);
$('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  const content = $('message').value.trim();
  if (!content || !visit.write(content)) return;
  $('message').value = '';
  showTrouble('');
});
$('message').addEventListener('input', () => visit.type());
$('protocols').addEventListener('change', () => visit && watch());

// The address may say who and where, and a reload goes on as it was.
const room = query.get('room') ?? sessionStorage.getItem('room');
const name = query.get('name') ?? sessionStorage.getItem('username');
$('room').value = room ?? 'general';
$('username').value = name ?? anyName();
if (room && name) enter(room, name);
else $('username').select();
