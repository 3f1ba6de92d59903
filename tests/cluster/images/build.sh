#!/bin/bash
# Builds images as archives in .build/images, without a daemon and without a registry. What is up to date is left alone.
#
#   build.sh dnsproxy dnsproxy-operator     from the binaries of `make images`: the product's
#   build.sh pause coredns tools            the cluster's own
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../env.sh"

main() {
  mkdir -p "$IMAGES"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  for image in "$@"; do is_current "$image" || build "$image"; done
}

# What an image is made from; a list that is newer than the archive means another archive.
sources() {
  case $1 in
    dnsproxy | dnsproxy-operator) echo "$RELEASE/$1" "$ROOT/Dockerfile" ;;
    pause) echo "$HERE/images/pause.c" "$HERE/images/Dockerfile" ;;
    coredns) echo "$BIN/coredns" "$HERE/images/Dockerfile" ;;
    tools) command -v busybox dig kdig; echo "$HERE/images/Dockerfile" ;;
    *) fail "no such image: $1" ;;
  esac
}

is_current() {
  local source
  for source in $(sources "$1") "$HERE"/images/*.sh; do
    [ "$IMAGES/$1.tar" -nt "$source" ] || return 1
  done
}

build() {
  local root=$work/$1 dockerfile
  mkdir "$root"
  "fill_$1" "$root"
  dockerfile=$(sources "$1" | tr ' ' '\n' | grep /Dockerfile)
  "$HERE/images/pack.sh" "localhost/$1:dev" "$root" "$dockerfile" "$work/$1.tar"
  mv "$work/$1.tar" "$IMAGES/$1.tar"
  say "image localhost/$1:dev packed"
}

fill_dnsproxy() { cp "$RELEASE/dnsproxy" "$1/"; }
fill_dnsproxy-operator() { cp "$RELEASE/dnsproxy-operator" "$1/"; }
fill_pause() { cc -Os -static -s -o "$1/pause" "$HERE/images/pause.c"; }
fill_coredns() { cp "$BIN/coredns" "$1/"; }

fill_tools() {
  mkdir -p "$1"/{bin,etc,tmp}
  chmod 1777 "$1/tmp"
  printf 'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532::/:/bin/sh\n' > "$1/etc/passwd"
  for applet in $(busybox --list | grep -vx busybox); do ln -s busybox "$1/bin/$applet"; done
  for tool in busybox dig kdig; do copy_with_libraries "$(command -v $tool)" "$1"; done
}

# What ldd prints with a path is what the dynamic linker will look for, itself included.
copy_with_libraries() {
  install -D -m 755 "$1" "$2/bin/$(basename "$1")"
  { ldd "$1" 2>/dev/null || true; } | { grep -oE '/[^ ]+' || true; } | while read -r library; do
    [ -e "$2$library" ] || install -D -m 755 "$library" "$2$library"
  done
}

main "$@"
