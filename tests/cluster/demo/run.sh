#!/bin/bash
# The demonstration: from nothing to a pod that resolves through DnsProxy. Every command is shown with what it prints.
# It starts over each time, and leaves the cluster up.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../env.sh"
cd "$ROOT"
demo=tests/cluster/demo
certificates=tests/cluster/.state/demo

bold= plain=
[ ! -t 1 ] || { bold=$'\e[1m' plain=$'\e[0m'; }
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
run() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; eval "$*"; }

step "A Kubernetes cluster"
run "eval \"\$(tests/cluster/up.sh)\""
run "kubectl get nodes"
kubectl delete namespace demo --ignore-not-found

step "An upstream: a resolver that speaks DNS over TLS, with a certificate of its own authority"
run "kubectl create namespace demo"
run "kubectl label namespace demo pod-security.kubernetes.io/enforce=restricted"
run "$demo/certificates.sh $certificates"
run "kubectl -n demo create secret tls resolver --cert=$certificates/resolver.crt --key=$certificates/resolver.key"
run "kubectl -n demo create configmap resolver-ca --from-file=ca.crt=$certificates/ca.crt"
run "kubectl -n demo apply -f $demo/upstream.yaml"

step "The operator"
run "helm upgrade --install dnsproxy-operator charts/dnsproxy-operator --namespace dnsproxy-system --create-namespace --hide-notes --wait"

step "A DnsProxy"
run "cat $demo/dnsproxy.yaml"
run "kubectl -n demo apply -f $demo/dnsproxy.yaml"
run "kubectl -n demo wait --for=condition=Ready dnsproxy/default --timeout=60s"
run "kubectl -n demo get dnsproxy"
run "kubectl -n demo get pods,service"

step "A pod that asks DnsProxy"
run "kubectl -n demo get dnsproxy default -o jsonpath='{.status.dnsConfig}{\"\\n\"}'"
run "kubectl -n demo apply -f $demo/client.yaml"
run "kubectl -n demo wait --for=condition=Ready pod/client --timeout=60s"
run "kubectl -n demo exec client -- cat /etc/resolv.conf"

step "An outside name, over UDP and over TCP: the answers came over authenticated TLS"
run "kubectl -n demo exec client -- dig www.example.org"
run "kubectl -n demo exec client -- dig +tcp +short TXT www.example.org"

step "A name of the cluster: it went to the cluster's own DNS"
run "kubectl -n demo exec client -- dig +search +short kubernetes.default.svc"

step "What the resolver saw"
run "kubectl -n demo logs deployment/resolver | grep -v dnsproxy-loop | tail -2"

cat <<TEXT

== Next

    export KUBECONFIG=$KUBECONFIG PATH=$BIN:\$PATH
    kubectl -n demo exec -it client -- sh             # dig, kdig, nslookup
    kubectl -n demo edit dnsproxy default             # live in the pods, without a restart
    kubectl explain dnsproxy.spec

Try a pin that is wrong: add "pins: [sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=]" under tls, ask again, and look at

    kubectl -n demo describe dnsproxy default

$("$HERE/demo/internet.sh")
Remove everything: make cluster-down
TEXT
