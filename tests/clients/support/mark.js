// A publication that every protocol shows, to tell what came before it from what didn't come.

let marks = 0;

/** Publishes something to a stream that is like nothing else; gives it. */
export async function mark(s, stream) {
  marks += 1;
  // a chat message as it is, so that chat clients are told the same
  const data = { username: 'system', content: `mark ${marks}`, timestamp: '2026-01-01T00:00:00Z' };
  await s.http.publish(stream, data);
  return data;
}

/**
 * Returns when all that had been said to a stream has come to these clients, whatever they speak. With
 * it a test can assert that nothing was said, in no time.
 */
export async function settle(s, stream, ...clients) {
  const data = await mark(s, stream);
  await Promise.all(clients.map((client) => client.hearsPublication(data)));
}
