#!/bin/bash
# Compares DnsProxy with its peers: every server in turn, in one run, on one machine.
#
#   run.sh hit [--rounds N] [--seconds S] [--rate R] [--only NAME[,NAME]]       queries that a cache answers
#   run.sh miss [--rounds N] [--seconds S] [--rate R] [--only NAME[,NAME]]      queries that no cache can answer
#   run.sh memory [--rounds N] [--count ENTRIES] [--rate R] [--only ...]        what an answer and an idle connection take
#   run.sh check [--count ANSWERS] [--seconds S] [--only ...]                   whether every cached answer is the right one
#   run.sh rules [--rounds N] [--seconds S] [--rate R] [--only ...]             what rules cost that match nothing
#   run.sh workers [--rounds N] [--seconds S] [--rate R]                        what a second worker adds
#   run.sh fault [--rounds N] [--rate R] [--only NAME[,NAME]]                   one of two upstreams fails under load
#   run.sh profile                                                              which code is hot: for make profile alone
#   run.sh                                                                      all of them in turn
#
#   BIN=FILE        to measure another dnsproxy than the one that `make bench` builds
#   PEERS=installed the peers that are installed, instead of the newest ones in a folder of their own
#   --keep          the results also go to results/, as the project's own
#
# The servers: dnsproxy dnsproxy-uncached dnsproxy-unpadded dnsdist dnsdist-cached unbound unbound-unpadded coredns dnsmasq; responder and forwarder are none.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"

main() {
  read_arguments "$@"
  "$CLUSTER_TOOLS/require.sh" bench
  for program in "$LOAD" "$RESPONDER" "$FORWARDER" "$VERIFY"; do [ -x "$program" ] || fail "missing: $program (make bench builds it)"; done
  "$HERE/peers.sh"
  be_alone
  for SCENARIO in $scenarios; do
    rm -rf "$RUN"
    mkdir -p "$CONF"
    measure
    [ -z "$keep" ] || keep_results
  done
}

SCENARIOS="hit miss memory fault check rules workers"

# Two runs would measure each other, whichever checkouts they are of.
be_alone() {
  exec 9> "$LOCK"
  flock --nonblock 9 || { say "waiting for another run to end ($LOCK)"; flock 9; }
}

read_arguments() {
  SCENARIO= ROUNDS= SECONDS_EACH= RATE= COUNT= ONLY= keep= scenarios=
  while [ $# -gt 0 ]; do
    case $1 in
      hit | miss | memory | fault | check | rules | workers | profile) scenarios+=" $1" ;;
      --keep) keep=yes ;;
      --rounds | --seconds | --rate | --count | --only) [ $# -gt 1 ] || usage; set_option "$1" "$2"; shift ;;
      *) usage ;;
    esac
    shift
  done
  scenarios=${scenarios:-$SCENARIOS}
  export SCENARIO ROUNDS SECONDS_EACH RATE COUNT ONLY
}

set_option() {
  [ "$1" = --only ] || [[ $2 =~ ^[1-9][0-9]{0,7}$ ]] || fail "$1: a number is needed, not $2"
  case $1 in
    --rounds) ROUNDS=$2 ;;
    --seconds) SECONDS_EACH=$2 ;;
    --rate) RATE=$2 ;;
    --count) COUNT=$2 ;;
    --only) ONLY=$2 ;;
  esac
}

usage() { sed -n 's/^#   //p' "$HERE/run.sh" >&2; exit 2; }

# The namespaces die with their first process, and with them every process, mount, address and filter of the run: there is
# nothing to clean up, however it ends. A session of its own is what the kernel weighs against other people's work.
measure() {
  unshare --fork --pid --mount --net --mount-proc --kill-child=KILL -- setsid "$HERE/inside.sh" &
  # It has no terminal that could interrupt it.
  trap 'kill -KILL $!; exit 130' INT TERM
  wait $!
}

keep_results() {
  mkdir -p "$HERE/results"
  cp "$BUILD/results-$SCENARIO".* "$HERE/results/"
}

main "$@"
