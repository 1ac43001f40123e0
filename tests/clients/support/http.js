// The broker's HTTP side, as an application and Prometheus use it.

import https from 'node:https';
import { PATIENCE } from './patience.js';

/**
 * Like `fetch`, which takes no certificate authority: with `ca`, over TLS with a certificate of that
 * authority. Gives `{ status, headers, text }`.
 */
export async function ask(url, { ca, ...options } = {}) {
  const signal = AbortSignal.timeout(PATIENCE);
  if (!ca) {
    const answer = await fetch(url, { signal, ...options });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  }
  const { body, ...rest } = options;
  return new Promise((resolve, reject) => {
    const request = https.request(url, { ca, signal, agent: false, ...rest }, async (answer) => {
      try {
        const text = (await answer.setEncoding('utf8').toArray()).join('');
        resolve({ status: answer.statusCode, headers: new Headers(answer.headers), text });
      } catch (error) {
        reject(error);
      }
    });
    request.once('error', reject).end(body);
  });
}

export class Http {
  constructor(origin, key, ca) {
    this.base = `${ca ? 'https' : 'http'}://${origin}`;
    this.ca = ca;
    this.headers = key ? { authorization: `Bearer ${key}` } : {};
  }

  /** Any request: `{ status, headers, text, json }`, `json` undefined if the body is none. */
  async request(path, { headers, ...options } = {}) {
    const { status, headers: answered, text } = await ask(this.base + path, {
      ca: this.ca,
      headers: { ...this.headers, ...headers },
      ...options,
    });
    let json;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    return { status, headers: answered, text, json };
  }

  post(path, body) {
    return this.request(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  /** Publishes a value as JSON; fails unless the broker took it. */
  async publish(stream, value, meta) {
    await this.publishText(stream, JSON.stringify(value), meta);
  }

  /** Publishes a payload byte for byte. */
  async publishText(stream, data, meta) {
    const answer = await this.post('/_broadcast', { stream, data, meta });
    if (answer.status !== 201) throw new Error(`publish: HTTP ${answer.status} ${answer.text}`);
  }

  /** Who is present in a stream. */
  async users(stream, query = '') {
    const path = `/api/presence/${encodeURIComponent(stream)}/users${query}`;
    const answer = await this.request(path);
    if (answer.status !== 200) throw new Error(`GET ${path}: HTTP ${answer.status} ${answer.text}`);
    return answer.json;
  }

  /** Who is present in a stream, by presence id. */
  async ids(stream) {
    return ((await this.users(stream)).records ?? []).map(({ id }) => id);
  }

  async metrics() {
    return new Metrics((await this.request('/metrics')).text);
  }
}

/** The labels between a sample's braces. */
function labelsOf(text) {
  const labels = text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g);
  return Object.fromEntries([...labels].map(([, key, value]) => [key, value]));
}

/** Prometheus' text format. */
export class Metrics {
  #samples = [];
  types = new Map();

  constructor(text) {
    for (const line of text.split('\n')) {
      const [, , name, type] = line.match(/^# (TYPE) (\S+) (\S+)$/) ?? [];
      if (name) this.types.set(name, type);
      if (!line || line.startsWith('#')) continue;
      const parts = line.match(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/);
      if (!parts) throw new Error(`not a line of Prometheus' text format: ${line}`);
      this.#samples.push({ name: parts[1], labels: labelsOf(parts[2] ?? ''), value: Number(parts[3]) });
    }
  }

  get names() {
    return [...new Set(this.#samples.map((sample) => sample.name))];
  }

  /**
   * The sum of all samples of that name that have these labels; 0 if there are none. Labels may be part of
   * the name, too, as Prometheus writes them.
   */
  get(name, labels = {}) {
    const [, family, told] = name.match(/^(\w+)\{(.*)\}$/) ?? [];
    if (family) return this.get(family, { ...labels, ...labelsOf(told) });
    return this.#samples
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
      .reduce((sum, sample) => sum + sample.value, 0);
  }
}
