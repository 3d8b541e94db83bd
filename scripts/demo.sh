#!/usr/bin/env bash
# `make demo`: sets up, builds, and records one meeting end to end. Exit status 0 only if everything was verified.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
echo "== setting up"
scripts/setup.sh --install run
echo "== building (some minutes the first time)"
cargo build --workspace --bins --locked
echo "== recording"
# shellcheck source=/dev/null
. .cache/env
exec target/debug/demo --output "${DEMO_OUTPUT:-demo-output}"
