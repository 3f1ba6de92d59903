# What every script of this folder agrees on: paths, names, addresses, cores. Sourced, never run.

program=${BIN:-}                     # the next line has another use for this name
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../cluster/env.sh"
COREDNS=$BIN/coredns
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
PROXY=$(readlink -m "${program:-$TARGET/$(uname -m)-unknown-linux-gnu/release/dnsproxy}")    # the dnsproxy to measure
LOAD=$TARGET/debug/examples/load     # load.rs, for a load of which every query is told
RESPONDER=$TARGET/debug/examples/responder    # responder.rs, the least that answers
FORWARDER=$TARGET/debug/examples/forwarder    # forwarder.rs, the least that forwards
VERIFY=$TARGET/debug/examples/verify # verify/, which looks at every answer
export BIN=$PROXY                    # for inside.sh
CLUSTER_TOOLS=$HERE
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
BUILD=$HERE/.build                   # kept from run to run: the newest peers, and the last results
NEWEST=$BUILD/newest                 # a Debian with the newest peers in it
RUN=$BUILD/run                       # of one run: rendered configurations, names, samples, logs
CONF=$RUN/conf
LOCK=/var/lock/dnsproxy-bench        # held by a run

# Two network namespaces and one cable. Nothing else is reached from there.
SERVER=10.99.0.1                     # of the server under test
ADMIN=127.0.0.1:8053                 # of DnsProxy, in the namespace of the server under test
CLIENT=10.99.0.10                    # of the load; not an upstream's, as an upstream may fail
RULED_CLIENTS=(10.99.0.11 10.99.0.12)    # of clients with rules of their own
UPSTREAMS=(10.99.0.2 10.99.0.3)      # of the DNS-over-TLS servers, beside the load
SERVER_CORE=0                        # the server under test has it for itself
LOAD_CORE=1                          # the load's and the upstream's
NICE=-20                             # of a run, which sleeps most of the time
