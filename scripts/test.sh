#!/usr/bin/env bash
# `make test`: sets up, builds the binaries, runs every suite, and says which did not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tell_of_the_missing_emulator() {
  cat >&2 <<'TEXT'
!!
!! SKIPPED: the Firestore emulator was not found, so nothing was tested against it. Install Java and the emulator:
!!   apt-get install default-jre-headless google-cloud-cli-firestore-emulator
!!   (the second from Google's apt repository; or the Google Cloud SDK and: gcloud components install cloud-firestore-emulator)
!! or name its cloud-firestore-emulator.jar in FIRESTORE_EMULATOR_JAR.
!!
TEXT
}

echo "== setting up"
scripts/setup.sh --install test
# shellcheck source=/dev/null
. .cache/env
if [ -z "${FIRESTORE_EMULATOR_JAR:-}" ]; then
  tell_of_the_missing_emulator
  if [ "${CI:-}" = true ]; then
    echo "test: with CI=true a suite that cannot run is a failure" >&2
    exit 69
  fi
fi
echo "== the set-up itself, against stand-ins"
tests/setup/run.sh
echo "== building the binaries that the black-box suites start"
cargo build --workspace --bins --locked
failed=0
echo "== unit, property and conformance suites"
# These wait more than they work: a third at once on two cores.
cargo test --workspace --exclude tests --all-targets --locked --no-fail-fast -- --test-threads="$(($(nproc) + 1))" || failed=1
echo "== black-box suites (one at a time: each has browsers of its own)"
cargo test --package tests --all-targets --locked --no-fail-fast -- --test-threads=1 || failed=1
# Again at the end, where it is read.
if [ -z "${FIRESTORE_EMULATOR_JAR:-}" ]; then tell_of_the_missing_emulator; fi
exit "$failed"
