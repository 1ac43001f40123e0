#!/usr/bin/env bash
# What several nodes cost: starts engines and nodes, has broker-bench measure them, and prints the tables of
# docs/PERFORMANCE.md ("Several nodes").
#
#   cargo build --release
#   scripts/cluster-cost.sh                    # all of it, in ten minutes
#   scripts/cluster-cost.sh way rejoin         # parts of it
#   scripts/cluster-cost.sh --write            # puts the tables into the page, too
#
# way       latency and CPU: 3 and 10 nodes on Redis, 3 on NATS; medians of REPEAT=3 runs
# memory    a million records, and a million streams: memory of a node without subscribers, start of another one
# rejoin    a node with 10,000 members is killed: medians of REPEAT=3 runs
# failover  Sentinels replace a Redis that is killed: the longest wait for a publication
# redis     memory of Redis after two minutes of appends, beside the formula of docs/CLUSTER.md
#
# Loopback only. It ends what it started. The machine should have nothing else to do. A core that falls asleep is dear to
# wake, above all in a virtual machine, and that counts as time of whoever is woken: so a process of the lowest priority
# keeps each core awake.

set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin # nats-server
BIN=${BIN:-target/release}
REPEAT=${REPEAT:-3}
RATE=${RATE:-5000}
RATE_OF_10=${RATE_OF_10:-1000} # two cores have no time for ten nodes at the other rate
SECONDS_EACH=${SECONDS_EACH:-4}
COUNT=${COUNT:-1000000}
MEMBERS=${MEMBERS:-10000}

for program in "$BIN/broker" "$BIN/broker-bench"; do
  [ -x "$program" ] || { echo "$program isn't there: cargo build --release" >&2; exit 1; }
done
for program in redis-server redis-cli nats-server curl; do
  command -v "$program" > /dev/null || { echo "$program is missing: make setup" >&2; exit 1; }
done

# None of the settings of whoever runs this.
while IFS= read -r name; do unset "$name"; done < <(compgen -e | grep -E '^(BROKER_|ANYCABLE_|REDIS_URL|NATS_SERVERS)' || true)

work=$(mktemp -d)
started=()
note_started() {
  started+=("$1")
  disown "$1" # or the shell tells of its end
}
stop_all() {
  local pid
  for pid in "${started[@]}"; do
    kill -KILL "$pid" 2> /dev/null || true
    while kill -0 "$pid" 2> /dev/null; do sleep 0.02; done
  done
  started=()
}
awake=()
keep_awake() {
  for ((core = 0; core < $(nproc); core++)); do
    nice -n 19 bash -c 'while :; do :; done' &
    awake+=($!)
    disown $!
  done
}
trap 'kill -KILL "${awake[@]}" 2> /dev/null || true; stop_all; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

free_port() {
  local port
  while port=$((20000 + RANDOM % 10000)) && (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do :; done
  echo "$port"
}

# until_true SECONDS COMMAND…
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "still failing after the time limit: $*" >&2; exit 1; }
    sleep 0.02
  done
}

# start_redis [FLAG…]: sets engine_pid, engine_port, engine
start_redis() {
  engine_port=$(free_port)
  redis-server --port "$engine_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work" "$@" > /dev/null &
  engine_pid=$!
  note_started "$engine_pid"
  engine=(--redis-url "redis://127.0.0.1:$engine_port")
  until_true 10 redis-cli -p "$engine_port" ping
}

start_nats() {
  engine_port=$(free_port)
  nats-server -a 127.0.0.1 -p "$engine_port" -js -sd "$work/nats-$engine_port" > /dev/null 2>&1 &
  engine_pid=$!
  note_started "$engine_pid"
  engine=(--nats-servers "nats://127.0.0.1:$engine_port")
  until_true 10 bash -c ": < /dev/tcp/127.0.0.1/$engine_port"
}

# start_node [FLAG…]: sets node_pid, node_port, node_url
start_node() {
  local log
  log=$(mktemp -p "$work")
  "$BIN/broker" --port 0 "$@" 2> "$log" > /dev/null &
  node_pid=$!
  note_started "$node_pid"
  until_true 10 grep -q ws://127.0.0.1: "$log"
  node_port=$(sed -n 's#.*ws://127\.0\.0\.1:\([0-9]*\)/.*#\1#p' "$log" | head -n 1)
  node_url=ws://127.0.0.1:$node_port/cable
}

is_healthy() { curl -sf "http://127.0.0.1:$1/health"; }

# start_nodes COUNT [FLAG…]: sets pids, ports and urls
start_nodes() {
  local count=$1
  shift
  pids=() ports=() urls=()
  for ((number = 0; number < count; number++)); do
    start_node "${engine[@]}" "$@"
    pids+=("$node_pid") ports+=("$node_port") urls+=("$node_url")
  done
  for port in "${ports[@]}"; do until_true 60 is_healthy "$port"; done
}

# figure KEY: of the JSON object on standard input
figure() { sed -n "s/.*\"$1\":\([-0-9.e]*\).*/\1/p"; }

# median KEY FILE: of a JSON object a line
median() { figure "$1" < "$2" | sort -g | awk '
  { all[NR] = $1 }
  END { it = all[int((NR + 1) / 2)]; if (NR == 0) print "–"; else printf(it < 100 ? "%.3g\n" : "%.0f\n", it) }'; }

bench() { "$BIN/broker-bench" "$@" --json; }

rss() { awk '/^VmRSS:/ { print $2 * 1024 }' "/proc/$1/status"; }

# way_of NAME ENGINE NODES RATE [alone]: the scenario `cluster`, the last node without clients
way_of() {
  cut -d ' ' -f 1 /proc/loadavg > "$work/load-$1"
  local file=$work/way-$1 engine_name=$2 nodes=$3 rate=$4
  shift 4
  for ((run = 0; run < REPEAT; run++)); do
    "start_$engine_name"
    start_nodes "$nodes"
    local last=$((nodes - 1)) flags=()
    for ((number = 0; number < last; number++)); do flags+=(--url "${urls[number]}" --pid "${pids[number]}"); done
    local alone=()
    if [ $# -gt 0 ]; then
      start_node
      until_true 10 is_healthy "$node_port"
      alone=(--alone "$node_url" --alone-pid "$node_pid")
    fi
    bench cluster "${flags[@]}" --bystander-pid "${pids[last]}" --engine-pid "$engine_pid" "${alone[@]}" \
      --rate "$rate" --seconds "$SECONDS_EACH" --idle "$SECONDS_EACH" >> "$file" || true # which says why
    stop_all
  done
}

way() {
  way_of redis3 redis 3 "$RATE" alone
  way_of redis10 redis 10 "$RATE_OF_10"
  way_of nats3 nats 3 "$RATE"
  echo
  echo "| | alone | 3 nodes, Redis | 10 nodes, Redis, $RATE_OF_10/s | 3 nodes, NATS |"
  echo "|---|---|---|---|---|"
  # row LABEL KEY [KEY OF THE SERVER ALONE]
  row() {
    local alone=–
    [ $# -lt 3 ] || alone=$(median "$3" "$work/way-redis3")
    echo "| $1 | $alone | $(median "$2" "$work/way-redis3") | $(median "$2" "$work/way-redis10") | $(median "$2" "$work/way-nats3") |"
  }
  echo "| processes that wanted a core before (load average) | – | $(cat "$work/load-redis3") | $(cat "$work/load-redis10") | $(cat "$work/load-nats3") |"
  row "idle: the engine, % of a core" idle_engine_cpu_core_percent
  row "idle: a node, % of a core" idle_bystander_cpu_core_percent alone_idle_node_cpu_core_percent
  local what
  for what in publication join; do
    local words="$what at $RATE/s"
    for at in p50 p99 max; do
      row "$words: from node to node, $at, ms" "${what}_${at}_ms" "alone_${what}_${at}_ms"
      row "$words: at its own node, $at, ms" "own_node_${what}_${at}_ms"
    done
    row "$words: added, p99, ms" "added_${what}_p99_ms"
    row "$words: entries a second" "${what}_entries_per_second" "alone_${what}_entries_per_second"
    row "$words: the engine, µs an entry" "${what}_engine_cpu_per_entry_us"
    row "$words: a node with clients, µs an entry" "${what}_node_cpu_per_entry_us" "alone_${what}_node_cpu_per_entry_us"
    row "$words: a node without, µs an entry" "${what}_bystander_cpu_per_entry_us"
  done
  row "flat out: entries a second" flat_out_entries_per_second alone_flat_out_entries_per_second
  row "flat out: the engine, µs an entry" flat_out_engine_cpu_per_entry_us
  row "flat out: a node with clients, µs an entry" flat_out_node_cpu_per_entry_us alone_flat_out_node_cpu_per_entry_us
  row "flat out: a node without, µs an entry" flat_out_bystander_cpu_per_entry_us
}

# memory_of LABEL STREAMS
memory_of() {
  start_redis
  start_nodes 2
  sleep 2
  local before file=$work/memory-$2
  before=$(rss "${pids[1]}")
  bench records --url "${urls[0]}" --pid "${pids[1]}" --count "$COUNT" --streams "$2" --settle 5 > "$file"
  local memory engine_memory began
  memory=$(figure server_memory_per_record_bytes < "$file")
  engine_memory=$(redis-cli -p "$engine_port" info memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p')
  began=$(date +%s%N)
  start_node "${engine[@]}"
  until_true 300 is_healthy "$node_port"
  local took=$((($(date +%s%N) - began) / 1000000))
  sleep 2
  awk -v label="$1" -v memory="$memory" -v took="$took" -v rss="$(rss "$node_pid")" -v engine="$engine_memory" \
    -v cpu="$(awk '{ print ($14 + $15) / 100 }' "/proc/$node_pid/stat")" -v before="$before" \
    'BEGIN { printf "| %s | %.0f | %.1f | %.1f | %.0f | %.0f |\n", label, memory, took / 1000, cpu, (rss - before) / 2^20, engine / 2^20 }'
  stop_all
}

memory() {
  echo
  echo "| $COUNT | bytes of one on a node without its subscribers | start of a node, s | its CPU, s | its memory, MiB | Redis, MiB |"
  echo "|---|---|---|---|---|---|"
  memory_of "records in 1,000 streams" 1000
  memory_of "streams with a record each" "$COUNT"
}

rejoin() {
  local file=$work/rejoin
  for ((run = 0; run < REPEAT; run++)); do
    start_redis
    start_nodes 3
    bench rejoin --url "${urls[0]}" --url "${urls[1]}" --url "${urls[2]}" --kill "${pids[0]}" --connections "$MEMBERS" \
      --pid "${pids[1]}" --pid "${pids[2]}" --pid "$engine_pid" >> "$file"
    stop_all
  done
  echo
  echo "| $MEMBERS members of a node that is killed | |"
  echo "|---|---|"
  echo "| half of them are back after, ms | $(median back_p50_ms "$file") |"
  echo "| all of them are back after, ms | $(median back_max_ms "$file") |"
  echo "| told as gone | $(median leaves "$file") |"
  echo "| CPU of the other nodes and Redis, µs a member | $(median rejoin_server_cpu_per_member_us "$file") |"
}

# Redis with a replica and three Sentinels, which need two seconds to call it dead.
failover() {
  start_redis
  local primary=$engine_pid primary_port=$engine_port sentinels=()
  start_redis --replicaof 127.0.0.1 "$primary_port"
  for ((number = 0; number < 3; number++)); do
    local port conf
    port=$(free_port)
    conf=$work/sentinel-$port.conf
    printf '%s\n' "port $port" "bind 127.0.0.1" "dir $work" "sentinel monitor primary 127.0.0.1 $primary_port 2" \
      "sentinel down-after-milliseconds primary 2000" "sentinel failover-timeout primary 10000" > "$conf"
    redis-server "$conf" --sentinel > /dev/null &
    note_started $!
    sentinels+=("127.0.0.1:$port")
  done
  sleep 3
  engine=(--redis-url redis://primary --redis-sentinels "$(IFS=,; echo "${sentinels[*]}")" --engine-timeout 60s)
  start_nodes 3
  (sleep 8; kill -KILL "$primary") &
  bench fanout --url "${urls[0]}" --url "${urls[1]}" --url "${urls[2]}" --connections 30 --streams 30 --rate 20 --seconds 25 \
    --publishers 600 --patience 60 > "$work/failover"
  echo
  echo "| failover by Sentinels | |"
  echo "|---|---|"
  echo "| longest wait for a publication, s | $(figure delivery_max_ms < "$work/failover" | awk '{ print $1 / 1000 }') |"
  stop_all
}

redis() {
  start_redis
  start_nodes 3
  bench fanout --url "${urls[0]}" --url "${urls[1]}" --url "${urls[2]}" --connections 30 --streams 256 --rate 1000 --seconds 150 \
    --publishers 64 --size 1000 > "$work/redis" &
  local load=$! peak=0 used
  while kill -0 "$load" 2> /dev/null; do
    used=$(redis-cli -p "$engine_port" info memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p')
    [ "$used" -le "$peak" ] || peak=$used
    sleep 1
  done
  local metrics snapshots appended
  snapshots=$(curl -s "http://127.0.0.1:${ports[0]}/metrics" | sed -n 's/^broker_engine_snapshot_bytes \(.*\)/\1/p')
  appended=0
  for port in "${ports[@]}"; do
    metrics=$(curl -s "http://127.0.0.1:$port/metrics" | sed -n 's/^broker_engine_batch_bytes_sum \(.*\)/\1/p')
    appended=$(awk -v one="$appended" -v other="$metrics" 'BEGIN { print one + other }')
  done
  echo
  echo "| memory of Redis, 1,000 publications of 1,000 bytes a second, MiB | |"
  echo "|---|---|"
  awk -v peak="$peak" -v snapshots="$snapshots" -v appended="$appended" 'BEGIN {
    rate = appended / 151
    printf "| the most that was used | %.0f |\n", peak / 2^20
    printf "| snapshots, and appended each second | %.1f, %.2f |\n", snapshots / 2^20, rate / 2^20
    printf "| the formula, without what may wait for slow nodes | %.0f |\n", 32 + (7 * snapshots + 130 * rate) / 2^20
  }'
  stop_all
}

# write PART: puts its table into the page, between its marks
write() {
  awk -v part="$1" -v table="$work/table" '
    $0 == "<!-- /cluster-" part " -->" { while ((getline line < table) > 0) if (line != "") print line; skips = 0 }
    !skips { print }
    $0 == "<!-- cluster-" part " -->" { skips = 1 }
  ' "$page" > "$work/page"
  cat "$work/page" > "$page"
}

main() {
  local page=docs/PERFORMANCE.md writes= parts=() part
  for part in "$@"; do
    case $part in
      --write) writes=1 ;;
      way | memory | rejoin | failover | redis) parts+=("$part") ;;
      *) echo "there is no part $part: way, memory, rejoin, failover, redis" >&2; exit 2 ;;
    esac
  done
  [ ${#parts[@]} -gt 0 ] || parts=(way memory rejoin failover redis)
  keep_awake
  for part in "${parts[@]}"; do
    "$part" > "$work/table"
    cat "$work/table"
    [ -z "$writes" ] || write "$part"
  done
}

main "$@"
