// Pages in a real browser. It is one for a file of tests; each visitor has a profile of its own, as
// another person's browser would.

import { existsSync } from 'node:fs';
import { after } from 'node:test';
import puppeteer from 'puppeteer-core';
import { until } from './patience.js';

/** A browser that starts on a busy machine takes longer than anything else here, in ms. */
const PATIENCE = 20_000;

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

let browser;
after(async () => (await browser)?.close());

function launch() {
  if (!existsSync(CHROMIUM)) {
    throw new Error(`no browser at ${CHROMIUM}: install chromium, or name one in CHROMIUM`);
  }
  return puppeteer.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox', // there is none as root
      '--disable-gpu',
      '--disable-dev-shm-usage', // in a container it may be small
      // a document that the test itself serves counts as one from the internet, and may not connect here
      '--disable-features=LocalNetworkAccessChecks',
    ],
  });
}

/** Somebody with a browser; their pages are closed with the scenario. */
export async function visitor(s) {
  browser ??= launch();
  const context = await (await browser).createBrowserContext();
  s.cleanup(() => context.close().catch(() => {}));
  return {
    /**
     * Opens a page and gives a `Page`. `width`, `height` and `dark` are what it is seen on; `routes`
     * serves texts of our own: `{ '/path': [type, text] }`.
     */
    async open(url, { width = 1280, height = 800, dark = false, routes } = {}) {
      const page = await context.newPage();
      await page.setViewport({ width, height });
      const scheme = { name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' };
      await page.emulateMediaFeatures([scheme]);
      if (routes) await serve(page, routes);
      const opened = new Page(page);
      await page.goto(url, { timeout: PATIENCE });
      return opened;
    },
  };
}

async function serve(page, routes) {
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    const route = routes[new URL(request.url()).pathname];
    if (!route) return request.continue();
    const [contentType, body] = route;
    return request.respond({ contentType, body });
  });
}

export class Page {
  /** What went wrong on the page: uncaught errors, and what its policy refused. */
  faults = [];

  constructor(page) {
    this.page = page;
    page.on('pageerror', (error) => this.faults.push(String(error)));
    page.on('console', (message) => {
      if (/Content Security Policy/.test(message.text())) this.faults.push(message.text());
    });
  }

  /** What a person reads there; nothing if it isn't to be seen. */
  read(selector) {
    return this.page.evaluate((selector) => {
      const found = document.querySelector(selector);
      return found?.checkVisibility() ? found.innerText.trim() : null;
    }, selector);
  }

  readAll(selector) {
    return this.page.$$eval(selector, (all) => all.map((one) => one.innerText.trim()));
  }

  /** Waits until a person reads this there. */
  async reads(selector, expected, ms = PATIENCE) {
    const fits = (text) =>
      text !== null && (expected instanceof RegExp ? expected.test(text) : text === expected);
    let text;
    try {
      await until(async () => fits((text = await this.read(selector))), 'it reads', ms);
    } catch {
      throw new Error(`${selector} should read ${expected}; it reads ${JSON.stringify(text)}`);
    }
  }

  /** Waits until the texts of all that match are these. */
  async readsAll(selector, expected, ms = PATIENCE) {
    let texts;
    const same = async () =>
      JSON.stringify((texts = await this.readAll(selector))) === JSON.stringify(expected);
    try {
      await until(same, 'they read', ms);
    } catch {
      throw new Error(`${selector} should read ${JSON.stringify(expected)}; they read ${JSON.stringify(texts)}`);
    }
  }

  /** Types into what has the focus. */
  type(text) {
    return this.page.keyboard.type(text);
  }

  async press(...keys) {
    for (const key of keys) await this.page.keyboard.press(key);
  }

  /** A short name of what has the focus. */
  focus() {
    return this.page.evaluate(() => {
      const { id, tagName, textContent } = document.activeElement;
      return id || `${tagName.toLowerCase()} ${textContent.trim()}`;
    });
  }

  /** How far a person has to scroll sideways. */
  overflow() {
    return this.page.evaluate(() => {
      const root = document.documentElement;
      return root.scrollWidth - root.clientWidth;
    });
  }

  /** How light the ground is, from 0 to 255. */
  lightness() {
    return this.page.evaluate(() => {
      const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/\d+/g);
      return (Number(red) + Number(green) + Number(blue)) / 3;
    });
  }

  /** The least contrast (WCAG 2) of the texts that are to be seen. */
  contrast() {
    return this.page.evaluate(() => {
      const parse = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
      const luminance = (color) => {
        const [r, g, b] = parse(color)
          .slice(0, 3)
          .map((part) => part / 255)
          .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ground = (node) => {
        for (let at = node; at; at = at.parentElement) {
          const color = getComputedStyle(at).backgroundColor;
          if (parse(color)[3] !== 0) return color;
        }
        return 'rgb(255, 255, 255)';
      };
      let least = { ratio: Infinity };
      const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        const node = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !node.checkVisibility()) continue;
        const [a, b] = [getComputedStyle(node).color, ground(node)].map(luminance);
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < least.ratio) least = { ratio, text: texts.currentNode.data.trim() };
      }
      return least;
    });
  }

  close() {
    return this.page.close();
  }
}
