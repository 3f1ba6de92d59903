# Every query has a name that was never asked before, so it goes through the server, over TLS to an upstream that answers at once,
# and back. Sourced by inside.sh.

ROWS="forwarder dnsproxy dnsproxy-uncached dnsproxy-unpadded dnsdist dnsdist-cached unbound unbound-unpadded coredns"
UPSTREAM=${UPSTREAMS[0]}
ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-5}
RATE=${RATE:-15000}                  # queries per second: what each of the servers can do on one core
LATENCY_RATE=2000                    # low enough that nobody waits for anybody
LATENCY_CLIENTS=20                   # sockets of dnsperf, as a Service's clients have many
MAX_UPSTREAM_SHARE=60                # % of its core: above that the upstream is part of what is measured

run_scenario() {
  render "$UPSTREAM"
  declare -gA upstream_pids
  start_upstream "$UPSTREAM"
  unique_names warm "$((RATE * 2))" > "$RUN/warm"
  unique_names load "$((RATE * (SECONDS_EACH + 1)))" > "$RUN/load"
  unique_names late "$((LATENCY_RATE * (SECONDS_EACH + 1)))" > "$RUN/late"
  in_rounds measure_row measure_direct
}

measure_row() {
  start_server "$1"
  measure_cost "$1"
  measure_latency "$1"
  stop "$server"
}

# Connections, threads and buffers are there when the counting begins.
measure_cost() {
  local upstream=${upstream_pids[$UPSTREAM]} before upstream_before
  flood "$RUN/warm" "$RATE" 1
  before=$(cpu_of "$server") upstream_before=$(cpu_of "$upstream")
  flood "$RUN/load" "$RATE" "$SECONDS_EACH"
  sample "$1" cpu "$(ratio $(($(cpu_of "$server") - before)) $((answered * 1000)))"
  sample "$1" upstream "$(ratio $((($(cpu_of "$upstream") - upstream_before) * 100)) $((SECONDS_EACH * 1000000000)))"
  sample "$1" sent "$sent"
  sample "$1" lost $((sent - answered))
  sample "$1" noerror "$noerror"
  sample "$1" memory "$(ratio "$(memory_of "$server")" 1024)"
}

measure_latency() {
  latencies "$SECONDS_EACH" "$LATENCY_RATE" "${ON_LOAD_CORE[@]}" dnsperf -s "$SERVER" -d "$RUN/late" -c "$LATENCY_CLIENTS" > "$RUN/latencies"
  sample "$1" p50 "$(percentile 50 < "$RUN/latencies")"
  sample "$1" p99 "$(percentile 99 < "$RUN/latencies")"
}

# What is there without any server between: DNS-over-TLS from the server's own core and namespace, on one connection.
measure_direct() {
  latencies "$SECONDS_EACH" "$LATENCY_RATE" "${ON_SERVER_CORE[@]}" dnsperf -m dot -s "$UPSTREAM" -d "$RUN/late" -c 1 > "$RUN/latencies"
  sample direct p50 "$(percentile 50 < "$RUN/latencies")"
  sample direct p99 "$(percentile 99 < "$RUN/latencies")"
}


report() {
  local row direct rows_measured
  summarise
  rows_measured=$(measured "$ROWS" cpu)
  direct=$(value_of direct p50)
  draw_bars "CPU per query that misses, over DNS-over-TLS, in microseconds" cpu "$rows_measured" > "$BUILD/results-miss.svg"
  cat <<TEXT
# Queries that miss, over DNS-over-TLS

Every query has a new name. CPU of the server's process per answer at $RATE queries/s on one core, for $SECONDS_EACH s in each of $ROUNDS
interleaved rounds: the median (least to greatest). *To the floor*: by the bare forwarder's; *to the best peer*: by that of the cheapest
peer. Lost and failed (answered with another code than NOERROR) are of all rounds together. Latency is what a client sees at
$LATENCY_RATE queries/s, of which the upstream itself, asked over TLS without a server between, takes $(rounded "$direct" 3) ms at p50. The
upstream's CPU is its share of its core at $RATE queries/s; above $MAX_UPSTREAM_SHARE % it would be part of what is measured.

| server | CPU per answer, µs | to the floor | to the best peer | lost | failed | memory, MiB | p50, ms | added, ms | p99, ms | upstream's CPU |
|---|---|---|---|---|---|---|---|---|---|---|
TEXT
  for row in $rows_measured; do
    echo "| $row | $(spread_of "$row" cpu 1) | $(times_of "$row" cpu forwarder) | $(times_of "$row" cpu "$(best_peer "$rows_measured" cpu)")" \
      "| $(total_of "$row" lost) of $(total_of "$row" sent) | $(failed_of "$row")" \
      "| $(rounded "$(value_of "$row" memory)" 0) | $(rounded "$(value_of "$row" p50)" 3)" \
      "| $(difference "$(value_of "$row" p50)" "$direct") | $(rounded "$(value_of "$row" p99)" 2)" \
      "| $(share_of_upstream "$row") |"
  done
  echo
  describe_machine
  describe_servers "$rows_measured"
  cat <<TEXT

The load: \`kxdpgun -F $LOAD_CORE -t $SECONDS_EACH -Q $RATE -b 10 -i NAMES -I to-server $SERVER\`, the latency:
\`dnsperf -s $SERVER -d NAMES -c $LATENCY_CLIENTS -l $SECONDS_EACH -Q $LATENCY_RATE -v\`. All of it again: \`make bench ARGS="miss --rounds $ROUNDS --seconds $SECONDS_EACH --rate $RATE"\`.
TEXT
}

share_of_upstream() {
  local share; share=$(rounded "$(value_of "$1" upstream 6)" 0)
  echo "$share %$([ "$share" -le "$MAX_UPSTREAM_SHARE" ] || echo " **too much**")"
}
