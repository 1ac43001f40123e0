#!/usr/bin/env bash
# Turns off one rule at a time, in a tree of its own, and expects the test to fail that tests/simulator/mutations/*.patch
# name. `scripts/mutations.sh fence clock` tries these two. Prints a table; fails if a test doesn't.
set -euo pipefail

root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
cd "$root"
patches=tests/simulator/mutations
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for patch in "$patches"/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi

tree=$(mktemp -d)
trap 'git worktree remove --force "$tree/broker"' EXIT
git worktree add --quiet --detach "$tree/broker" HEAD
# Not where this checkout is built: Cargo tells trees apart by the times of their files alone, and would take what is built
# here for that of the checkout.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/mutations
export CARGO_INCREMENTAL=1 RUST_BACKTRACE=0 RUSTFLAGS=${RUSTFLAGS:-}

failed=0
printf '| %-12s | %-75s | %-8s | %s |\n' rule "test that must fail" result seconds
printf '|---|---|---|---|\n'
for name in "${names[@]}"; do
    patch=$root/$patches/$name.patch
    read -r target test < <(sed -n 's/^Test: //p' "$patch")
    if [ "$target" = lib ]; then target=(--lib); else target=(--test "$target"); fi
    git -C "$tree/broker" apply "$patch"
    begun=$SECONDS
    log=$tree/$name.log
    (cd "$tree/broker" && cargo test --locked "${target[@]}" -- --exact "$test") >"$log" 2>&1 || true
    if grep -q "^test $test ... FAILED" "$log"; then
        result=caught
    elif grep -q "^test $test ... ok" "$log"; then
        result=MISSED
        failed=1
    else
        result=BROKEN
        failed=1
        tail -n 20 "$log" >&2
    fi
    printf '| %-12s | %-75s | %-8s | %s |\n' "$name" "$test" "$result" $((SECONDS - begun))
    git -C "$tree/broker" checkout --quiet .
done
exit $failed
