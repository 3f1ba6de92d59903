# Two network namespaces joined by a pair of virtual links: the server under test in one, the load and the upstreams in the
# other. Sourced by inside.sh, whose own namespaces keep all of it from the host.

make_network() {
  # Names of namespaces are files of the host's, but for this.
  mkdir -p /run/netns
  mount -t tmpfs tmpfs /run/netns
  ip netns add server
  ip netns add client
  # With one queue the load generator uses one core.
  ip -n server link add to-client numrxqueues 1 numtxqueues 1 type veth \
    peer name to-server numrxqueues 1 numtxqueues 1 netns client
  ip -n server addr add "$SERVER/24" dev to-client
  for address in "$CLIENT" "${RULED_CLIENTS[@]}" "${UPSTREAMS[@]}"; do ip -n client addr add "$address/24" dev to-server; done
  for link in lo to-client; do ip -n server link set "$link" up; done
  for link in lo to-server; do ip -n client link set "$link" up; done
}

# To stand before a command. Nothing of it forks, so that the command's pid is the one that the shell knows.
ON_SERVER_CORE=(ip netns exec server taskset -c "$SERVER_CORE")
ON_LOAD_CORE=(ip netns exec client taskset -c "$LOAD_CORE")

# From now on `packets_to_upstream` tells how many came to this address.
count_packets_to() {
  ip netns exec client nft -f - <<RULES
table inet count {
  counter came { }
  chain in { type filter hook input priority -1; ip daddr $1 counter name came; }
}
RULES
}

packets_to_upstream() { ip netns exec client nft list counter inet count came | awk '$1 == "packets" { print $2 }'; }

# Nothing from or to an address any more, as if its machine had lost power: no reset, no ICMP.
blackhole() {
  ip netns exec client nft -f - <<RULES
table inet blackhole {
  chain in { type filter hook input priority 0; ip daddr $1 drop; }
  chain out { type filter hook output priority 0; ip saddr $1 drop; }
}
RULES
}

end_blackhole() { ip netns exec client nft delete table inet blackhole; }
