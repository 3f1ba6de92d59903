#!/bin/bash
# Brings a Kubernetes cluster up, or finds it up, loads the images that changed, and prints how to use it.
#
#   CLUSTER=kind|plain NODES=2 PROXY_MODE=nftables up.sh
#
# Standard output is the line `export KUBECONFIG=...` alone; what happens is told on standard error.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"

started=$(date +%s%N)
lap() { printf '%5d.%ds  %s\n' $((t = ($(date +%s%N) - started) / 100000000, t / 10)) $((t % 10)) "$*" >&2; }

main() {
  "$HERE/require.sh" cluster
  . "$HERE/$(kind_of_cluster).sh"
  build_tools
  if is_up; then lap "the cluster is up"; else create; fi
  export KUBECONFIG=$STATE/kubeconfig
  load_images
  echo "export KUBECONFIG=$KUBECONFIG"
}

is_up() { [ -e "$STATE/kubeconfig" ] && kubectl --kubeconfig "$STATE/kubeconfig" get --raw /readyz >/dev/null 2>&1; }

# What the cluster is made of, and what tests and people use it with.
build_tools() {
  "$HERE/build.sh" $(programs)
  "$HERE/images/build.sh" $(own_images)
}

create() {
  [ ! -e "$STATE" ] || fail "half up: run $HERE/down.sh first"
  mkdir -p "$STATE"
  start_cluster
  kubectl --kubeconfig "$STATE/kubeconfig" wait --for=condition=Ready nodes --all --timeout=300s >/dev/null
  lap "all nodes Ready"
  # Pods cannot be made before this account is there.
  wait_for 300 kubectl --kubeconfig "$STATE/kubeconfig" -n default get serviceaccount default
  kubectl --kubeconfig "$STATE/kubeconfig" -n kube-system rollout status deployment/coredns --timeout=300s >/dev/null
  lap "cluster DNS rolled out"
}

load_images() {
  mkdir -p "$STATE/loaded"
  local archive name sum
  for archive in "$IMAGES"/*.tar; do
    name=$(basename "$archive" .tar) sum=$(sha256sum < "$archive")
    [ "$(cat "$STATE/loaded/$name" 2>/dev/null)" != "$sum" ] || continue
    load_image "$archive" >&2
    echo "$sum" > "$STATE/loaded/$name"
    lap "image localhost/$name:dev loaded"
    [[ $name != dnsproxy* ]] || replace_pods "localhost/$name:dev"
  done
}

# The tag stays the same, so that nothing but a new pod takes the new image.
replace_pods() {
  local namespace pod image
  kubectl get pods -A --no-headers \
    -o 'custom-columns=n:.metadata.namespace,p:.metadata.name,i:.spec.containers[0].image' 2>/dev/null |
    while read -r namespace pod image; do
      [ "$image" != "$1" ] || kubectl -n "$namespace" delete pod "$pod" --wait=false >&2
    done
}

main "$@"
