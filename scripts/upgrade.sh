#!/usr/bin/env bash
# Builds the versions whose nodes tests/cluster/upgrade.js has in one cluster, and runs it: that of a git ref, this one, and
# two that come after it, whose rules have other numbers and are the same otherwise.
set -euo pipefail

[ $# -eq 1 ] || { echo "which version is before? \`make upgrade FROM=<git ref>\`" >&2; exit 2; }
root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
cd "$root"
from=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "$1 is no git ref" >&2; exit 2; }

dir=$(mktemp -d)
trap 'git worktree remove --force "$dir/broker"; rm -rf "$dir"' EXIT
git worktree add --quiet --detach "$dir/broker" "$from"
# Not where this checkout is built: Cargo tells trees apart by the times of their files alone, and would take what is built
# here for that of the checkout.
target=${CARGO_TARGET_DIR:-$root/target}

# build NAME: of the tree as it is
build() {
    (cd "$dir/broker" && CARGO_INCREMENTAL=1 cargo build --locked --quiet --bin broker --target-dir "$target/upgrade")
    cp "$target/upgrade/debug/broker" "$dir/$1"
}

# know OLDEST NEWEST: the rules that the tree knows
know() {
    sed -E "s/(const OWN: Self = Self).*/\1 { oldest: Rules($1), newest: Rules($2) };/" -i "$dir/broker/$rules"
}

build from
rules=crates/core/src/cluster/rules.rs
git -C "$dir/broker" checkout --quiet "$(git rev-parse HEAD)"
newest=$(sed -nE 's/.*const OWN: Self = .*newest: Rules\(([0-9]+)\).*/\1/p' "$rules")
[ -n "$newest" ] || { echo "$rules says no more which rules there are" >&2; exit 1; }
oldest=$(sed -nE 's/.*const OWN: Self = .*oldest: Rules\(([0-9]+)\).*/\1/p' "$rules")
know "$oldest" $((newest + 1)) # logs may begin with the oldest
build next
know $((newest + 1)) $((newest + 2))
build beyond
cargo build --locked --quiet --bin broker

BROKER_FROM=$dir/from BROKER_BIN=$target/debug/broker BROKER_NEXT=$dir/next BROKER_BEYOND=$dir/beyond \
    BROKER_RULES=$newest \
    npm --prefix tests/cluster run upgrade
