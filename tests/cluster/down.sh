#!/bin/bash
# Takes the cluster down and leaves nothing behind. Safe in any state, and twice. The last logs stay in .build/logs.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"

[ -e "$STATE" ] || exit 0
. "$HERE/$(kind_of_cluster).sh"
stop_cluster
# A mount of a dying node may still be in the way for a moment.
wait_for 10 rm -rf --one-file-system "$STATE"
