#!/bin/bash
# Builds images as archives in .build/images, without a daemon and without a registry.
#
#   build.sh dnsproxy dnsproxy-operator     from target/*/release: the product's
#   build.sh pause coredns tools            the cluster's own
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../env.sh"

main() {
  mkdir -p "$IMAGES"
  for image in "$@"; do
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    chmod 755 "$root"
    "fill_$image" "$root"
    dockerfile=$HERE/images/Dockerfile
    grep -q "^FROM scratch AS $image\$" "$dockerfile" || dockerfile=$ROOT/Dockerfile
    "$HERE/images/pack.sh" "localhost/$image:dev" "$root" "$dockerfile" "$IMAGES/$image.tar.new"
    mv "$IMAGES/$image.tar.new" "$IMAGES/$image.tar"
    rm -rf "$root"
  done
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
