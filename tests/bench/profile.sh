# Which code is hot? A proxy that counts its own steps (`make profile` builds it) is asked what proxies are asked: names that it knows and
# names that it does not, over UDP and TCP, with rules and without. The counts are for the compiler, which lays hot code out together, and
# no times are measured. Sourced by inside.sh.

ROWS="dnsproxy dnsproxy-uncached dnsproxy-ruled"
UPSTREAM=${UPSTREAMS[0]}
LISTEN=0.0.0.0
ROUNDS=${ROUNDS:-1}
SECONDS_EACH=${SECONDS_EACH:-6}
RATE=${RATE:-10000}                  # queries per second: counting makes it slow
KNOWN_NAMES=10000
PROFILE=$ROOT/proxy/pgo.profdata
export LLVM_PROFILE_FILE=/dev/null   # a row has a file of its own

run_scenario() {
  render "$UPSTREAM"
  declare -gA upstream_pids
  start_upstream "$UPSTREAM"
  unique_names hit "$KNOWN_NAMES" | shuffled > "$RUN/known.names"
  awk 'NR % 20 == 1 { sub(/^hit/, "renamed") } NR % 20 == 2 { sub(/^hit/, "brief") } NR % 20 == 3 { sub(/bench/, "ads") }
    NR % 20 == 4 { $1 = "intranet.bench.example." } { print }' "$RUN/known.names" > "$RUN/ruled.names"
  in_rounds count_row
}

# Each part as often as the others: what is rare in one of them is rare.
count_row() {
  local names="$RUN/known.names"
  [ "$1" != dnsproxy-ruled ] || names="$RUN/ruled.names"
  export LLVM_PROFILE_FILE="$RUN/$1.profraw"
  start_server "$1"
  unique_names "$1" $((RATE * (SECONDS_EACH + 1))) > "$RUN/new.names"
  flood "$RUN/new.names" "$RATE" "$SECONDS_EACH"
  flood "$names" "$RATE" "$SECONDS_EACH"
  "${ON_LOAD_CORE[@]}" dnsperf -m tcp -s "$SERVER" -d "$names" -c 20 -l "$SECONDS_EACH" -Q $((RATE / 10)) > "$RUN/$1.tcp" 2>&1
  end "$server"
}

# It writes its counts when it ends.
end() {
  kill -TERM "$1"
  wait "$1" || fail "it did not end well"
}

report() {
  "$(rustc --print target-libdir)/../bin/llvm-profdata" merge --sparse --output "$PROFILE" "$RUN"/*.profraw
  echo "$PROFILE: $(wc -c < "$PROFILE") octets"
}
