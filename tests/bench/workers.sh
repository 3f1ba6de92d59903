# Does a second worker do as much as the first, also where both answer from the same entry of the cache? Sourced by inside.sh.
#
# How much two can do at their limit is seen only where the load has cores of its own. What they would hold each other up with costs
# time on a core at any rate, so it is seen in the cost of an answer, and that on two cores as well: the load's is not counted.

ROWS="dnsproxy-1-worker dnsproxy-2-workers"
SETS="hot even"                      # one name, and as many as in `hit`
UPSTREAM=${UPSTREAMS[0]}
LISTEN=0.0.0.0
ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-4}
RATE=${RATE:-50000}                  # queries per second and worker
EVEN_NAMES=10000
SECOND_CORE=$(($(nproc) > 2 ? 2 : LOAD_CORE))

run_scenario() {
  local row
  render "$UPSTREAM"
  for row in $ROWS; do cp "$CONF/dnsproxy.yaml" "$CONF/$row.yaml"; done
  declare -gA upstream_pids
  start_upstream "$UPSTREAM"
  unique_names hot 1 > "$RUN/hot.names"
  unique_names even "$EVEN_NAMES" | shuffled > "$RUN/even.names"
  in_rounds measure_row
}

measure_row() {
  local set
  WORKERS=$(workers_of "$1")
  for set in $SETS; do
    start_server "$1"
    pin_workers
    ask_every "$RUN/$set.names" 20000 || fail "$1 does not answer every name, see $RUN/ask.log"
    measure_cost "$1 $set" "$RUN/$set.names"
    stop "$server"
  done
}

workers_of() { grep -o '[0-9]' <<< "$1"; }

# Each on a core of its own.
pin_workers() {
  local thread
  for thread in "/proc/$server"/task/*; do
    case $(cat "$thread/comm") in
      worker-0) taskset -pc "$SERVER_CORE" "${thread##*/}" ;;
      worker-1) taskset -pc "$SECOND_CORE" "${thread##*/}" ;;
    esac
  done > /dev/null
}

measure_cost() {
  local before rate=$((RATE * WORKERS))
  flood "$2" "$rate" 1
  before=$(cpu_of "$server")
  flood "$2" "$rate" "$SECONDS_EACH"
  sample "$1" cpu "$(ratio $(($(cpu_of "$server") - before)) $((answered * 1000)))"
  sample "$1" sent "$sent"
  sample "$1" lost $((sent - answered))
  sample "$1" noerror "$noerror"
}

report() {
  local set row
  summarise
  cat <<TEXT
# What a second worker adds

Cached A answers over UDP, $RATE queries/s for each worker, for $SECONDS_EACH s in each of $ROUNDS interleaved rounds: of one single name (hot), and of
$EVEN_NAMES names asked evenly (even). CPU of the server's process per answer: the median (least to greatest). *Of one worker*: how many times
the answers of one worker that makes on full cores.

| names | workers | CPU per answer, µs | of one worker | lost | failed |
|---|---|---|---|---|---|
TEXT
  for set in $SETS; do
    for row in $ROWS; do report_row "$row $set" "${ROWS%% *} $set" "$(workers_of "$row")" "$set"; done
  done
  echo
  describe_machine
  cat <<TEXT
The second worker on core $SECOND_CORE.

All of it again: \`make bench ARGS="workers --rounds $ROUNDS --seconds $SECONDS_EACH --rate $RATE"\`.
TEXT
}

report_row() {
  local times; times=$(ratio "$(value_of "$2" cpu)" "$(value_of "$1" cpu)")
  echo "| $4 | $3 | $(spread_of "$1" cpu 2) | $(awk -v n="$3" -v times="$times" 'BEGIN { printf "%.2f", n * times }')" \
    "| $(total_of "$1" lost) of $(total_of "$1" sent) | $(failed_of "$1") |"
}
