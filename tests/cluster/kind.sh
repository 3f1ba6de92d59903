# A cluster made by kind, where a Docker engine runs. Sourced by up.sh and down.sh.

# kubectl comes with kubebox, which takes minutes: one that is installed will do as well, and so will a helm.
programs() {
  echo coredns
  command -v kubectl >/dev/null || echo kubebox
  command -v helm >/dev/null || echo helm
}

own_images() { echo coredns tools; }

# One that somebody else made under our name is not ours to use, and not ours to delete.
start_cluster() {
  if kind get clusters 2>/dev/null | grep -qx "$CLUSTER_NAME"; then
    rmdir "$STATE"
    fail "a kind cluster named $CLUSTER_NAME exists that was not made here: kind delete cluster --name $CLUSTER_NAME"
  fi
  touch "$STATE/kind"
  local config='{kind: Cluster, apiVersion: kind.x-k8s.io/v1alpha4, nodes: [{role: control-plane}'
  for _ in $(seq 2 "$NODES"); do config+=', {role: worker}'; done
  kind create cluster --name "$CLUSTER_NAME" --image "$KIND_NODE_IMAGE" --kubeconfig "$STATE/kubeconfig" \
    --config <(echo "$config], networking: {kubeProxyMode: $PROXY_MODE}}") >&2
  lap "kind cluster created"
}

load_image() { kind load image-archive --name "$CLUSTER_NAME" "$1"; }

stop_cluster() { kind delete cluster --name "$CLUSTER_NAME" --kubeconfig "$STATE/kubeconfig" >&2; }
