# Every query is answered from a cache that was filled before. What does such an answer cost, beside what the kernel takes for two
# datagrams? Sourced by inside.sh.

ROWS="responder dnsproxy unbound dnsdist dnsmasq coredns"
SETS="even zipf"
UPSTREAM=${UPSTREAMS[0]}
LISTEN=0.0.0.0                       # as in an image or a pod, with what the kernel says about each datagram; so does the responder
ROUNDS=${ROUNDS:-3}
SECONDS_EACH=${SECONDS_EACH:-5}
RATE=${RATE:-60000}                  # queries per second: what most of the servers can do on one core
EVEN_NAMES=10000
ZIPF_NAMES=100000
ZIPF_QUERIES=500000
WARM_RATE=20000                      # queries per second, each of which goes to the upstream
LATENCY_RATE=2000                    # of them are dnsperf's, which tells when each was answered
LATENCY_CLIENTS=20                   # sockets of dnsperf
SATURATION="0.9 1.3 2"               # times the rate at which the core would be full, by the cost at RATE: the most of these counts
SATURATION_SECONDS=2
FULL=95                              # % of the core: below that it was not the server that was at its limit
MAX_UPSTREAM=1                       # packets to the upstream for 100 answers: above that, it was no hit that was measured

run_scenario() {
  render "$UPSTREAM"
  declare -gA upstream_pids
  start_upstream "$UPSTREAM"
  count_packets_to "$UPSTREAM"
  make_sets
  in_rounds measure_row
}

# Of each set: SET.names has every name once, SET.queries is what is asked.
make_sets() {
  unique_names even "$EVEN_NAMES" | shuffled > "$RUN/even.names"
  cp "$RUN/even.names" "$RUN/even.queries"
  unique_names zipf "$ZIPF_NAMES" | shuffled > "$RUN/zipf.names"
  zipf "$ZIPF_QUERIES" < "$RUN/zipf.names" > "$RUN/zipf.queries"
}

measure_row() {
  start_server "$1"
  sleep 1
  local idle set; idle=$(anonymous_of "$server")
  for set in $SETS; do
    sample "$1 $set" idle "$(ratio "$idle" 1024)"
    warm "$1" "$RUN/$set.names"
    measure_cost "$1 $set" "$RUN/$set.queries"
    measure_latency "$1 $set" "$RUN/$set.queries"
    measure_saturation "$1 $set" "$RUN/$set.queries"
    sample "$1 $set" memory "$(ratio "$(memory_of "$server")" 1024)"
  done
  stop "$server"
}

# Whether the last names are still there is seen by the packets that go to the upstream later.
warm() {
  ask_every "$2" "$WARM_RATE" || fail "$1 does not answer every name, see $RUN/ask.log"
}

measure_cost() {
  local before packets
  flood "$2" "$RATE" 1
  before=$(cpu_of "$server") packets=$(packets_to_upstream)
  flood "$2" "$RATE" "$SECONDS_EACH"
  cost=$(ratio $(($(cpu_of "$server") - before)) $((answered * 1000)))
  sample "$1" cpu "$cost"
  sample "$1" upstream $(($(packets_to_upstream) - packets))
  sample "$1" sent "$sent"
  sample "$1" answered "$answered"
  sample "$1" lost $((sent - answered))
  sample "$1" noerror "$noerror"
}

# At the full rate: the client that takes the time is one of those that ask, and goes before the others on their core.
measure_latency() {
  flood "$2" $((RATE - LATENCY_RATE)) $((SECONDS_EACH + 1)) &
  local others=$!
  sleep 0.5
  latencies "$SECONDS_EACH" "$LATENCY_RATE" "${ON_LOAD_CORE[@]}" chrt --fifo 1 \
    dnsperf -s "$SERVER" -d "$2" -c "$LATENCY_CLIENTS" -x "$PASSED_PORT" > "$RUN/latencies"
  wait "$others" || fail "the load beside the measured client failed"
  sample "$1" p50 "$(percentile 50 < "$RUN/latencies")"
  sample "$1" p99 "$(percentile 99 < "$RUN/latencies")"
}

# More than a server can do may make it do less, so it is offered several rates about its limit.
measure_saturation() {
  local factor before rate share most=0 busy=0
  for factor in $SATURATION; do
    rate=$(awk -v cost="$cost" -v factor="$factor" 'BEGIN { printf "%d", factor * 1e6 / cost }')
    before=$(cpu_of "$server")
    flood "$2" "$rate" "$SATURATION_SECONDS"
    share=$((($(cpu_of "$server") - before) / (SATURATION_SECONDS * 10000000)))
    [ "$noerror" -le "$most" ] || { most=$noerror busy=$share; }
  done
  sample "$1" saturation $((most / SATURATION_SECONDS))
  sample "$1" busy "$busy"
}

report() {
  local row set rows_measured
  summarise
  rows_measured=$(measured_sets)
  draw_bars "CPU per cached answer over UDP, in microseconds" cpu "$rows_measured" > "$BUILD/results-hit.svg"
  cat <<TEXT
# Queries that hit

Cached A answers over UDP. Every name was asked once before counting began; then $EVEN_NAMES names are asked evenly (even), or
$ZIPF_NAMES by Zipf's law (zipf). CPU of the server's process per answer at $RATE queries/s on one core, for $SECONDS_EACH s in each of
$ROUNDS interleaved rounds: the median (least to greatest). *To the floor*: by the bare responder's; *to the best peer*: by that of the
cheapest peer. Lost and failed (answered with another code than NOERROR) are of all rounds together. Latency is what a client sees at the same rate. Saturation is the
most that was answered in a second, whatever was offered. Memory is the peak, idle what the process itself holds (RssAnon) before the first
query. Packets to the upstream are of all rounds together; above $MAX_UPSTREAM for 100 answers it would be no hit that is measured.

| server | names | CPU per answer, µs | to the floor | to the best peer | lost | failed | p50, ms | p99, ms | saturation, answers/s | memory, MiB | idle, MiB | packets to the upstream |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
TEXT
  for set in $SETS; do
    for row in $(measured_of "$set"); do report_row "$row" "$set"; done
  done
  echo
  describe_machine
  describe_servers "$(measured_of even)"
  cat <<TEXT

The load: \`kxdpgun -F $LOAD_CORE -t $SECONDS_EACH -Q $RATE -b 10 -i NAMES -I to-server $SERVER\`, the latency beside it:
\`chrt --fifo 1 dnsperf -s $SERVER -d NAMES -c $LATENCY_CLIENTS -x $PASSED_PORT -l $SECONDS_EACH -Q $LATENCY_RATE -v\`. All of it again:
\`make bench ARGS="hit --rounds $ROUNDS --seconds $SECONDS_EACH --rate $RATE"\`.
TEXT
}

report_row() {
  local key="$1 $2"
  echo "| $1 | $2 | $(spread_of "$key" cpu 1) | $(times_of "$key" cpu "responder $2") | $(times_of "$key" cpu "$(best_peer "$(keys_of "$2")" cpu)")" \
    "| $(total_of "$key" lost) of $(total_of "$key" sent) | $(failed_of "$key")" \
    "| $(rounded "$(value_of "$key" p50)" 3) | $(rounded "$(value_of "$key" p99)" 2) | $(saturation_of "$key")" \
    "| $(rounded "$(value_of "$key" memory)" 0) | $(rounded "$(value_of "$key" idle)" 1) | $(packets_of "$key") |"
}

saturation_of() {
  local busy; busy=$(rounded "$(value_of "$1" busy)" 0)
  echo "$(rounded "$(value_of "$1" saturation)" 0)$([ "${busy/-/0}" -ge "$FULL" ] || echo " or more: the server's core was $busy % busy")"
}

packets_of() {
  local packets answered; packets=$(total_of "$1" upstream) answered=$(total_of "$1" answered)
  echo "$packets$([ $((packets * 100)) -le $((answered * MAX_UPSTREAM)) ] || echo " **too many**")"
}

measured_of() {
  local row
  for row in $ROWS; do [ -z "$(value_of "$row $1" cpu)" ] || echo "$row"; done
}

keys_of() { measured_of "$1" | sed "s/\$/ $1/"; }

measured_sets() {
  local set
  for set in $SETS; do keys_of "$set"; done
}
