#!/bin/bash
# certificates.sh DIRECTORY: an authority, and the certificate of the demo's upstream.
set -euo pipefail
mkdir -p "$1"
cd "$1"
key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

openssl req -x509 "${key[@]}" -subj "/CN=demo authority" -days 30 -keyout ca.key -out ca.crt \
  -addext keyUsage=critical,keyCertSign 2>/dev/null
openssl req "${key[@]}" -subj "/CN=resolver" -keyout resolver.key 2>/dev/null |
  openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out resolver.crt 2>/dev/null -extfile <(
    echo subjectAltName=DNS:resolver.example.net
    echo extendedKeyUsage=serverAuth
  )
