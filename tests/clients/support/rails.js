// The client of Rails, unmodified: npm @rails/actioncable, which expects to be in a browser.

import { BrowserSocket } from './browser.js';

globalThis.addEventListener ??= () => {};
globalThis.removeEventListener ??= () => {};

const { default: ActionCable } = await import('@rails/actioncable');
ActionCable.adapters.WebSocket = BrowserSocket;

export const { ConnectionMonitor } = ActionCable;

/** A consumer that is disconnected when the scenario ends. */
export function consumerOf(s, url = s.broker.url()) {
  const consumer = ActionCable.createConsumer(url);
  s.cleanup(() => {
    consumer.disconnect();
    consumer.subscriptions.guarantor.stopGuaranteeing();
  });
  return consumer;
}
