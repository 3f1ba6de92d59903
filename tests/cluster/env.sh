# What every script of this folder agrees on: paths, names and addresses. Sourced, never run.

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
ROOT=$(dirname "$(dirname "$HERE")")
BUILD=$HERE/.build                   # binaries and images: kept from run to run
BIN=$BUILD/bin
IMAGES=$BUILD/images
STATE=$HERE/.state                   # all that a running cluster writes: gone when it is down
PKI=$STATE/pki
RELEASE=$ROOT/target/$(uname -m)-unknown-linux-gnu/release    # the static binaries of `make images`
export PATH=$BIN:$PATH:/usr/local/sbin:/usr/sbin:/sbin

CLUSTER_NAME=dnsproxy                # of the kind cluster
KIND_NODE_IMAGE=${KIND_NODE_IMAGE:-kindest/node:v1.34.0}
NODES=${NODES:-1}                    # node-1 is the control plane as well
PROXY_MODE=${PROXY_MODE:-iptables}   # kube-proxy's: iptables or nftables

# The plain cluster lives behind one bridge on the host. Its own network, so that it meets nobody else's.
BRIDGE=dnsproxy0
CGROUP=dnsproxy-test
NETWORK=172.30.77                    # the host is .1, node-N is .(10+N)
BRIDGE_IP=$NETWORK.1
POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
SERVICE_IP=10.96.0.1                 # of default/kubernetes
node_ip() { echo "$NETWORK.$((10 + $1))"; }
pod_cidr() { echo "10.244.$1.0/24"; }

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Which way a cluster is made: CLUSTER=kind|plain when given, else what runs, else kind where it can.
kind_of_cluster() {
  if [ -n "${CLUSTER:-}" ]; then echo "$CLUSTER"
  elif [ -e "$STATE/kind" ]; then echo kind
  elif [ -e "$STATE" ]; then echo plain
  elif command -v kind >/dev/null && docker info >/dev/null 2>&1; then echo kind
  else echo plain
  fi
}

# Poll until a command succeeds, for so many seconds.
wait_for() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { say "timed out: $*"; return 1; }
    sleep 0.1
  done
}
