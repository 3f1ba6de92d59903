# The loads, each bounded in count and time. Sourced by inside.sh.

# Names that nobody has asked before: begun with a word of the caller's, all of one length.
unique_names() { awk -v word="$1" -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s%07d.bench.example. A\n", word, i }'; }

# Lines in another order, the same in every run.
shuffled() { awk 'BEGIN { srand(1) } { print rand() "\t" $0 }' | sort -n | cut -f 2-; }

# N queries for the names of standard input, by Zipf's law: the name of rank r is asked for 1/r times as often as the first.
zipf() {
  awk -v n="$1" '
    { name[NR] = $0; sum[NR] = sum[NR - 1] + 1 / NR }
    END {
      srand(1)
      while (n-- > 0) {
        at = rand() * sum[NR]
        low = 1
        high = NR
        while (low < high) {
          middle = int((low + high) / 2)
          if (sum[middle] < at) low = middle + 1; else high = middle
        }
        print name[low]
      }
    }'
}

# Asks every name of a file until each has been answered with NOERROR in one go: what a server loses in the first, when every name
# goes to the upstream, it has had in the second.
ask_every() {
  local names=$1 rate=$2 want attempt
  want=$(wc -l < "$names")
  for attempt in 1 2 3 4; do
    "${ON_LOAD_CORE[@]}" dnsperf -s "$SERVER" -d "$names" -n 1 -q 100 -c 4 -Q "$rate" > "$RUN/ask.log" 2>&1 || return 1
    awk -v want="$want" '
      /Queries completed:/ { completed = $3 }
      /Response codes:/ { good = $3 == "NOERROR" && $4 == want }
      END { exit !(completed == want && good) }' "$RUN/ask.log" && return
  done
  return 1
}

# kxdpgun takes every datagram to a port from here on; those to a lower one go on to the programs that they are for.
PASSED_PORT=1000

# kxdpgun sends from user space past the kernel (AF_XDP), so that the load costs its core little. Sets `sent`, `answered` and
# `noerror`. Its own choice of a core, not taskset, is what counts: it pins its threads itself.
flood() {
  local names=$1 rate=$2 seconds=$3 out attempt
  # The kernel gives the queue back a moment after the flood before has ended.
  for attempt in 1 2 3 4 5; do
    out=$("${ON_LOAD_CORE[@]}" kxdpgun -F "$LOAD_CORE" -t "$seconds" -Q "$rate" -b 10 -i "$names" -I to-server "$SERVER" 2>&1) \
      || fail "kxdpgun: $out"
    [[ $out == *"resource is busy"* ]] || break
    sleep 0.5
  done
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
