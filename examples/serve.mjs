// A static server for these folders, for pages that the broker doesn't serve itself:
// node examples/serve.mjs [port]. It listens on loopback alone.

import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('.', import.meta.url));
const kinds = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** The file that a request's path names, and what it is; nothing if it can't be a path. */
function find(url) {
  try {
    const { pathname, search } = new URL(url, 'http://localhost');
    const path = decodeURIComponent(pathname);
    // a path that is absolute can't lead above the folder once it is normal
    const file = join(root, normalize(path.endsWith('/') ? `${path}index.html` : path));
    return { whole: `${pathname}/${search}`, file, found: statSync(file, { throwIfNoEntry: false }) };
  } catch {
    return {};
  }
}

const server = createServer((request, response) => {
  const { whole, file, found } = find(request.url);
  if (found?.isDirectory()) return response.writeHead(308, { location: whole }).end();
  if (!found?.isFile()) return response.writeHead(404).end();
  const kind = kinds[extname(file)] ?? 'application/octet-stream';
  response.writeHead(200, { 'content-type': kind, 'x-content-type-options': 'nosniff' });
  createReadStream(file).pipe(response);
});

server.listen(Number(process.argv[2] ?? 8000), '127.0.0.1', () => {
  const origin = `http://127.0.0.1:${server.address().port}`;
  console.log(`${origin}/chat/?broker=127.0.0.1:8080`);
  console.log(`${origin}/phoenix-presence/?user_id=ann`);
});
