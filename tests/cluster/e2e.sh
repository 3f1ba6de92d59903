#!/bin/bash
# Runs the end-to-end tests. A cluster that is up is used and left up; one that this made is taken down.
#
#   e2e.sh [TEST...]      KEEP=1 leaves the cluster up, to look at what failed
#
# The tests get KUBECONFIG, kubectl and helm in PATH, and the images localhost/{dnsproxy,dnsproxy-operator,tools,coredns}:dev
# in the cluster.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"

[ -e "$STATE" ] || [ -n "${KEEP:-}" ] || trap '"$HERE/down.sh"' EXIT
# Not `eval "$(...)"`, which goes on when the command in it has failed.
if ! variables=$("$HERE/up.sh"); then
  tail -n 20 "$STATE"/node-*/logs/*.log >&2 || true
  fail "the cluster did not come up"
fi
eval "$variables"
cd "$ROOT"
# One at a time: tests look at cluster-wide objects, and a small machine should not fail for want of time.
cargo test --locked -p dnsproxy-tests --test 'e2e_*' -- --ignored --test-threads=1 "$@"
