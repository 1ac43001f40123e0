// The applications of docs/CHANNELS.md, as they are there.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './support/broker.js';
import { connect, perform } from './support/rpc/asked.js';
import { scenario } from './support/scenario.js';

const MANUAL = readFileSync(new URL('../../docs/CHANNELS.md', import.meta.url), 'utf8');
const CHAT = JSON.stringify({ channel: 'ChatChannel', id: 1 });

/** Runs the manual's application in a language, at a port of its own; gives the broker's flags. */
function application(language, program, file) {
  return async (s) => {
    const [, text] = MANUAL.match(new RegExp(`\`\`\`${language}\n([^]*?)\n\`\`\``));
    const port = await freePort();
    assert.equal(text.split('3000').length, 3, 'the port is in the comment and in the code');
    const folder = mkdtempSync(join(tmpdir(), 'broker-manual-'));
    const path = join(folder, file);
    writeFileSync(path, text.replaceAll('3000', port));
    const child = spawn(program, [path], { stdio: ['ignore', 'pipe', 'inherit'] });
    s.said = '';
    child.stdout.setEncoding('utf8').on('data', (output) => (s.said += output));
    s.t.after(() => {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true });
    });
    return { 'rpc-host': `http://127.0.0.1:${port}` };
  };
}

/** Who has a name is in, and follows the chat; gives the two who are. */
async function chat(s) {
  const ann = await s.roomFor(() => connect(s, 'ann'));
  const refused = await s.open('/cable');
  assert.deepEqual(await refused.hears({ type: 'disconnect' }), { type: 'disconnect', reason: 'unauthorized', reconnect: false });
  const bob = await connect(s, 'bob');
  for (const socket of [ann, bob]) {
    socket.send({ command: 'subscribe', identifier: CHAT });
    await socket.hears({ type: 'confirm_subscription', identifier: CHAT });
  }
  await s.http.publish('chat/1', 'hello');
  for (const socket of [ann, bob]) await socket.hears({ identifier: CHAT, message: 'hello' });
  return [ann, bob];
}

scenario('the manual’s application for Node.js', application('js', process.execPath, 'application.mjs'), async (s) => {
  const [ann, bob] = await chat(s);
  assert.deepEqual((await ann.list(CHAT)).map(({ id, info }) => [id, info.name]), [['ann', 'ann'], ['bob', 'bob']]);
  ann.whisper(CHAT, { typing: true });
  await bob.hears({ identifier: CHAT, message: { typing: true } });
  perform(ann, CHAT, { action: 'say', text: 'hi' });
  ann.send({ command: 'subscribe', identifier: '{"channel":"Other"}' });
  await ann.hears({ type: 'reject_subscription', identifier: '{"channel":"Other"}' });
  await s.counts({ 'broker_rpc_calls_total{command="message",outcome="success"}': 1 });
  assert.match(s.said, /^ann performs \{ action: 'say', text: 'hi' \}$/m);
});

scenario('the manual’s application for Python', application('python', 'python3', 'application.py'), async (s) => {
  const [ann] = await chat(s);
  perform(ann, CHAT, { action: 'say' });
  await s.counts({ 'broker_rpc_calls_total{command="message",outcome="success"}': 1 });
});
