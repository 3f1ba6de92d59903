# One of two upstreams fails under load: killed (its machine says so by a reset), or blackholed (nothing is said). What do clients
# see? Sourced by inside.sh.

ROWS="dnsproxy dnsdist unbound coredns"
FAULTS="killed blackholed"
ROUNDS=${ROUNDS:-3}
RATE=${RATE:-2000}                   # queries per second, each name once, each query once
BEFORE=4                             # seconds until the fault
AFTER=8                              # seconds of load from then on

run_scenario() {
  render "${UPSTREAMS[@]}"
  in_rounds measure_row
}

measure_row() {
  local fault
  for fault in $FAULTS; do measure_fault "$1" "$fault"; done
}

# All is started anew, as no server shall have learned from the fault before.
measure_fault() {
  declare -gA upstream_pids=()
  local address victim when load
  for address in "${UPSTREAMS[@]}"; do start_upstream "$address"; done
  start_server "$1"
  "${ON_LOAD_CORE[@]}" "$LOAD" "$SERVER:53" "$RATE" $((BEFORE + AFTER)) > "$RUN/queries" &
  load=$!
  sleep "$BEFORE"
  victim=$(busier_upstream)
  when=${EPOCHREALTIME/[.,]/}
  "be_$2" "$victim"
  wait "$load" || fail "the load failed"
  judge "$1" "$2" "$when"
  [ "$2" != blackholed ] || end_blackhole
  stop "$server"
  for address in "${UPSTREAMS[@]}"; do stop "${upstream_pids[$address]}"; done
}

# The failure of a server that is not used would prove nothing.
busier_upstream() {
  local address
  for address in "${UPSTREAMS[@]}"; do echo "$(cpu_of "${upstream_pids[$address]}") $address"; done | sort -n | tail -1 | cut -d ' ' -f 2
}

be_killed() { stop "${upstream_pids[$1]}"; }

be_blackholed() { blackhole "$1"; }

# Of the queries sent before the fault (but for the first second's), of all that were sent after it, and of those that were sent
# more than a second after it. An answer other than NOERROR is no answer.
judge() {
  local row="$1 $2" when=$3
  queries before "$when" > "$RUN/before"
  queries after "$when" > "$RUN/after"
  queries later "$when" > "$RUN/later"
  sample "$row" sent "$(wc -l < "$RUN/queries")"
  sample "$row" lost "$(awk '$2 == "-"' "$RUN/queries" | wc -l)"
  sample "$row" failed "$(awk '$2 != "-" && $3 != 0' "$RUN/queries" | wc -l)"
  sample "$row" before "$(percentile 99 < "$RUN/before")"
  sample "$row" worst "$(percentile 100 < "$RUN/after")"
  sample "$row" slow "$(awk '$1 > 100' "$RUN/after" | wc -l)"
  sample "$row" later "$(percentile 99 < "$RUN/later")"
}

# Milliseconds that the answered queries of one part took.
queries() {
  awk -v part="$1" -v fault="$2" '
    NR == 1 { begin = $1 }
    $3 != 0 || $2 == "-" { next }
    part == "before" && $1 > begin + 1e6 && $1 < fault ||
    part == "after" && $1 >= fault ||
    part == "later" && $1 > fault + 1e6 { printf "%.3f\n", $2 / 1000 }' "$RUN/queries"
}

report() {
  local row fault
  summarise
  cat <<TEXT
# One of two upstreams fails

$RATE queries/s, each name once and each query once; after $BEFORE s the upstream that had answered more is killed (SIGKILL) or
blackholed (every packet from and to it is dropped), and the load goes on for $AFTER s. Lost: no answer within 5 s. Failed: another rcode
than NOERROR. Both are of all $ROUNDS rounds together; the rest are medians of the rounds, of answered queries: p99 of those sent before
the fault, and of those sent more than 1 s after it; the slowest of all sent after the fault, and how many took more than 100 ms.

| server | fault | lost | failed | p99 before, ms | p99 later than 1 s, ms | ratio | slowest, ms | over 100 ms |
|---|---|---|---|---|---|---|---|---|
TEXT
  for fault in $FAULTS; do
    for row in $ROWS; do [ -z "$(value_of "$row $fault" sent)" ] || report_fault "$row" "$fault"; done
  done
  echo
  describe_machine
  describe_servers "$(measured_rows)"
  printf '\nAll of it again: `make bench ARGS="fault --rounds %s --rate %s"`.\n' "$ROUNDS" "$RATE"
}

report_fault() {
  local row="$1 $2" before later
  before=$(value_of "$row" before) later=$(value_of "$row" later)
  echo "| $1 | $2 | $(total_of "$row" lost) of $(total_of "$row" sent) | $(total_of "$row" failed)" \
    "| $(rounded "$before" 2) | $(rounded "$later" 2) | $(rounded "$(ratio "$later" "$before")" 1)" \
    "| $(rounded "$(value_of "$row" worst)" 0) | $(rounded "$(value_of "$row" slow)" 0) |"
}

measured_rows() {
  local row
  for row in $ROWS; do [ -z "$(value_of "$row killed" sent)" ] || echo "$row"; done
}
