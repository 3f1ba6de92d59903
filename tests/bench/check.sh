# Is every answer from the cache the right one, while entries expire and are evicted, the manifest is read anew, and rules are not the
# same for all clients? Sourced by inside.sh.

ROWS="dnsproxy dnsdist coredns"
ONLY=${ONLY:-dnsproxy}               # the others show that what is asked and how it is judged are fair
UPSTREAM=${UPSTREAMS[0]}
UPSTREAM_PROGRAM=verify              # which knows the right answers
ANSWERS=${COUNT:-10000000}           # from a cache
SECONDS_EACH=${SECONDS_EACH:-900}    # at most
NAMES=65536                          # many times what the cache holds
RELOAD=2                             # seconds from one manifest to the next

run_scenario() {
  render "$UPSTREAM"
  declare -gA upstream_pids
  start_upstream "$UPSTREAM"
  local row list
  list=$(rows)
  for row in $list; do check_row "$row"; done
}

check_row() {
  local load began=$SECONDS kind count clients=("$CLIENT")
  start_server "$1"
  case $1 in dnsproxy*) clients+=("${RULED_CLIENTS[@]}") ;; esac
  "${ON_LOAD_CORE[@]}" "$VERIFY" answers "$SERVER:53" "$ANSWERS" "$SECONDS_EACH" "$NAMES" "${clients[@]}" > "$RUN/answers" 2> "$RUN/wrong" &
  load=$!
  case $1 in dnsproxy*) reload_while "$load" "$CONF/$1.yaml" ;; esac
  wait "$load" || fail "the load failed: $(cat "$RUN/wrong")"
  while read -r kind count; do sample "$1" "$kind" "$count"; done < "$RUN/answers"
  sample "$1" seconds $((SECONDS - began))
  case $1 in
    dnsproxy*)
      sample "$1" reloads "$(metric 'dnsproxy_config_reloads_total{result="success"}')"
      sample "$1" rejected "$(metric 'dnsproxy_config_reloads_total{result="failure"}')"
      sample "$1" evictions "$(metric dnsproxy_cache_evictions_total)"
      ;;
  esac
  stop "$server"
  cat "$RUN/wrong" >&2
}

# Each time something else is in the manifest: nothing, a limit, routes of which one is the same as before; and every other time a
# rule before all others.
reload_while() {
  local number=0 first manifest; manifest=$(cat "$2")
  local additions=("" "  limits: {queryDeadline: 3s}" "  routes: [{name: all, zones: ['.'], upstreams: [bench]}, {name: other, zones: [other.example], upstreams: [bench]}]")
  while sleep "$RELOAD" && kill -0 "$1" 2>/dev/null; do
    number=$((number + 1))
    first=()
    [ $((number % 2)) = 0 ] || first=(-e '/^  rules:/a\    - {name: another, match: {names: {zone: [other.example]}}, block: {}}')
    printf '%s\n%s\n' "$manifest" "${additions[number % ${#additions[@]}]}" | sed -e '' "${first[@]}" > "$2.new"
    mv "$2.new" "$2"
  done
}

# The sum of a family, or one of it.
metric() {
  ip netns exec server bash -c "exec 3<>/dev/tcp/${ADMIN/://}; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3" |
    awk -v name="$1" 'index($1, name) == 1 { total += $2 } END { printf "%.0f\n", total }'
}

report() {
  local row rows_measured
  summarise
  rows_measured=$(measured "$ROWS" cached)
  cat <<TEXT
# Right answers

Six clients ask for $NAMES names by Zipf's law, as fast as they are answered, in changing spelling, with and without EDNS, for A and for AAAA.
Four of them have rules at DnsProxy, two other ones than the other two: names that are asked for under others, that are answered or blocked here,
shorter TTLs, other rcodes.
The cache is far too small for them, the upstream gives a TTL of 0 to 5 s anew for every answer, and every $RELOAD s DnsProxy gets another manifest. Every answer must
be that of its question, and have no more TTL than is left of what the upstream gave. Until $ANSWERS answers have come from the cache, but for
$SECONDS_EACH s at most.

| server | wrong | from the cache | from the upstream | by rules | stale | failed | lost | seconds | manifests | evictions |
|---|---|---|---|---|---|---|---|---|---|---|
TEXT
  for row in $rows_measured; do
    echo "| $row | **$(total_of "$row" wrong)** | $(total_of "$row" cached) | $(total_of "$row" fresh) | $(total_of "$row" own) | $(total_of "$row" stale)" \
      "| $(total_of "$row" failed) | $(total_of "$row" lost) | $(total_of "$row" seconds)" \
      "| $(rounded "$(value_of "$row" reloads)" 0) | $(rounded "$(value_of "$row" evictions)" 0) |"
    require_right "$row"
  done
  echo
  describe_machine
  describe_servers "$rows_measured"
  cat <<TEXT

The load: \`verify answers $SERVER:53 $ANSWERS $SECONDS_EACH $NAMES $CLIENT ${RULED_CLIENTS[*]}\`. All of it again: \`make bench ARGS="check --count $ANSWERS"\`.
TEXT
}

require_right() {
  [ "$(total_of "$1" wrong)" = 0 ] || echo "$1 gave wrong answers" >> "$RUN/failed"
  # The upstream answers everything.
  case $1 in dnsproxy*) [ "$(total_of "$1" failed) $(total_of "$1" lost)" = "0 0" ] || echo "$1 left questions without an answer" >> "$RUN/failed" ;; esac
  # One that was refused would have changed nothing.
  [ "$(total_of "$1" rejected)" = 0 ] || echo "$1 refused manifests" >> "$RUN/failed"
  [ "$(total_of "$1" cached)" -ge "$ANSWERS" ] || echo "$1 gave too few answers from a cache" >> "$RUN/failed"
}
