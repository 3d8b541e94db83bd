#!/usr/bin/env bash
# `make bench-api`: figures of the API with many stored bots, on SQLite and on Firestore's emulator (whose times are not Google's), of release
# binaries of the crates that it takes alone. Quote them together with the machine and its load.
#   STORES="sqlite firestore"   which of them
#   ARGUMENTS                   handed to bench-api, such as "--bots 20000"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh --install test
# shellcheck source=/dev/null
. .cache/env
nice -n 10 cargo build --workspace --release --locked --bin controller --bin bench-api
read -ra arguments <<<"${ARGUMENTS:-}"
for store in ${STORES:-sqlite firestore}; do
  if [ "$store" = sqlite ]; then
    env -u FIRESTORE_EMULATOR_HOST target/release/bench-api "${arguments[@]}"
    continue
  fi
  if [ -z "${FIRESTORE_EMULATOR_HOST:-}" ]; then
    export FIRESTORE_EMULATOR_HOST=127.0.0.1:8787
    # It holds everything in memory, every version of it.
    java -Xmx2g -Duser.language=en -cp "${FIRESTORE_EMULATOR_JAR:?the Firestore emulator was not found: make test says how to get it, STORES=sqlite does without}" \
      com.google.cloud.datastore.emulator.firestore.CloudFirestore --host=127.0.0.1 --port=8787 >/dev/null 2>&1 &
    trap 'kill %1' EXIT
    for _ in $(seq 300); do curl -sf "http://$FIRESTORE_EMULATOR_HOST/" >/dev/null && break; sleep 0.2; done
  fi
  target/release/bench-api "${arguments[@]}"
done
