// What a client knows that started from a list and applied every event since.

import assert from 'node:assert/strict';

/** Applies presence events to a list of members; an event that can't be is a failure. */
export function replay(members, events) {
  const present = new Map(members.map(({ id, info }) => [id, info]));
  for (const [at, { type, id, info }] of events.entries()) {
    const where = `event ${at}: ${type} of ${id}`;
    assert.equal(present.has(id), type !== 'join', where);
    if (type === 'leave') present.delete(id);
    else present.set(id, info);
  }
  return [...present].map(([id, info]) => ({ id, info }));
}

/** The presence events among the frames a socket heard: all of them, or those before a list. */
export function eventsOf(socket, { untilList = false } = {}) {
  const frames = socket.transcript
    .map((text) => JSON.parse(text))
    .filter(({ type }) => type === 'presence')
    .map(({ message }) => message);
  const list = frames.findIndex(({ type }) => type === 'info');
  return frames.slice(0, untilList ? list : undefined).filter(({ type }) => type !== 'info');
}

/** A small generator of numbers that a seed makes repeatable. */
export function randomness(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) % below;
  };
}
