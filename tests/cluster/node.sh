#!/bin/bash
# node.sh N: process 1 of node-N, in namespaces of its own (see plain.sh).
#
# Every path that the components have built in (/run, /var/lib/kubelet, /var/log/pods, ...) is covered by a private mount,
# so that nothing is written to the host outside .state.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"

index=$1 node=node-$1 address=$(node_ip "$1")
mine=$STATE/$node logs=$STATE/$node/logs

main() {
  mount --make-rprivate /
  hostname "$node"
  cover_paths
  cover_sysctls
  mount --make-rshared /               # kubelet's volumes propagate into containers
  set_up_network
  make_cgroups
  write_configuration
  start_node
  trap 'exit 0' TERM
  while :; do wait -n || sleep 1; done # process 1 reaps
}

# /run is fresh, /var a layer over the host's; what holds layers and volumes itself must be a real file system.
cover_paths() {
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/containerd /run/lock "$mine"/{containerd,kubelet,etcd,var/upper,var/work}
  mount -t overlay overlay -o "lowerdir=/var,upperdir=$mine/var/upper,workdir=$mine/var/work" /var
  mkdir -p /var/lib/{containerd,kubelet,cni} /var/log/{pods,containers}
  mount --bind "$mine/containerd" /var/lib/containerd
  mount --bind "$mine/kubelet" /var/lib/kubelet
  mount -t tmpfs -o size=1g,mode=700 tmpfs "$mine/etcd"
  echo "nameserver 127.0.0.1" > /run/resolv.conf
}

# The kubelet sets these, and they are the whole machine's: it is shown files that already say what it wants.
cover_sysctls() {
  local name value
  mkdir /run/sysctl
  while read -r name value; do
    echo "$value" > "/run/sysctl/${name//\//_}"
    mount --bind "/run/sysctl/${name//\//_}" "/proc/sys/$name"
  done <<< 'vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000'
}

set_up_network() {
  ip link set lo up
  wait_for 60 ip link show eth0        # plain.sh puts it here
  ip addr add "$address/24" dev eth0
  ip link set eth0 up
  for n in $(seq "$NODES"); do [ "$n" = "$index" ] || ip route add "$(pod_cidr "$n")" via "$(node_ip "$n")"; done
  # It leads to the host only, which does not forward. Without it the node itself cannot reach a Service: a route is looked
  # up before the address is translated.
  ip route add default via "$BRIDGE_IP"
  for switch in ipv4/ip_forward bridge/bridge-nf-call-iptables bridge/bridge-nf-call-ip6tables; do
    echo 1 > "/proc/sys/net/$switch"
  done
}

# kubelet's cgroupRoot must exist in every hierarchy (v1) or with all controllers (v2) before it starts.
make_cgroups() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then make_cgroups_v2; else make_cgroups_v1; fi
}

make_cgroups_v1() {
  local hierarchy group file
  for hierarchy in cpu cpuacct cpuset memory pids blkio devices freezer systemd; do
    [ ! -d "/sys/fs/cgroup/$hierarchy" ] || mkdir -p "/sys/fs/cgroup/$hierarchy/$CGROUP/$node"
  done
  # A new cpuset is empty, and admits no process.
  for group in "$CGROUP" "$CGROUP/$node"; do
    for file in cpuset.cpus cpuset.mems; do
      cat "/sys/fs/cgroup/cpuset/$file" > "/sys/fs/cgroup/cpuset/$group/$file"
    done
  done
}

make_cgroups_v2() {
  local group controller
  mkdir -p "/sys/fs/cgroup/$CGROUP/$node"
  for group in /sys/fs/cgroup "/sys/fs/cgroup/$CGROUP"; do
    for controller in $(cat "$group/cgroup.controllers"); do
      echo "+$controller" > "$group/cgroup.subtree_control" || say "cgroup controller $controller cannot be delegated"
    done
  done
}

write_configuration() {
  mkdir -p /run/cni
  cat > /run/cni/10-bridge.conflist <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$(pod_cidr "$index")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
JSON
  # restrict_oom_score_adj: not every root may lower a score, and pods would not start.
  cat > /run/containerd.toml <<TOML
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:dev"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/run/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
TOML
  # Images come from no registry, so none may ever be collected, however full the disk is.
  cat > /run/kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP/$node
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
failSwapOn: false
failCgroupV1: false
oomScoreAdj: 0
resolvConf: /run/resolv.conf
tlsCertFile: $PKI/kubelet-$node.crt
tlsPrivateKeyFile: $PKI/kubelet-$node.key
volumePluginDir: /var/lib/kubelet/volumeplugins
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
nodeStatusUpdateFrequency: 5s
registerWithTaints: []
YAML
  # All zero: conntrack's settings are the whole machine's, and stay as they are.
  cat > /run/kube-proxy.yaml <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $PKI/kube-proxy.kubeconfig}
mode: $PROXY_MODE
clusterCIDR: $POD_CIDR
hostnameOverride: $node
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
}

start_node() {
  [ "$index" != 1 ] || { start_etcd; start_api_server; }
  start containerd --config /run/containerd.toml
  import_images &
  local importing=$!
  # The others wait for the API server by themselves, but with a long back-off.
  wait_for 300 kubectl --kubeconfig "$PKI/admin.kubeconfig" get --raw /readyz
  [ "$index" != 1 ] || { start_controller_manager; start_scheduler; }
  wait "$importing"
  start kubelet --config=/run/kubelet.yaml --kubeconfig="$PKI/kubelet-$node.kubeconfig" --hostname-override="$node" \
    --node-ip="$address" --root-dir=/var/lib/kubelet
  start kube-proxy --config=/run/kube-proxy.yaml
}

start() { setsid "$@" >> "$logs/$1.log" 2>&1 < /dev/null & }

import_images() {
  wait_for 120 ctr version
  for archive in "$IMAGES"/*.tar; do ctr -n k8s.io images import "$archive"; done
} >> "$logs/images.log" 2>&1

start_etcd() {
  start etcd --name default --data-dir "$mine/etcd/data" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster default=http://127.0.0.1:2380
}

start_api_server() {
  start kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
    --advertise-address="$address" --bind-address=0.0.0.0 --secure-port=6443 \
    --service-cluster-ip-range=$SERVICE_CIDR --allow-privileged=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-client-certificate="$PKI/apiserver-kubelet-client.crt" \
    --kubelet-client-key="$PKI/apiserver-kubelet-client.key" --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
    --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-proxy-client.crt" --proxy-client-key-file="$PKI/front-proxy-client.key"
}

# The default rate limit of its client makes a fresh cluster wait for seconds.
start_controller_manager() {
  start kube-controller-manager --kubeconfig="$PKI/controller-manager.kubeconfig" \
    --authentication-kubeconfig="$PKI/controller-manager.kubeconfig" --authorization-kubeconfig="$PKI/controller-manager.kubeconfig" \
    --kube-api-qps=500 --kube-api-burst=1000 --leader-elect=false --use-service-account-credentials=true \
    --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --allocate-node-cidrs=false --service-cluster-ip-range=$SERVICE_CIDR --bind-address=127.0.0.1
}

start_scheduler() {
  start kube-scheduler --kubeconfig="$PKI/scheduler.kubeconfig" --kube-api-qps=500 --kube-api-burst=1000 \
    --authentication-kubeconfig="$PKI/scheduler.kubeconfig" --authorization-kubeconfig="$PKI/scheduler.kubeconfig" \
    --leader-elect=false --bind-address=127.0.0.1
}

main
