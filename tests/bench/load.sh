# The loads, each bounded in count and time. Sourced by inside.sh.

# Names that nobody has asked before: begun with a word of the caller's, all of one length.
unique_names() { awk -v word="$1" -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s%07d.bench.example. A\n", word, i }'; }

# kxdpgun sends from user space past the kernel (AF_XDP), so that the load costs its core little. Sets `sent`, `answered` and
# `noerror`. Its own choice of a core, not taskset, is what counts: it pins its threads itself.
flood() {
  local names=$1 rate=$2 seconds=$3 out
  out=$("${ON_LOAD_CORE[@]}" kxdpgun -F "$LOAD_CORE" -t "$seconds" -Q "$rate" -b 10 -i "$names" -I to-server "$SERVER" 2>&1) \
    || fail "kxdpgun: $out"
  sent=$(awk '/^total queries:/ { print $3 }' <<< "$out")
  answered=$(awk '/^total replies:/ { print $3 }' <<< "$out")
  noerror=$(awk '/responded NOERROR:/ { print $3 }' <<< "$out")
  noerror=${noerror:-0}
  [ "${sent:-0}" -gt 0 ] || fail "kxdpgun sent nothing: $out"
}

# Milliseconds from query to answer as a client sees them, one a line.
latencies() {
  local seconds=$1 rate=$2; shift 2
  "$@" -l "$seconds" -Q "$rate" -v 2>/dev/null | awk '/^> [A-Z]+ / && $NF ~ /^[0-9.]+$/ { printf "%.3f\n", $NF * 1000 }'
}

# Percentile P of the numbers of standard input; nothing of none.
percentile() { sort -n | awk -v p="$1" '{ v[NR] = $1 } END { i = NR * p / 100; if (i > int(i)) i = int(i) + 1; if (NR) print v[i] }'; }
