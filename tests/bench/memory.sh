# What a cached answer takes in memory, and what an idle TCP connection does. Sourced by inside.sh.

ROWS="dnsproxy unbound dnsdist dnsmasq coredns"
TCP_ROWS="dnsproxy unbound dnsdist coredns"    # dnsmasq has a process for each connection, and not so many
UPSTREAM=${UPSTREAMS[0]}
ROUNDS=${ROUNDS:-1}
RATE=${RATE:-20000}                  # queries per second: what each of the servers can do on one core when it asks the upstream
ENTRIES=${COUNT:-1000000}
LITTLE_ROOM=1000                     # entries
OCTETS=60                            # of an answer: a name of 28 octets, and one address
CONNECTIONS=10000                    # of one client; its settings for that are in conf/memory/ROW-tcp
OPEN_FILES=$((CONNECTIONS + 5000))    # of the server and of the client
HOLD=5                               # seconds that they stay open

run_scenario() {
  declare -gA upstream_pids
  ulimit -n "$(ulimit -Hn)"
  [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge "$OPEN_FILES" ] || fail "a process may have $(ulimit -n) files open, $OPEN_FILES are needed"
  render "$UPSTREAM"
  start_upstream "$UPSTREAM"
  count_packets_to "$UPSTREAM"
  unique_names entry "$ENTRIES" > "$RUN/names"
  in_rounds measure_row
}

measure_row() {
  measure_empty "$1"
  measure_entries "$1"
  measure_connections "$1"
}

# Some take at once what they may need: so that it counts, what a server has with little room is where the counting begins. Sets `empty`.
measure_empty() {
  ROOM=$LITTLE_ROOM render "$UPSTREAM"
  start_server "$1"
  sleep 1
  empty=$(anonymous_of "$server")
  sample "$1" idle "$(ratio "$empty" 1024)"
  stop "$server"
}

# Those that are not there any more are seen when all are asked for again.
measure_entries() {
  local packets
  ROOM=$((ENTRIES * 11 / 10)) render "$UPSTREAM"
  start_server "$1"
  ask_every "$RUN/names" "$RATE" || fail "$1 does not answer every name, see $RUN/ask.log"
  sleep 1
  sample "$1" entry "$(ratio $((($(anonymous_of "$server") - empty) * 1024)) "$ENTRIES")"
  sample "$1" octets "$(octets_of_answer)"
  packets=$(packets_to_upstream)
  ask_every "$RUN/names" $((RATE * 2)) || fail "$1 does not answer every name again, see $RUN/ask.log"
  sample "$1" upstream $(($(packets_to_upstream) - packets))
  sample "$1" memory "$(ratio "$(memory_of "$server")" 1024)"
  stop "$server"
}

octets_of_answer() { "${ON_LOAD_CORE[@]}" dig +noedns "@$SERVER" entry0000000.bench.example. A | awk '/MSG SIZE/ { print $NF }'; }

measure_connections() {
  local with client
  [[ " $TCP_ROWS " == *" $1 "* ]] || return 0
  start_server "$1-tcp"
  "${ON_LOAD_CORE[@]}" "$VERIFY" connections "$SERVER:53" "$CONNECTIONS" "$HOLD" > "$RUN/connections" &
  client=$!
  wait_for 60 grep -q open "$RUN/connections" || fail "$1 does not take $CONNECTIONS connections, see $RUN/$1-tcp.log"
  sleep 1
  with=$(anonymous_of "$server")
  wait "$client"
  grep -qx "kept $CONNECTIONS" "$RUN/connections" || fail "$1 closed connections: $(tail -1 "$RUN/connections") of $CONNECTIONS"
  sample "$1" connection "$(ratio $(((with - empty) * 1024)) "$CONNECTIONS")"
  sample "$1" all "$(ratio "$with" 1024)"
  stop "$server"
}

report() {
  local row rows_measured
  summarise
  rows_measured=$(measured "$ROWS" entry)
  draw_bars "Memory per cached answer of $OCTETS octets, in bytes" entry "$rows_measured" > "$BUILD/results-memory.svg"
  cat <<TEXT
# Memory

By how much does what the process itself holds (RssAnon) grow, from *idle*, where the cache may hold next to nothing: by $ENTRIES entries,
the answers of which have $OCTETS octets at the upstream, by their number; and by $CONNECTIONS TCP connections with settings for so many, each of
which asked once and stays open? What a server takes beforehand is counted so. Packets to the upstream are those when all names are asked for
again: none, where all entries are still there. Medians (least to greatest) of $ROUNDS rounds. *To the best peer*: by the least of a peer's.

| server | entry, bytes | to the best peer | octets of an answer | packets to the upstream | memory, MiB | connection, bytes | to the best peer | idle, MiB | with connections, MiB |
|---|---|---|---|---|---|---|---|---|---|
TEXT
  for row in $rows_measured; do
    echo "| $row | $(spread_of "$row" entry 0) | $(times_of "$row" entry "$(best_peer "$rows_measured" entry)") | $(rounded "$(value_of "$row" octets)" 0)" \
      "| $(total_of "$row" upstream) | $(rounded "$(value_of "$row" memory)" 0) | $(rounded "$(value_of "$row" connection)" 0)" \
      "| $(times_of "$row" connection "$(best_peer "$rows_measured" connection)")" \
      "| $(rounded "$(value_of "$row" idle)" 1) | $(rounded "$(value_of "$row" all)" 1) |"
  done
  echo
  describe_machine
  describe_servers "$rows_measured"
  cat <<TEXT

The entries: \`dnsperf -s $SERVER -d NAMES -n 1 -q 100 -c 4 -Q $RATE\`, the connections: \`verify connections $SERVER:53 $CONNECTIONS $HOLD\`. dnsmasq
serves each TCP connection by a process of its own, and not so many.

All of it again: \`make bench ARGS="memory --rounds $ROUNDS --count $ENTRIES --rate $RATE"\`.
TEXT
}
