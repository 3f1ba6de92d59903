#!/bin/bash
# Packs a directory into an image, without a daemon: a docker-archive, which docker, kind and containerd load.
#
#   pack.sh NAME DIRECTORY DOCKERFILE OUT.tar
#
# The image's settings are those of the stage `FROM scratch AS <name>` of the Dockerfile, so that this image and the one
# that `docker build` makes cannot differ. The same input gives the same bytes.
set -euo pipefail

name=$1 directory=$2 dockerfile=$3 out=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prints the stage's settings as the members of an image's `config`.
settings() {
  awk -v stage="$1" '
    function seconds(text) { sub("s$", "", text); return text "000000000" }
    $1 == "FROM" { inside = ($4 == stage); next }
    !inside { next }
    $1 == "USER" { print "\"User\": \"" $2 "\"," }
    $1 == "ENTRYPOINT" || $1 == "CMD" {
      key = ($1 == "CMD") ? "Cmd" : "Entrypoint"
      sub(/^[A-Z]+ /, ""); print "\"" key "\": " $0 ","
    }
    $1 == "EXPOSE" {
      for (i = 2; i <= NF; i++) ports = ports (i > 2 ? ", " : "") "\"" $i "\": {}"
      print "\"ExposedPorts\": {" ports "},"
    }
    $1 == "HEALTHCHECK" {
      times = ""
      for (i = 2; split($i, option, "="); i++) {
        if (option[1] == "--interval") times = times ", \"Interval\": " seconds(option[2])
        else if (option[1] == "--timeout") times = times ", \"Timeout\": " seconds(option[2])
        else if (option[1] == "--start-period") times = times ", \"StartPeriod\": " seconds(option[2])
        else break
      }
      sub(/^.* CMD \[/, "[\"CMD\", "); print "\"Healthcheck\": {\"Test\": " $0 times "},"
    }' "$2"
}

architecture() { case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) uname -m ;; esac; }

sha256() { sha256sum "$1" | cut -d' ' -f1; }

# Nothing of this machine goes in: neither owners nor times nor the order of a directory.
archive() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --format=gnu -cf "$1" -C "$2" "${@:3}"; }

archive "$work/layer.tar" "$directory" .
layer=$(sha256 "$work/layer.tar")
cat > "$work/config.json" <<JSON
{
  "architecture": "$(architecture)",
  "os": "linux",
  "created": "1970-01-01T00:00:00Z",
  "config": {
    $(settings "$(basename "${name%%:*}")" "$dockerfile")
    "WorkingDir": "/",
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
  },
  "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]},
  "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "$(basename "$dockerfile")"}]
}
JSON
config=$(sha256 "$work/config.json")
mv "$work/config.json" "$work/$config.json"
echo "[{\"Config\": \"$config.json\", \"RepoTags\": [\"$name\"], \"Layers\": [\"layer.tar\"]}]" > "$work/manifest.json"
archive "$out" "$work" "$config.json" layer.tar manifest.json
