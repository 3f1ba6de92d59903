#!/bin/bash
# One run of one scenario, as process 1 of the namespaces that run.sh makes. Started by it alone.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
for part in network servers load report chart "$SCENARIO"; do . "$HERE/$part.sh"; done

main() {
  go_first
  load_before=$(cut -d ' ' -f 1 /proc/loadavg)
  make_network
  enter_newest
  make_certificates
  run_scenario
  report | tee "$BUILD/results-$SCENARIO.md"
  [ ! -e "$RUN/failed" ] || fail "$(cat "$RUN/failed")"
}

# Before other work on the machine, which disturbs less then; within the run all are alike. Where sessions are weighed against each
# other (autogroup), the priority of a process counts only inside of its own.
go_first() {
  renice -n "$NICE" $$ >/dev/null
  [ ! -w /proc/self/autogroup ] || echo "$NICE" > /proc/self/autogroup
}

# Round after round `$1 ROW` for each row, and before them `$2`, where there is one. Every round begins with another row: nobody
# always comes first, or after the same neighbour.
in_rounds() {
  local round row list
  list=$(rows)
  for round in $(seq "$ROUNDS"); do
    "${2:-:}"
    # shellcheck disable=SC2086 # a list of words
    for row in $(rotate "$round" $list); do "$1" "$row"; done
    say "round $round of $ROUNDS is done"
  done
}

# The rows to measure: those that were asked for and can be had.
rows() {
  local row found=""
  for row in $ROWS; do
    [ -z "$ONLY" ] || [[ ,$ONLY, == *",$row,"* ]] || continue
    is_there "$row" || { say "left out: $row"; continue; }
    echo "$row"
    found=$row
  done
  [ -n "$found" ] || fail "no such server: $ONLY"
}

rotate() {
  local by=$(($1 % ($# - 1))); shift
  echo "${@:by + 1}" "${@:1:by}"
}

# A quantity that could not be measured is no sample.
sample() { [ -z "$3" ] || printf '%s\t%s\t%s\n' "$1" "$2" "$3" >> "$RUN/samples"; }

main
