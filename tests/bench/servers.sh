# The servers under test and the upstreams: how each is started, asked for its version, and ended. Sourced by inside.sh.
#
# A row is a server with its settings.

command_of() {
  case $1 in
    responder) echo "$RESPONDER ${LISTEN:-$SERVER}:53" ;;
    forwarder) echo "$FORWARDER ${LISTEN:-$SERVER}:53 ${UPSTREAMS[0]}:853 resolver.example.net $RUN/pki/ca.crt" ;;
    dnsproxy*) echo "$PROXY run -f $CONF/$1.yaml --listen ${LISTEN:-$SERVER}:53 --admin $ADMIN --workers ${WORKERS:-1}" ;;
    dnsdist*) echo "$(peer) dnsdist --supervised --disable-syslog -C $CONF/$1.conf" ;;
    unbound*) echo "$(peer) unbound -d -c $CONF/$1.conf" ;;
    dnsmasq) echo "$(peer) dnsmasq -k -C $CONF/dnsmasq.conf" ;;
    coredns*) echo "$COREDNS -conf $CONF/Corefile${1#coredns}" ;;
    upstream-*) upstream_command "${1#upstream-}" ;;
  esac
}

UPSTREAM_PROGRAM=dnsdist             # a scenario may have another: verify

upstream_command() {
  case $UPSTREAM_PROGRAM in
    verify) echo "$VERIFY upstream $1 $RUN/pki/resolver.crt $RUN/pki/resolver.key" ;;
    dnsdist) echo "$(peer) dnsdist --supervised --disable-syslog -C $CONF/upstream-$1.conf" ;;
  esac
}

version_of() {
  case $1 in
    dnsproxy*) "$PROXY" --version ;;
    dnsdist*) $(peer) dnsdist --version ;;
    unbound*) $(peer) unbound -V | sed 's/^Version/unbound/' ;;
    dnsmasq*) $(peer) dnsmasq --version | sed 's/^Dnsmasq version/dnsmasq/; s/  *Copyright.*//' ;;
    coredns*) "$COREDNS" -version ;;
    responder | forwarder) echo "$1.rs" ;;
    verify) echo verify/ ;;
  esac | head -1 | sed 's/ (.*//; s/^CoreDNS-/CoreDNS /'
}

is_there() {
  case $1 in
    # Only a program that knows what is asked of it: an older one may not.
    dnsproxy*) "$PROXY" check -f "$CONF/$1.yaml" >/dev/null 2>&1 ;;
    responder) [ -x "$RESPONDER" ] ;;
    forwarder) [ -x "$FORWARDER" ] ;;
    coredns*) [ -x "$COREDNS" ] ;;
    *) $(peer) sh -c "command -v ${1%%-*}" >/dev/null ;;
  esac
}

peer() { [ "${PEERS:-}" = installed ] || [ ! -e "$NEWEST/.complete" ] || echo "chroot $NEWEST"; }

# The newest peers find the files of this run, and nothing else of the host's.
enter_newest() {
  [ -n "$(peer)" ] || return 0
  mkdir -p "$NEWEST$RUN"
  mount --bind "$RUN" "$NEWEST$RUN"
  mount --rbind /dev "$NEWEST/dev"
  mount -t proc proc "$NEWEST/proc"
}

make_certificates() { "$CLUSTER_TOOLS/demo/certificates.sh" "$RUN/pki"; }

# Writes the configurations for these upstreams: those that all scenarios share, then the scenario's own over them. A line of a
# template that has @ADDRESS@ in it is written once for each; a cache has room for $ROOM entries where the template says so.
render() {
  local template
  for template in "$HERE"/conf/* "$HERE/conf/$SCENARIO"/*; do
    [ -f "$template" ] || continue
    awk -v list="$*" -v server="$SERVER" -v pki="$RUN/pki" -v conf="$CONF" -v room="${ROOM:-}" '
      BEGIN { n = split(list, address, " "); for (i = 1; i <= n; i++) all = all " tls://" address[i] }
      { gsub("@SERVER@", server); gsub("@PKI@", pki); gsub("@CONF@", conf); gsub("@TLS_UPSTREAMS@", substr(all, 2)) }
      { gsub("@ROOM@", room); gsub("@ROOM_IN_MI@", int(room / 2048) + 1) }
      !/@ADDRESS@/ { print; next }
      { for (i = 1; i <= n; i++) { line = $0; gsub("@ADDRESS@", address[i], line); print line } }
    ' "$template" > "$CONF/${template##*/}"
  done
}

# Sets `server` to the pid, once it answers.
start_server() {
  # shellcheck disable=SC2046 # a command and its words
  "${ON_SERVER_CORE[@]}" $(command_of "$1") > "$RUN/$1.log" 2>&1 &
  server=$!
  wait_for 10 answers "$SERVER" || { tail -5 "$RUN/$1.log" >&2; fail "$1 does not answer, see $RUN/$1.log"; }
}

# Sets `upstream_pids[ADDRESS]`. Each has its own configuration, as a server that fails must leave the other alone.
start_upstream() {
  sed "s/@UPSTREAM@/$1/" "$CONF/upstream.conf" > "$CONF/upstream-$1.conf"
  # shellcheck disable=SC2046 # a command and its words
  "${ON_LOAD_CORE[@]}" $(command_of "upstream-$1") > "$RUN/upstream-$1.log" 2>&1 &
  upstream_pids[$1]=$!
  wait_for 10 answers "$1" || { tail -5 "$RUN/upstream-$1.log" >&2; fail "the upstream does not answer"; }
}

answers() { "${ON_LOAD_CORE[@]}" dig +time=1 +tries=1 +short "@$1" "ready-$RANDOM$RANDOM.bench.example" A | grep -q '^192\.0\.2\.1$'; }

# At once: what a server does when it is asked to end is not measured here.
stop() {
  kill -KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# Nanoseconds that the threads of a process have spent on a core.
cpu_of() { cat "/proc/$1"/task/*/schedstat | awk '{ total += $1 } END { printf "%.0f\n", total }'; }

# KiB of the process' own: not of files, not shared.
anonymous_of() { awk '$1 == "RssAnon:" { print $2 }' "/proc/$1/status"; }

# KiB, at the highest.
memory_of() { awk '$1 == "VmHWM:" { print $2 }' "/proc/$1/status"; }
