#!/bin/bash
# Makes sure that the tools of one purpose are there, or says exactly what is missing.
#
#   require.sh build           to compile and to run the proxy
#   require.sh test            and what the integration tests ask for their answers
#   require.sh cluster         and a Kubernetes cluster
#   require.sh bench           to compare the proxy with its peers
#   require.sh peers           the peers of this Debian, where newer ones cannot be had
#   require.sh --look PURPOSE  changes nothing, only says
#
# As root on Debian the missing packages are installed; elsewhere the command that does it is printed.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"

# One line a tool: the command or file to look for, then the Debian package that has it.
BUILD_TOOLS='
cc gcc
/usr/include/signal.h libc6-dev
'
TEST_TOOLS='
unbound unbound
'
BENCH_TOOLS='
kxdpgun knot-dnsutils
dnsperf dnsperf
dig bind9-dnsutils
ip iproute2
nft nftables
taskset util-linux
flock util-linux
openssl openssl
debootstrap debootstrap
'
PEER_TOOLS='
dnsdist dnsdist
dnsmasq dnsmasq-base
unbound unbound
'
CLUSTER_TOOLS='
openssl openssl
busybox busybox-static
dig bind9-dnsutils
kdig knot-dnsutils
'
PLAIN_CLUSTER_TOOLS='
ip iproute2
containerd containerd
runc runc
/usr/lib/cni/bridge containernetworking-plugins
conntrack conntrack
iptables iptables
nft nftables
ipset ipset
ethtool ethtool
socat socat
modprobe kmod
'

main() {
  local look=
  [ "$1" != --look ] || { look=yes; shift; }
  local packages problems
  packages=$(missing_packages "$(tools_of "$1")")
  problems=$(problems_of "$1" "$packages")
  [ -z "$problems" ] || fail "$problems"
  [ -z "$packages" ] || [ -n "$look" ] || install_packages "$packages"
}

tools_of() {
  echo "$BUILD_TOOLS"
  [ "$1" != test ] || echo "$TEST_TOOLS"
  [ "$1" != cluster ] || echo "$TEST_TOOLS$CLUSTER_TOOLS"
  [ "$1" != cluster ] || [ "$(kind_of_cluster)" = kind ] || echo "$PLAIN_CLUSTER_TOOLS"
  [ "$1" != bench ] || echo "$BENCH_TOOLS"
  [ "$1" != peers ] || echo "$PEER_TOOLS"
}

missing_packages() {
  local tool package list=
  while read -r tool package; do
    [ -e "$tool" ] || [ -z "$tool" ] || command -v "$tool" >/dev/null || list+=" $package"
  done <<< "$1"
  echo "${list# }"
}

# What installing packages does not mend.
problems_of() {
  command -v cargo >/dev/null || echo "missing: Rust 1.95 or newer (https://rustup.rs)"
  if [ "$1" = cluster ]; then
    command -v go >/dev/null || echo "missing: Go 1.25 or newer (https://go.dev/dl)"
    [ "$(kind_of_cluster)" = kind ] || may_make_nodes
  fi
  [ "$1" != bench ] || may_measure
  [ -z "$2" ] || may_install || echo "missing: apt-get install -y --no-install-recommends $2"
}

# Says why not. A node is a set of namespaces.
may_make_nodes() { may_make_namespaces "root, or a Docker engine with kind (https://kind.sigs.k8s.io)"; }

may_measure() {
  may_make_namespaces root
  [ "$(nproc)" -ge 2 ] || echo "missing: a second core, as the load must not take the server's"
}

# Only root may, and not in every container.
may_make_namespaces() {
  if [ "$(id -u)" != 0 ]; then
    echo "missing: $1"
  elif ! unshare --fork --pid --mount --net --ipc --uts true 2>/dev/null; then
    echo "missing: the right to make namespaces (unshare --pid --mount --net fails: a container without --privileged?)"
  fi
}

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

install_packages() {
  say "installing $1"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086 # a list of words
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $1; } </dev/null >&2
}

main "$@"
