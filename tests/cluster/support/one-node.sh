#!/bin/sh
# What the clients' tests start as their broker in `clients.js`: the one node of a new cluster, of the binary NODE_BIN on
# the engine that NODE_ENGINE_FLAGS names. Where the arguments make that senseless, it is a broker without an engine: one
# has its state on disk, and the others print something and end.
for argument; do
  case $argument in
    --state-dir | --state-dir=* | --config | --config=* | --help | --version | --print-config)
      exec "$NODE_BIN" "$@"
      ;;
  esac
done
read -r cluster </proc/sys/kernel/random/uuid
# shellcheck disable=SC2086 # several flags
exec "$NODE_BIN" $NODE_ENGINE_FLAGS --cluster-name "$cluster" "$@"
