// The WebSocket that the stock clients are given, as like a browser's as ws can be.

import { WebSocket } from 'ws';

/**
 * In a browser every message is a task of its own, so promises settle between two messages that
 * came in one packet. ws hands such messages over in one go unless told otherwise; the clients,
 * written for browsers, then miss events.
 */
export class BrowserSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { allowSynchronousEvents: false });
  }
}
