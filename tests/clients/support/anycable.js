// The client of AnyCable, unmodified: npm @anycable/core.

import { createCable } from '@anycable/core';
import { BrowserSocket } from './browser.js';
import { until, within } from './patience.js';

/** The ways to connect it that have presence: it knows presence in its extended protocol alone. */
export const WITH_PRESENCE = {
  'the extended subprotocol': {},
  'the base subprotocol': { subprotocol: 'actioncable-v1-json' },
};

/** Options of a cable that stays away after a cut until it is told to come back. */
export const WHEN_TOLD = { reconnectStrategy: () => 600_000 };

/** Tells a cable to come back that is away: at once, or as soon as it has noticed. */
export function comeBack(cable) {
  return until(() => cable.monitor.reconnectNow(), 'the client knows that it is away');
}

/** A cable that comes back 100 ms after it was cut. */
export function cableTo(s, options = {}, url = s.broker.url()) {
  const cable = createCable(url, {
    protocol: 'actioncable-v1-ext-json',
    websocketImplementation: BrowserSocket,
    logLevel: 'error',
    reconnectStrategy: () => 100,
    ...options,
  });
  s.cleanup(() => {
    cable.disconnect();
    cable.monitor.dispose();
  });
  return cable;
}

/** The next event of an emitter of this client; gives what it was emitted with. */
export function next(emitter, event, wants = () => true, ms = undefined) {
  let unbind;
  const emitted = new Promise((resolve) => {
    unbind = emitter.on(event, (value) => wants(value) && resolve(value));
  });
  return within(emitted, `the client's event ${event}`, ms).finally(unbind);
}

/** Keeps every presence event of a channel. */
export function recordPresence(channel) {
  const events = [];
  channel.on('presence', (event) => events.push(event));
  return events;
}

/** Follows a stream; resolves when that is confirmed. */
export async function follow(cable, stream) {
  const channel = cable.streamFrom(stream);
  await within(channel.ensureSubscribed(), `the subscription to ${stream}`);
  return channel;
}

/**
 * Waits until the broker is sure that the client has got all presence events so far: its pong goes
 * before whatever it asks next. A ping may be on its way already, and then the one that asks for the rest
 * follows that one's pong.
 */
export async function assured(channel) {
  for (let question = 0; question < 3; question += 1) {
    await within(channel.perform('$presence:info', {}), 'who is there');
  }
}

/** Cuts the client's connection as a network does: without a close frame. */
export function cut(cable) {
  cable.transport.ws.terminate();
}
