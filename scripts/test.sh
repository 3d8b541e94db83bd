#!/usr/bin/env bash
# `make test`: sets up, builds the binaries, runs every suite, and says which ran.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh --install test
# shellcheck source=/dev/null
. .cache/env
echo "== building the binaries that the black-box suites start"
cargo build --workspace --bins --locked
if [ -z "${FIRESTORE_EMULATOR_JAR:-}" ]; then
  echo "!!"
  echo "!! The Firestore emulator was not found: its suites cannot run. Install the Google Cloud SDK and then"
  echo "!!   gcloud components install cloud-firestore-emulator   (or the package google-cloud-cli-firestore-emulator)"
  echo "!! or set FIRESTORE_EMULATOR_JAR."
  echo "!!"
  if [ "${CI:-}" = true ]; then exit 1; fi
fi
echo "== unit, property and conformance suites"
cargo test --workspace --exclude tests --all-targets --locked --no-fail-fast
echo "== black-box suites (one at a time: each has browsers of its own)"
cargo test --package tests --all-targets --locked --no-fail-fast -- --test-threads=1
