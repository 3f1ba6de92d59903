# What do rules cost? Nine of ten queries are answered from the cache, the tenth has a name that nobody asked for before; no rule matches any of
# them. Sourced by inside.sh.

# The number is that of the names: half of them exact, half zones. Patterns that must be tried one by one have a row of their own.
ROWS="dnsproxy-rules-0 dnsproxy-rules-10 dnsproxy-rules-1000 dnsproxy-rules-100000 dnsproxy-rules-list dnsproxy-rules-tried"
UPSTREAM=${UPSTREAMS[0]}
ROUNDS=${ROUNDS:-3}
SECONDS_EACH=${SECONDS_EACH:-5}
RATE=${RATE:-30000}                  # queries per second
KNOWN_NAMES=10000
QUERIES=$((RATE * (SECONDS_EACH + 1)))
TRIED=10                             # regular expressions, and as many substrings

run_scenario() {
  render "$UPSTREAM"
  declare -gA upstream_pids
  start_upstream "$UPSTREAM"
  for names in 0 10 1000 100000; do rules_of "$names" > "$CONF/dnsproxy-rules-$names.yaml"; done
  awk 'BEGIN { for (i = 0; i < 1000000; i++) printf "host%d.list%d.example\n", i, i % 7919 }' > "$CONF/list"
  rule_with_a_list > "$CONF/dnsproxy-rules-list.yaml"
  rules_that_are_tried > "$CONF/dnsproxy-rules-tried.yaml"
  unique_names known "$KNOWN_NAMES" | shuffled > "$RUN/known.names"
  mixed < "$RUN/known.names" > "$RUN/mixed.queries"
  in_rounds measure_row
}

rules_of() {
  cat "$CONF/dnsproxy.yaml"
  [ "$1" -gt 0 ] || return 0
  awk -v n="$1" 'BEGIN {
    print "  rules:"
    print "    - name: names"
    print "      match:"
    print "        names:"
    print "          exact:"
    for (i = 0; i < n / 2; i++) printf "            - host%06d.rules.example\n", i
    print "          zone:"
    for (i = 0; i < n / 2; i++) printf "            - zone%06d.example\n", i
    print "      block: {}"
  }'
}

rule_with_a_list() {
  cat "$CONF/dnsproxy.yaml"
  cat <<YAML
  lists: [{name: list, sources: [{file: "$CONF/list"}]}]
  rules: [{name: list, match: {names: {lists: [list]}}, block: {}}]
YAML
}

rules_that_are_tried() {
  cat "$CONF/dnsproxy.yaml"
  awk -v n="$TRIED" 'BEGIN {
    print "  rules:"
    print "    - name: tried"
    print "      match:"
    print "        names:"
    print "          regex:"
    for (i = 0; i < n; i++) printf "            - ^[a-z]+%d-[0-9]+[.]rules[.]example[.]$\n", i
    print "          substring:"
    for (i = 0; i < n; i++) printf "            - .rules%d.\n", i
    print "      block: {}"
  }'
}

# Known names in turn, and every tenth one that is asked for once.
mixed() {
  awk -v n="$QUERIES" '
    { known[NR] = $0 }
    END { for (i = 0; i < n; i++) if (i % 10) print known[i % NR + 1]; else printf "once%08d.bench.example. A\n", i }'
}

measure_row() {
  local before
  start_server "$1"
  ask_every "$RUN/known.names" 20000 || fail "$1 does not answer every name, see $RUN/ask.log"
  before=$(cpu_of "$server")
  flood "$RUN/mixed.queries" "$RATE" "$SECONDS_EACH"
  sample "$1" cpu "$(ratio $(($(cpu_of "$server") - before)) $((answered * 1000)))"
  sample "$1" sent "$sent"
  sample "$1" lost $((sent - answered))
  sample "$1" noerror "$noerror"
  sample "$1" memory "$(ratio "$(memory_of "$server")" 1024)"
  stop "$server"
}

report() {
  local row
  summarise
  cat <<TEXT
# The cost of rules

$RATE queries/s on one core, for $SECONDS_EACH s in each of $ROUNDS interleaved rounds; nine of ten are answered from the cache, the tenth goes to the upstream. No
rule matches. The number is that of exact names and zones, half and half; *list* is a list with a million names, *tried* has $TRIED regular expressions and $TRIED substrings. CPU of the server's process per
answer: the median (least to greatest). *To ten*: by that with ten names.

| rules | CPU per answer, µs | to ten | lost | failed | memory, MiB |
|---|---|---|---|---|---|
TEXT
  for row in $(measured "$ROWS" cpu); do
    echo "| ${row#dnsproxy-rules-} | $(spread_of "$row" cpu 1) | $(times_of "$row" cpu dnsproxy-rules-10) | $(total_of "$row" lost) of $(total_of "$row" sent) | $(failed_of "$row") | $(rounded "$(value_of "$row" memory)" 0) |"
  done
  echo
  describe_machine
  cat <<TEXT

All of it again: \`make bench ARGS="rules --rounds $ROUNDS --seconds $SECONDS_EACH --rate $RATE"\`.
TEXT
}
