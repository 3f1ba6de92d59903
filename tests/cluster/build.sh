#!/bin/bash
# Builds the cluster's programs from Go modules into .build/bin; what is up to date is left alone.
#
#   build.sh kubebox coredns helm     all of them, or those that are named
#
# The flags are the same in every build on purpose: Go compiles everything anew when one of them changes,
# and Kubernetes takes minutes.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"

KUBERNETES=v1.34.4
HELM=v3.19.5
export CGO_ENABLED=0 GOWORK=off GOFLAGS=

# Without these the components call themselves v0.0.0-master, and kubectl refuses to talk to them.
VERSION_FLAGS="-X k8s.io/component-base/version.gitVersion=$KUBERNETES \
-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34 \
-X k8s.io/component-base/version.gitTreeState=clean -X k8s.io/component-base/version.gitCommit=tests \
-X k8s.io/client-go/pkg/version.gitVersion=$KUBERNETES"

main() {
  mkdir -p "$BIN"
  [ $# -gt 0 ] || set -- kubebox coredns helm
  for program in "$@"; do "build_$program"; done
}

build_kubebox() {
  local stamp; stamp=$(cat "$HERE"/kubebox/* "$HERE/build.sh" | sha256sum)
  is_current kubebox "$stamp" && return
  say "building Kubernetes $KUBERNETES (minutes the first time)"
  (cd "$HERE/kubebox" && patiently go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w $VERSION_FLAGS" -o "$BIN/kubebox" .)
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    ln -sf kubebox "$BIN/$name"
  done
  echo "$stamp" > "$BIN/.kubebox"
}

build_coredns() {
  local stamp; stamp=$(cat "$HERE"/coredns/* | sha256sum)
  is_current coredns "$stamp" && return
  say "building CoreDNS"
  (cd "$HERE/coredns" && patiently go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w" -o "$BIN/coredns" .)
  echo "$stamp" > "$BIN/.coredns"
}

build_helm() {
  is_current helm "$HELM" && return
  say "building Helm $HELM"
  GOBIN=$BIN patiently go install -trimpath -buildvcs=false -ldflags "-s -w" "helm.sh/helm/v3/cmd/helm@$HELM"
  echo "$HELM" > "$BIN/.helm"
}

# A registry that is busy for a moment must not end an hour of tests.
patiently() { "$@" || { sleep 10; "$@"; } || { sleep 60; "$@"; }; }

is_current() { [ -x "$BIN/$1" ] && [ "$(cat "$BIN/.$1" 2>/dev/null)" = "$2" ]; }

main "$@"
