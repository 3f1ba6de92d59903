# A cluster made of plain processes, where root may make namespaces. Sourced by up.sh and down.sh.
#
# A node is one private set of mount, PID, network, IPC and UTS namespaces, in which node.sh is process 1: killing it ends
# every process, container, mount and netfilter rule of the node at once. Left on the host are a bridge and its routes, the
# cgroups, and .state. The host forwards nothing, so no packet leaves the machine; but it has routes to pods and Services,
# and they reach it at BRIDGE_IP.

programs() { echo kubebox coredns helm; }

own_images() { echo pause coredns tools; }

start_cluster() {
  # Where these are modules, they must be there before a network namespace can set their switches.
  modprobe -a br_netfilter overlay nf_conntrack 2>/dev/null || true
  ! ip link show "$BRIDGE" >/dev/null 2>&1 || { rmdir "$STATE"; fail "the bridge $BRIDGE exists: is a cluster of another checkout up?"; }
  kubebox certs -dir "$PKI" -nodes "$(node_list)" -service-ip "$SERVICE_IP"
  ln -s pki/admin.kubeconfig "$STATE/kubeconfig"
  make_bridge
  for n in $(seq "$NODES"); do start_node "$n"; done
  wait_for_api 300 get --raw /readyz
  lap "API server ready"
  wait_for_api 300 apply -f "$HERE/manifests/coredns.yaml"
  for n in $(seq "$NODES"); do wait_for_api 300 get node "node-$n"; done
  note_loaded_images
}

node_list() {
  local list=
  for n in $(seq "$NODES"); do list+=,node-$n=$(node_ip "$n"); done
  echo "${list#,}"
}

make_bridge() {
  ip link add "$BRIDGE" type bridge
  ip addr add "$BRIDGE_IP/24" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  ip route add "$SERVICE_CIDR" via "$(node_ip 1)" dev "$BRIDGE"
}

start_node() {
  local logs=$STATE/node-$1/logs outer init
  mkdir -p "$logs"
  # shellcheck disable=SC2024
  NODES=$NODES PROXY_MODE=$PROXY_MODE setsid unshare --fork --pid --mount --net --ipc --uts --mount-proc --kill-child=KILL \
    -- "$HERE/node.sh" "$1" >> "$logs/node.log" 2>&1 < /dev/null &
  outer=$!
  wait_for 60 is_started "$outer"
  init=$(init_of "$outer")
  echo "$init" > "$STATE/node-$1.pid"
  ip link add "$BRIDGE-$1" type veth peer name eth0 netns "$init"
  ip link set "$BRIDGE-$1" master "$BRIDGE" up
  ip route add "$(pod_cidr "$1")" via "$(node_ip "$1")" dev "$BRIDGE"
}

init_of() { tr -d ' ' < "/proc/$1/task/$1/children"; }

# Between the fork and the exec the child still is unshare, in namespaces that are not finished.
is_started() { grep -q node.sh "/proc/$(init_of "$1")/cmdline"; }

# Poll the API server, but not for longer than every node lives.
wait_for_api() {
  local seconds=$1; shift
  wait_for "$seconds" ask_or_give_up "$@" && nodes_live || fail "see $STATE/node-*/logs"
}

ask_or_give_up() { kubectl --kubeconfig "$STATE/kubeconfig" --request-timeout=2s "$@" || ! nodes_live; }

nodes_live() {
  local pid
  for pid in "$STATE"/node-*.pid; do [ -e "/proc/$(cat "$pid")" ] || return 1; done
}

# node.sh imported them before the kubelet started.
note_loaded_images() {
  mkdir -p "$STATE/loaded"
  for archive in "$IMAGES"/*.tar; do sha256sum < "$archive" > "$STATE/loaded/$(basename "$archive" .tar)"; done
}

load_image() {
  local pid
  for pid in "$STATE"/node-*.pid; do
    nsenter -t "$(cat "$pid")" -m -p ctr -n k8s.io images import "$1" >/dev/null
  done
}

stop_cluster() {
  for pid in "$STATE"/node-*.pid; do [ ! -e "$pid" ] || stop_node "$(cat "$pid")"; done
  keep_logs
  # The routes go with the links.
  for link in $(ip -o link | grep -oE " $BRIDGE-[0-9]+" | sort -u) "$BRIDGE"; do ip link del "$link" 2>/dev/null || true; done
  wait_for 10 remove_cgroups
}

# A number in a file may be somebody else's process by now: only the init of a node of ours is killed.
stop_node() {
  [ -e "/proc/$1/ns/pid" ] || return 0
  [ "$(readlink "/proc/$1/ns/pid")" != "$(readlink /proc/self/ns/pid)" ] || return 0
  tr '\0' ' ' < "/proc/$1/cmdline" | grep -qF "$HERE/node.sh" || return 0
  kill -KILL "$1"
  wait_for 30 test ! -e "/proc/$1"
}

keep_logs() {
  rm -rf "$BUILD/logs"
  for logs in "$STATE"/node-*/logs; do
    [ ! -d "$logs" ] || { mkdir -p "$BUILD/logs"; cp -r "$logs" "$BUILD/logs/$(basename "$(dirname "$logs")")"; }
  done
}

remove_cgroups() {
  local group left=
  for group in /sys/fs/cgroup/"$CGROUP" /sys/fs/cgroup/*/"$CGROUP"; do
    [ -d "$group" ] || continue
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
  done
  [ -z "$left" ]
}
