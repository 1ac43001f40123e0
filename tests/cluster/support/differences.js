// Where one node with an engine differs from one without, as the clients' tests see it.

/**
 * How much longer a node knows a stream that nobody uses, in ms: it says that it doesn't use the stream after ten seconds,
 * and another node may object for two. The clients' tests wait for so much longer.
 */
export const FORGETTING = 14_000;

/**
 * Tests that must fail with an engine, by name, each with what has to be in its error: one that fails in another way is a
 * fault.
 */
export const DIFFERENCES = [
  {
    why: 'a node that stops closes Action Cable’s connections with code 1001 alone: told to disconnect, clients would drop their session, which goes on at any node',
    error: /server_restart|disconnect/,
    names: [
      'over the extended subprotocol: after a restart of the broker clients come back by themselves',
      'over the base subprotocol: after a restart of the broker clients come back by themselves',
      'a stop needs no file',
      ...['whose reader is gone', 'whose reader has stopped', 'that is full and does not wait', 'on a full disk'].flatMap((log) => [
        `with a log ${log}, a stop tells everyone, and ends in good order`,
        `with a log ${log}, a second signal ends it at once`,
      ]),
      'a stop waits for no connection that is reset while they are being told',
      'on SIGTERM every client is told to come back, and the exit code is 0',
      'on SIGINT every client is told to come back, and the exit code is 0',
      'five hundred clients are all told',
      'what was published before the stop is delivered before the goodbye',
      'a stop is told over TLS, too',
    ],
  },
  {
    why: 'a publication’s time is the engine’s, whose clock doesn’t jump in this test',
    error: /deep-equal/,
    names: ['history since a time holds all that was published since then by the clock of then'],
  },
];
