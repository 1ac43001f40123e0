#!/bin/sh
# Runs one of cargo's test programs: `make unit` has cargo start them by this. Those of the engines and of broker-bench mostly
# wait, for servers, leases and timeouts, so more of them run at a time than there are cores.
case ${1##*/} in
    engine-* | bench-*) export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}" ;;
esac
exec "$@"
