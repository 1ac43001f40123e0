// What may happen to a cluster in `nemesis.soak.js`, each for about a time: to the `node` behind its `tunnel`, or to the
// `engine`.
//
// - `ends`: the node's connections end with it.
// - `mayLeave`: its members leave for a time when it takes longer than a lease.
// - `loses`: the engine loses data, and the nodes put it back.

import { pass } from '../../clients/support/patience.js';

const NODE = {
  'a node is killed': { ends: true, async harm({ node }, ms) {
    await node.kill();
    await pass(ms);
    await node.begin();
  } },
  'a node stops': { ends: true, async harm({ node }, ms) {
    await node.stop();
    await pass(ms);
    await node.begin();
  } },
  'a node is paused': { mayLeave: true, async harm({ node }, ms) {
    await node.broker.pause();
    await pass(ms);
    node.broker.kill('SIGCONT');
  } },
  'a node hardly gets to run': { mayLeave: true, async harm({ node }, ms) {
    for (const end = performance.now() + ms; performance.now() < end;) {
      await node.broker.pause();
      await pass(150);
      node.broker.kill('SIGCONT');
      await pass(50);
    }
  } },
};

const CUTS = {
  'a node is cut off without a word': { mayLeave: true, async harm({ tunnel }, ms) {
    tunnel.lose();
    tunnel.shut();
    await pass(ms);
    tunnel.open();
  } },
  'a node is cut off by a reset': { mayLeave: true, async harm({ tunnel }, ms) {
    tunnel.shut();
    tunnel.reset();
    await pass(ms);
    tunnel.open();
  } },
  'the engine is far from a node': { async harm({ tunnel }, ms) {
    tunnel.delay = () => 20 + 180 * Math.random();
    await pass(ms);
    tunnel.delay = () => 0;
  } },
};

const STANDS = {
  'the engine stands still': { async harm({ engine }, ms) {
    engine.pause();
    await pass(ms);
    engine.resume();
  } },
  'the engine restarts': { async harm({ engine }, ms) {
    await engine.kill();
    await pass(ms);
    await engine.restart();
  } },
};

const LOSSES = {
  'the engine is emptied': { loses: true, harm: ({ engine }) => engine.empty() },
  'the engine restarts with nothing': { loses: true, async harm({ engine }, ms) {
    await engine.kill();
    await engine.forget();
    await pass(ms);
    await engine.restart();
  } },
  'the engine restarts with what it had a while ago': { loses: true, async harm({ engine }, ms) {
    await engine.keep();
    await pass(300);
    await engine.kill();
    await engine.revert();
    await pass(ms);
    await engine.restart();
  } },
};

const REDIS = {
  'a node appends into the void': { mayLeave: true, async harm({ tunnel }, ms) {
    tunnel.lose('asking');
    await pass(ms);
    tunnel.open();
  } },
  'a node is told nothing': { mayLeave: true, async harm({ tunnel }, ms) {
    tunnel.lose('subscribed');
    await pass(ms);
    tunnel.open();
  } },
  'Redis cuts subscriptions': { harm: ({ engine }) => engine.command('CLIENT', 'KILL', 'TYPE', 'pubsub') },
  'Redis cuts connections': { harm: ({ engine }) => engine.command('CLIENT', 'KILL', 'TYPE', 'normal') },
  'Redis forgets scripts': { harm: ({ engine }) => engine.command('SCRIPT', 'FLUSH') },
  'Redis is full': { async harm({ engine }, ms) {
    await engine.command('CONFIG', 'SET', 'maxmemory', '1');
    await pass(ms);
    await engine.command('CONFIG', 'SET', 'maxmemory', '0');
  } },
};

const PAIR = {
  'a replica takes over': { async harm({ engine }) {
    await engine.failOver();
    await engine.repair();
  } },
  'a replica takes over that lacks the newest writes': { loses: true, async harm({ engine }) {
    await engine.leaveBehind();
    await pass(300);
    await engine.failOver();
    await engine.repair();
  } },
};

/** By the name of the engine's class. */
export const FAULTS = {
  Redis: { ...NODE, ...CUTS, ...STANDS, ...LOSSES, ...REDIS },
  Nats: { ...NODE, ...CUTS, ...STANDS, ...LOSSES },
  RedisPair: { ...NODE, ...PAIR },
};
