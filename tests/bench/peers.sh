#!/bin/bash
# The peers: CoreDNS from its module, and the newest dnsdist, unbound and dnsmasq in a folder with a Debian of their own, which they
# never leave. Where that cannot be had the installed ones are measured; the results name the versions.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"

PACKAGES="dnsdist unbound dnsmasq-base"

main() {
  if command -v go >/dev/null; then "$CLUSTER_TOOLS/build.sh" coredns; else say "missing: Go, for CoreDNS"; fi
  [ "${PEERS:-}" != installed ] || return 0
  is_complete || make_newest || { say "using the peers that are installed, see $BUILD/newest.log"; need_installed; }
}

# Made by an older version of this script, it may lack a peer.
is_complete() { [ "$(cat "$NEWEST/.complete" 2>/dev/null)" = "$PACKAGES" ]; }

need_installed() { "$CLUSTER_TOOLS/require.sh" peers; }

# Its mounts are in a namespace of their own, so that no failure leaves one behind.
make_newest() {
  say "fetching the newest peers (a minute, once)"
  mkdir -p "$BUILD"
  rm -rf --one-file-system "$NEWEST"
  unshare --mount bash -euc '
    debootstrap --variant=minbase --include=ca-certificates sid "$1"
    cp /etc/resolv.conf "$1/etc/"
    DEBIAN_FRONTEND=noninteractive chroot "$1" sh -euc "
      apt-get update -o Acquire::Check-Valid-Until=false
      apt-get install -y --no-install-recommends $2
      apt-get clean"
    echo "$2" > "$1/.complete"' make_newest "$NEWEST" "$PACKAGES" > "$BUILD/newest.log" 2>&1
}

main "$@"
