// Nodes of two versions in one cluster, as real processes: `make upgrade FROM=<git ref>` builds them.
//
// - BROKER_FROM: the version before
// - BROKER_BIN: this one
// - BROKER_NEXT: this one, and it knows rules that come next
// - BROKER_BEYOND: it knows only these and those after them
// - BROKER_RULES: the newest rules that this version knows

import assert from 'node:assert/strict';
import { BINARY } from '../clients/support/broker.js';
import { pass, until } from '../clients/support/patience.js';
import { EACH, GONE, LEASE, TTL, cluster } from './support/cluster.js';
import { FLAGS, underLoad } from './support/rolling.js';

const { BROKER_FROM: FROM, BROKER_NEXT: NEXT, BROKER_BEYOND: BEYOND } = process.env;

const OWN_RULES = Number(process.env.BROKER_RULES);

const RULES = 'broker_cluster_rules';
const compared = (outcome) => `broker_cluster_digests_total{outcome="${outcome}"}`;

/** A node that has just begun compares digests after twice six leases, on a busy machine a little later. */
const DIGESTS = 3 * 6 * LEASE;

/** A node of a version. */
const nodeOf = (c, binary) => c.newNode(undefined, { binary });

const nodesOf = (c, ...binaries) => Promise.all(binaries.map((binary) => nodeOf(c, binary).begin()));

/** Puts a node of a version in the place of one. */
async function replace(node, binary) {
  await node.stop();
  node.system = { binary };
  await node.begin();
}

/** All nodes have compared what they have with others from now on, and it was the same. */
async function agree(nodes) {
  await Promise.all(nodes.map(async (node) => {
    const before = (await node.http.metrics()).get(compared('equal'));
    await node.metrics((of) => of.get(compared('equal')) > before + 10, 'digests are compared', DIGESTS);
    await node.counts({ [compared('different')]: 0 });
  }));
}

/** The rules by which a node goes; it knows them when it has read something. */
const rulesOf = (node) => until(async () => (await node.http.metrics()).get(RULES), 'rules are in force');

/** The rules of all nodes are these. */
const areBy = (nodes, rules) => until(
  async () => (await Promise.all(nodes.map(rulesOf))).every((of) => of === rules),
  `all nodes have the rules ${rules}`,
);

/** Waits until all logs have the newest rules of this version, of which all nodes are; gives them. */
async function ownRules(nodes) {
  await areBy(nodes, OWN_RULES);
  await pass(2 * LEASE); // the other logs follow the one with the beats
  return OWN_RULES;
}

/** It says why, in one of these ways, takes no clients, and the others go on. */
async function isOutdated(node, why, others) {
  await until(() => [why].flat().some((text) => node.broker.log.includes(text)), `it says ${why}`);
  await node.isHealthy(503);
  assert.deepEqual((await node.http.request('/health')).json, { status: 'outdated' });
  assert.equal((await node.http.request('/live')).status, 200);
  await Promise.all(others.map((other) => other.isHealthy()));
}

cluster('nodes of the version before are replaced by those of this one, and back: nobody notices, and all have the same', FLAGS, async (c) => {
  const nodes = await nodesOf(c, FROM, FROM, FROM);
  const [a, b, d] = nodes;
  const rules = await rulesOf(a);
  const to = (binary, node) => () => replace(node, binary);
  const same = () => agree(nodes);
  const back = async () => {
    if ((await rulesOf(a)) !== rules) return c.t.diagnostic('the rules have been raised: there is no way back');
    for (const node of nodes) await replace(node, FROM);
    await same();
  };
  const steps = [to(BINARY, a), same, to(BINARY, b), to(FROM, b), to(BINARY, b), same, to(BINARY, d), same, back];
  await underLoad(c, nodes, steps, { isParked: true });
}, { nodes: 0, engines: EACH, timeout: 300_000 });

cluster('the last node of the version before is replaced: the rules are raised, and one that comes late says so', FLAGS, async (c) => {
  const nodes = await nodesOf(c, BINARY, BINARY, BINARY);
  const rules = await ownRules(nodes);
  const steps = nodes.map((node, at) => async () => {
    await areBy(nodes, rules);
    await replace(node, NEXT);
    if (at < 2) await agree(nodes);
  });
  await underLoad(c, nodes, [...steps, () => areBy(nodes, rules + 1), () => agree(nodes)], { isParked: true });
  const late = await nodeOf(c, BINARY).spawn();
  const [raised, written] = ['a newer version has raised the rules to', 'it is written by the rules'];
  await isOutdated(late, [raised, written].map((text) => `${text} ${rules + 1}`), nodes);
  await pass(GONE);
  for (const node of nodes) await node.counts({ broker_cluster_members: 3 });
  await replace(late, NEXT);
  for (const node of c.nodes) await node.counts({ broker_cluster_members: 4 });
}, { nodes: 0, engines: EACH, timeout: 300_000 });

cluster('a node of the version before that is paused while the rules are raised serves nobody any more', {}, async (c) => {
  const [old] = await nodesOf(c, BINARY);
  const rules = await ownRules([old]);
  const others = await nodesOf(c, NEXT, NEXT);
  const watchers = await c.watchers(others);
  const { ann: [ann] } = await c.members(old, ['ann']);
  await old.broker.pause();
  await areBy(others, rules + 1);
  await Promise.all(watchers.map((watcher) => watcher.hearsLeave('ann', GONE + TTL)));
  old.broker.kill('SIGCONT');
  await ann.closing();
  await isOutdated(old, `a newer version has raised the rules to ${rules + 1}: update this node`, others);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, ['ann']);
}, { nodes: 0 });

cluster('a version that doesn’t know the rules any more isn’t a node', {}, async (c) => {
  const nodes = await nodesOf(c, BINARY, BINARY);
  const rules = await ownRules(nodes);
  const watchers = await c.watchers(nodes);
  await c.members(nodes[0], ['ann']);
  const late = await nodeOf(c, BEYOND).spawn();
  await isOutdated(late, 'of an older version: update by way of the version in between', nodes);
  await pass(GONE + TTL);
  await areBy(nodes, rules);
  await c.check(watchers);
  for (const { leaves } of watchers) assert.deepEqual(leaves, []);
}, { nodes: 0 });
