// A chat page as people write their first one: no library, no module, one connection, markup from strings
// for what it trusts. The broker's chat protocol is what such a page speaks.

const ROOM = 'general';
let socket;
let typing;

const field = (id) => document.getElementById(id);
const name = () => field('username').value.trim() || 'Guest';
const send = (frame) => socket.send(JSON.stringify({ room: ROOM, username: name(), ...frame }));

function connect() {
  socket = new WebSocket(`ws://${location.host}/chat`);
  socket.onopen = () => {
    send({ type: 'join' });
    loadMessages();
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type === 'message') displayMessage(frame.data);
    if (frame.type === 'typing') showTyping(frame.username);
    if (frame.type === 'user_joined') showNotice(`${frame.username} joined the room`);
    if (frame.type === 'user_left') showNotice(`${frame.username} left the room`);
    if (frame.users) updateUserList(frame.users);
  };
  socket.onclose = () => setTimeout(connect, 3000);
}

function updateUserList(users) {
  let list = field('user-list');
  if (!list) {
    list = document.createElement('div');
    list.id = 'user-list';
    document.querySelector('.chat-header').append(list);
  }
  const unique = [...new Set(users)];
  list.innerHTML = `<div class="user-count">${unique.length} online</div>
    <div class="user-names">${unique.map(escapeHtml).join(', ')}</div>`;
}

function showTyping(username) {
  let indicator = field('typing-indicator');
  if (!indicator) {
    indicator = document.createElement('div');
    indicator.id = 'typing-indicator';
    field('messages').append(indicator);
  }
  indicator.textContent = `${username} is typing...`;
  clearTimeout(typing);
  typing = setTimeout(() => indicator.remove(), 3000);
}

function showNotice(text) {
  const notice = document.createElement('div');
  notice.className = 'message system-message';
  notice.textContent = text;
  field('messages').append(notice);
}

async function loadMessages() {
  const answer = await fetch(`/api/rooms/${ROOM}/messages`);
  (await answer.json()).forEach(displayMessage);
}

function displayMessage(message) {
  const shown = document.createElement('div');
  shown.className = 'message';
  shown.innerHTML = `<span class="username">${escapeHtml(message.username)}</span>
    <span class="content">${escapeHtml(message.content)}</span>
    <span class="timestamp">${message.timestamp}</span>`;
  field('messages').append(shown);
}

function escapeHtml(text) {
  const div = document.createElement('div');
  div.textContent = text;
  return div.innerHTML;
}

document.addEventListener('DOMContentLoaded', () => {
  field('username').value = new URLSearchParams(location.search).get('name') ?? '';
  field('message').addEventListener('input', () => send({ type: 'typing' }));
  field('message').addEventListener('keypress', ({ key }) => {
    const content = field('message').value.trim();
    if (key !== 'Enter' || !content) return;
    send({ type: 'message', content });
    field('message').value = '';
    field('typing-indicator')?.remove();
  });
  connect();
});
