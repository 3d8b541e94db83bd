#!/usr/bin/env bash
# `make bench`: figures of speed and size of release binaries. Quote them together with the machine and its load.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh --install test
# shellcheck source=/dev/null
. .cache/env
cargo build --workspace --bins --release --locked
if [ -n "${FIRESTORE_EMULATOR_JAR:-}" ] && [ -z "${FIRESTORE_EMULATOR_HOST:-}" ]; then
  export FIRESTORE_EMULATOR_HOST=127.0.0.1:8787
  java -Xmx512m -Duser.language=en -cp "$FIRESTORE_EMULATOR_JAR" \
    com.google.cloud.datastore.emulator.firestore.CloudFirestore --host=127.0.0.1 --port=8787 >/dev/null 2>&1 &
  trap 'kill %1' EXIT
  for _ in $(seq 100); do curl -sf "http://$FIRESTORE_EMULATOR_HOST/" >/dev/null && break; sleep 0.2; done
fi
target/release/bench
target/release/bench-kubernetes
STORES=sqlite scripts/bench-api.sh
