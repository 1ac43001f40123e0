// Calls that hang: the application doesn't answer them. They cost nobody else anything.

import assert from 'node:assert/strict';
import { arrive, ask, askedOverEach, connect, enter, perform, room, shows } from './support/rpc/asked.js';

/** How many calls hang. */
const HANGING = 500;
/** How much longer than usual a newcomer may take to be in, in a channel, and answered, in ms. A place in line costs seconds. */
const MORE = 100;
const PATIENT = { 'rpc-request-timeout': '30s', 'rpc-command-timeout': '30s', 'disconnect-rate': 0 };

/** Subscriptions with `hangs` in their identifier, and their actions, have no answer until the function that this gives is called. */
function hangThem({ application }) {
  let release;
  const released = new Promise((resolve) => (release = resolve));
  const fault = (run, { message }) => (message.identifier.includes('hangs') ? released.then(run) : run());
  application.meet('subscribe', fault, 10_000);
  return release;
}

/** How long newcomers take to connect, subscribe and perform, in ms: the median. */
async function entry(s) {
  const times = [];
  for (let n = 0; n < 9; n += 1) {
    const began = performance.now();
    const socket = await connect(s, `newcomer-${n}`);
    const identifier = await enter(socket, { id: 1 });
    await shows(s, socket, identifier);
    times.push(performance.now() - began);
    socket.terminate();
  }
  return times.toSorted((a, b) => a - b)[4];
}

async function costsNobody(s, hang) {
  await entry(s); // whatever the first ones need
  const usual = await entry(s);
  const release = hangThem(s);
  await hang();
  const meanwhile = await entry(s);
  assert.ok(meanwhile < usual + MORE, `${meanwhile} ms instead of ${usual} ms`);
  s.t.diagnostic(`a newcomer takes ${meanwhile.toFixed(1)} ms instead of ${usual.toFixed(1)} ms`);
  release();
}

askedOverEach(`${HANGING} calls of as many connections that hang cost nobody else anything`, PATIENT, async (s) => {
  await costsNobody(s, async () => {
    const users = Array.from({ length: HANGING }, (_, n) => connect(s, `user-${n}`));
    for (const socket of await Promise.all(users)) ask(socket, { hangs: true });
    await s.counts({ broker_rpc_running: HANGING, broker_rpc_waiting: 0 });
  });
});

askedOverEach('a connection with as many calls as it may have, all of which hang, costs nobody else anything', PATIENT, async (s) => {
  await costsNobody(s, async () => {
    const socket = await connect(s, 'ann');
    for (let n = 0; n < HANGING; n += 1) ask(socket, { hangs: n });
    await s.counts({ broker_rpc_running: 8, broker_rpc_waiting: 24 });
  });
});

askedOverEach('a connection whose calls hang has the others one after the other', PATIENT, async (s) => {
  const release = hangThem(s);
  const socket = await connect(s, 'ann');
  const confirmed = await enter(socket, { id: 1 });
  for (let n = 0; n < 7; n += 1) ask(socket, { hangs: n });
  await s.counts({ broker_rpc_running: 7 });
  for (let n = 0; n < 20; n += 1) perform(socket, confirmed, { transmit: [n] });
  for (let n = 0; n < 20; n += 1) await socket.hears({ identifier: confirmed, message: n });
  release();
  for (let n = 0; n < 7; n += 1) await socket.hears({ type: 'confirm_subscription', identifier: room({ hangs: n }) });
});

askedOverEach('calls that hang are a part of a concurrency that is given', { ...PATIENT, 'rpc-concurrency': 3 }, async (s) => {
  const first = await connect(s, 'first');
  const identifier = await enter(first, { id: 1 });
  const release = hangThem(s);
  const one = await connect(s, 'one');
  for (let n = 0; n < 10; n += 1) ask(one, { hangs: n });
  await s.counts({ broker_rpc_running: 1, broker_rpc_waiting: 9 });
  await shows(s, first, identifier);
  for (const user of ['two', 'three']) ask(await connect(s, user), { hangs: true });
  await s.counts({ broker_rpc_running: 3, broker_rpc_waiting: 9 });
  const waits = await arrive(s, 'waits');
  await s.counts({ broker_rpc_running: 3, broker_rpc_waiting: 10 });
  release();
  await waits.welcome();
});
