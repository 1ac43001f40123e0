// What an application signs: tokens, stream names, keys.

import { createHmac } from 'node:crypto';

export const SECRET = 's3Krit';

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Seconds of the Unix epoch, so many from now. */
export const fromNow = (seconds) => Math.floor(Date.now() / 1000) + seconds;

/** A token with these claims; good for a minute unless they say otherwise. */
export function token(claims = {}, { secret = SECRET, alg = 'HS256', header = {} } = {}) {
  const body = { ext: JSON.stringify({ user: 1 }), exp: fromNow(60), ...claims };
  const message = `${base64url({ alg, typ: 'JWT', ...header })}.${base64url(body)}`;
  const hash = `sha${alg.slice(2)}`;
  const tag = createHmac(/^sha(256|384|512)$/.test(hash) ? hash : 'sha256', secret);
  return `${message}.${tag.update(message).digest('base64url')}`;
}

/** The query's part with a token of a user. */
export const jid = (user, sub = user) => `jid=${token({ ext: JSON.stringify({ user }), sub })}`;

/** A signed stream name; `content` is the name, or `{ stream, rights }`. */
export function sign(content, secret = SECRET) {
  const encoded = Buffer.from(JSON.stringify(content)).toString('base64');
  return `${encoded}--${createHmac('sha256', secret).update(encoded).digest('hex')}`;
}

/** The key for one purpose that follows from a secret. */
export function derive(purpose, secret = SECRET) {
  return createHmac('sha256', secret).update(purpose).digest('hex');
}

/** The identifier of a subscription by a signed name. */
export function identifySigned(content, secret = SECRET, more = {}) {
  return JSON.stringify({ channel: '$pubsub', signed_stream_name: sign(content, secret), ...more });
}
