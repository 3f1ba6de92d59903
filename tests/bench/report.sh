# What was measured, as Markdown on standard output and as a chart. Sourced by inside.sh.

# Of the samples, a line for each row and quantity: how many, the least, the median, the greatest.
summarise() {
  sort -t $'\t' -k1,1 -k2,2 -k3,3n "$RUN/samples" | awk -F '\t' -v OFS='\t' '
    function end() { if (n) print of, n, v[1], (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2, v[n]; n = 0 }
    of != $1 OFS $2 { end(); of = $1 OFS $2 }
    { v[++n] = $3 }
    END { end() }' > "$RUN/summary"
}

# Of one row and quantity: the median, or another column by its number.
value_of() { awk -F '\t' -v row="$1" -v what="$2" -v column="${3:-5}" '$1 == row && $2 == what { print $column }' "$RUN/summary"; }

# The rows that were measured, in the order of the words.
measured() {
  local row
  for row in $1; do [ -z "$(value_of "$row" "$2")" ] || echo "$row"; done
}

# median (least to greatest), with so many digits.
spread_of() {
  awk -v digits="$3" -v least="$(value_of "$1" "$2" 4)" -v median="$(value_of "$1" "$2")" -v most="$(value_of "$1" "$2" 6)" \
    'BEGIN { f = "%." digits "f"; printf "**" f "** (" f " to " f ")", median, least, most }'
}

rounded() { if [ -n "$1" ]; then printf "%.$2f" "$1"; else echo -; fi; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (a != "" && b > 0) printf "%.3f\n", a / b }'; }

# How many times the median of another row.
times_of() { rounded "$(ratio "$(value_of "$1" "$2")" "$(value_of "$3" "$2")")" 2; }

# Of these rows, the peer of which the median is the least.
best_peer() {
  local row
  while read -r row; do
    case $row in dnsproxy* | responder* | forwarder*) ;; *) printf '%s\t%s\n' "$(value_of "$row" "$2")" "$row" ;; esac
  done <<< "$1" | awk -F '\t' '$1 != ""' | sort -n | head -1 | cut -f 2
}

difference() { awk -v a="$1" -v b="$2" 'BEGIN { if (a == "" || b == "") print "-"; else printf "%.3f", a - b }'; }

total_of() { awk -F '\t' -v row="$1" -v what="$2" '$1 == row && $2 == what { total += $3 } END { printf "%d", total }' "$RUN/samples"; }

# Answers that say something else than NOERROR: to all of these names there is one.
failed_of() { echo $(($(total_of "$1" sent) - $(total_of "$1" lost) - $(total_of "$1" noerror))); }

describe_machine() {
  cat <<TEXT
Machine: $(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo), $(nproc) cores, Linux $(uname -r), load average before the run $load_before
and after it $(cut -d ' ' -f 1 /proc/loadavg). The server on core $SERVER_CORE, load and upstream on core $LOAD_CORE.
TEXT
}

# The commands of the rows, to do it again by hand.
describe_servers() {
  local row
  echo
  echo "| server | version | command |"
  echo "|---|---|---|"
  for row in $1; do echo "| $row | $(version_of "$row") | \`$(command_of "$row" | relative)\` |"; done
  echo "| the upstream | $(version_of "$UPSTREAM_PROGRAM") | \`$(command_of upstream-ADDRESS | relative)\` |"
}

relative() { sed "s#$ROOT/##g"; }
