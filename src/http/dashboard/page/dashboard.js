// Shows what `/dashboard/events` tells: a snapshot each second, and what happens in the chosen stream
// between them. The key goes in a header, which EventSource can't send, so the events are read by hand.

const SVG = 'http://www.w3.org/2000/svg';
/** How many seconds of numbers are drawn: at first few, then more. */
const DRAWN = { least: 20, most: 300 };
/** Over how many snapshots a rate is averaged to be read. */
const AVERAGED = 5;
/** How wide a drawing is, in units of its own. */
const WIDTH = 300;
/** How many events are kept on the page. */
const MOST_EVENTS = 200;
/** How long to wait before connecting again, in seconds. */
const RECONNECT = 3;

const $ = (id) => document.getElementById(id);

/** What there is of each number: how many now, or how often something happens. */
const NUMBERS = [
  { label: 'Connections', now: (snapshot) => snapshot.connections },
  { label: 'Members', now: (snapshot) => snapshot.totals.members },
  { label: 'Streams', now: (snapshot) => snapshot.totals.streams },
  { label: 'Joins', unit: '/s', count: (snapshot) => snapshot.counts.joins },
  { label: 'Leaves', unit: '/s', count: (snapshot) => snapshot.counts.leaves },
  { label: 'Publications', unit: '/s', count: (snapshot) => snapshot.counts.publications },
  { label: 'Deliveries', unit: '/s', count: (snapshot) => snapshot.counts.deliveries },
  { label: 'Commands', unit: '/s', count: (snapshot) => snapshot.counts.commands },
];

// ---- the stream of events ----

/** Reads events until the stream ends: calls `hear(name, data)` for each. */
async function readEvents(body, hear) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      let name = 'message';
      let data = '';
      for (const line of block.split('\n')) {
        if (line.startsWith('event: ')) name = line.slice(7);
        if (line.startsWith('data: ')) data += line.slice(6);
      }
      if (data) hear(name, JSON.parse(data));
    }
  }
}

let stop = new AbortController();

/** Watches a stream, or none in particular, until another one is chosen. */
async function watch() {
  stop.abort();
  const mine = (stop = new AbortController());
  const { signal } = mine;
  for (;;) {
    const problem = await listen(signal);
    if (signal.aborted) return;
    if (problem.key) {
      askForKey(problem.key);
      return;
    }
    for (let left = RECONNECT; left > 0 && !signal.aborted; left -= 1) {
      say('lost', `${problem.text} Trying again in ${left} s…`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    if (signal.aborted) return;
    say('connecting', 'Connecting…');
  }
}

/** Listens as long as it goes; gives what ended it. */
async function listen(signal) {
  const stream = chosen();
  const key = sessionStorage.getItem('key');
  try {
    const answer = await fetch(`events${stream ? `?stream=${encodeURIComponent(stream)}` : ''}`, {
      headers: key ? { authorization: `Bearer ${key}` } : {},
      signal,
    });
    if (answer.status === 401) return { key: key ? 'Wrong key.' : 'first' };
    if (!answer.ok) {
      const { error } = await answer.json().catch(() => ({}));
      return { text: `The broker says: ${error ?? answer.status}.` };
    }
    $('login').hidden = true;
    $('main').hidden = false;
    await readEvents(answer.body, (name, data) => {
      if (signal.aborted) return;
      if (name === 'snapshot') showSnapshot(data);
      else showEvent(name, data);
    });
    return { text: 'The broker has ended the connection.' };
  } catch {
    return { text: 'The broker can’t be reached.' };
  }
}

function say(state, text) {
  document.body.dataset.state = state;
  $('status').dataset.state = state;
  if ($('status').textContent !== text) $('status').textContent = text;
}

function askForKey(why) {
  sessionStorage.removeItem('key');
  say('lost', why === 'first' ? 'A key is needed' : why);
  $('main').hidden = true;
  $('login').hidden = false;
  $('login-problem').hidden = why === 'first';
  $('login-problem').textContent = why === 'first' ? '' : why;
  $('key').value = '';
  $('key').focus();
}

// ---- what is shown; all text goes in as text ----

function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Makes the rows of a table those of `items`, each in the row it had before. */
function reconcile(body, items, keyOf, make, update) {
  const focused = document.activeElement;
  const rows = new Map([...body.children].map((row) => [row.dataset.key, row]));
  let place = body.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let row = rows.get(key);
    rows.delete(key);
    if (!row) {
      row = make(item);
      row.dataset.key = key;
    }
    update(row, item);
    if (row === place) place = place.nextElementSibling;
    else body.insertBefore(row, place);
  }
  for (const row of rows.values()) row.remove();
  if (focused !== document.activeElement && body.contains(focused)) focused.focus();
}

const samples = [];

function showSnapshot(snapshot) {
  say('open', 'Live');
  write($('version'), snapshot.version);
  write($('uptime'), `up ${duration(snapshot.uptime)}`);
  const last = samples.at(-1);
  // a broker that was started anew counts from zero
  if (last && (snapshot.at < last.at || snapshot.counts.commands < last.counts.commands)) samples.length = 0;
  samples.push(snapshot);
  while (samples[0].at < snapshot.at - DRAWN.most * 1000) samples.shift();
  NUMBERS.forEach(showNumber);
  showStreams(snapshot);
  showMembers(snapshot.chosen);
}

function showNumber(number) {
  number.tile ??= makeTile(number);
  const values = number.now
    ? samples.map((sample) => ({ at: sample.at, value: number.now(sample) }))
    : rates(number.count);
  const current = number.now ? (values.at(-1)?.value ?? 0) : average(values);
  write(number.value, number.now ? whole(current) : decimal(current));
  const most = Math.max(1, ...values.map(({ value }) => value));
  const end = samples.at(-1).at;
  const seconds = Math.max(DRAWN.least, (end - samples[0].at) / 1000);
  const points = values.map(({ at, value }) => {
    const x = WIDTH * (1 - (end - at) / 1000 / seconds);
    return `${x.toFixed(1)} ${(40 - (value / most) * 36).toFixed(1)}`;
  });
  const line = points.length > 1 ? `M${points.join('L')}` : '';
  number.line.setAttribute('d', line);
  const first = points[0]?.split(' ')[0];
  number.area.setAttribute('d', line && `${line}L${WIDTH} 44L${first} 44Z`);
  number.chart.setAttribute('aria-label', `at most ${decimal(most)} in ${duration(seconds)}`);
}

function rates(count) {
  return samples.slice(1).map((sample, index) => {
    const before = samples[index];
    const seconds = Math.max(0.1, (sample.at - before.at) / 1000);
    return { at: sample.at, value: Math.max(0, count(sample) - count(before)) / seconds };
  });
}

function average(values) {
  const recent = values.slice(-AVERAGED);
  return recent.length > 0 ? recent.reduce((sum, { value }) => sum + value, 0) / recent.length : 0;
}

function makeTile(number) {
  number.value = element('span', 'value', '0');
  const chart = document.createElementNS(SVG, 'svg');
  chart.setAttribute('viewBox', `0 0 ${WIDTH} 44`);
  chart.setAttribute('preserveAspectRatio', 'none');
  chart.setAttribute('role', 'img');
  number.area = document.createElementNS(SVG, 'path');
  number.area.setAttribute('class', 'area');
  number.line = document.createElementNS(SVG, 'path');
  number.line.setAttribute('class', 'line');
  chart.append(number.area, number.line);
  number.chart = chart;
  const unit = number.unit ? [element('span', 'unit', number.unit)] : [];
  const tile = element('div', 'tile', element('span', 'label', number.label));
  tile.append(element('span', 'reading', number.value, ...unit), chart);
  $('numbers').append(tile);
  return tile;
}

function showStreams({ streams, totals, chosen: shown }) {
  const more = totals.streams - streams.length;
  write($('streams-note'), more > 0 ? `the ${streams.length} largest of ${whole(totals.streams)}` : '');
  $('no-streams').hidden = streams.length > 0;
  reconcile(
    $('streams'),
    streams,
    ({ name }) => name,
    ({ name }) => {
      const button = element('button', 'name', name);
      button.type = 'button';
      button.title = name;
      button.addEventListener('click', () => choose(name));
      const cell = element('th', '', button);
      cell.scope = 'row';
      return element('tr', '', cell, element('td', 'number'), element('td', 'number'));
    },
    (row, { name, members, subscribers }) => {
      const [head, ...cells] = row.children;
      write(cells[0], whole(members));
      write(cells[1], whole(subscribers));
      head.firstElementChild.setAttribute('aria-pressed', String(name === shown?.name));
      row.classList.toggle('chosen', name === shown?.name);
    },
  );
}

function showMembers(shown) {
  if (!shown) return;
  write($('chosen'), shown.name);
  const more = shown.total - shown.members.length;
  const many = shown.total === 1 ? '1 member' : `${whole(shown.total)} members`;
  write($('members-note'), more > 0 ? `the first ${shown.members.length} of ${many}` : many);
  $('no-members').hidden = shown.members.length > 0;
  write($('no-members'), 'Nobody is in it.');
  reconcile(
    $('members'),
    shown.members,
    ({ id }) => id,
    ({ id }) => {
      const head = element('th', 'id', id);
      head.scope = 'row';
      const row = element('tr', '', head, element('td', 'info', element('code')), element('td', 'number'));
      row.append(element('td', 'number'), element('td', '', element('span', 'state')));
      ['Member', 'Info', 'Present', 'Devices', 'State'].forEach((label, index) => {
        row.children[index].dataset.label = label;
      });
      return row;
    },
    (row, { info, age, devices, leaving }) => {
      const cells = row.children;
      const text = JSON.stringify(info);
      write(cells[1].firstElementChild, text);
      cells[1].firstElementChild.title = text;
      write(cells[2], duration(age));
      write(cells[3], String(devices));
      const state = cells[4].firstElementChild;
      const stays = leaving === null;
      state.classList.toggle('leaving', !stays);
      write(state, stays ? 'connected' : `leaving in ${Math.ceil(leaving)} s`);
    },
  );
}

const WORDS = { join: 'joined', leave: 'left', update: 'changed' };

function showEvent(name, { id, info, at, missed }) {
  const list = $('events');
  const made = element('li', `event ${name}`, element('time', '', new Date(at).toLocaleTimeString()));
  if (name === 'missed') {
    made.append(element('span', '', `${whole(missed)} more, too many at once to show`));
  } else {
    made.append(element('strong', '', id), element('span', 'what', WORDS[name] ?? name));
    if (info !== undefined && name !== 'leave') made.append(element('code', '', JSON.stringify(info)));
  }
  list.prepend(made);
  while (list.childElementCount > MOST_EVENTS) list.lastElementChild.remove();
}

function whole(number) {
  return number.toLocaleString('en', { maximumFractionDigits: 0 });
}

function decimal(number) {
  if (number >= 100_000) return number.toLocaleString('en', { notation: 'compact', maximumFractionDigits: 1 });
  return number.toLocaleString('en', { maximumFractionDigits: number < 10 ? 1 : 0 });
}

function duration(seconds) {
  const units = [[86_400, 'd'], [3600, 'h'], [60, 'min']];
  const at = units.findIndex(([length]) => seconds >= length);
  if (at === -1) return `${Math.floor(seconds)} s`;
  const [length, unit] = units[at];
  const [next, smaller] = units[at + 1] ?? [1, 's'];
  const rest = Math.floor((seconds % length) / next);
  return `${Math.floor(seconds / length)} ${unit}${rest > 0 ? ` ${rest} ${smaller}` : ''}`;
}

// ---- what is chosen ----

/** The stream that the address names. */
function chosen() {
  return new URLSearchParams(location.hash.slice(1)).get('stream') ?? '';
}

function choose(name) {
  location.hash = new URLSearchParams({ stream: name }).toString();
}

function showChosen() {
  write($('chosen'), chosen() || 'Members');
  $('events').classList.toggle('watched', chosen() !== '');
}

window.addEventListener('hashchange', () => {
  showChosen();
  write($('members-note'), '');
  $('members').replaceChildren();
  $('events').replaceChildren();
  $('no-members').hidden = true;
  watch();
});

$('find').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = $('name').value.trim();
  if (!name) return;
  choose(name);
  $('name').value = '';
  $('chosen').focus();
});

$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem('key', $('key').value.trim());
  say('connecting', 'Connecting…');
  watch();
});

// Arrows go from stream to stream.
$('streams').addEventListener('keydown', (event) => {
  const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
  const row = step && event.target.closest('tr')?.[step];
  if (!row) return;
  event.preventDefault();
  row.querySelector('button').focus();
});

showChosen();
watch();
