#!/usr/bin/env bash
# `make demo`: sets up, builds, and records one meeting end to end. Exit status 0 only if everything was verified.
# PLATFORM=meet|teams|zoom says whose web client the practice room replicates.
# MEETING_URL=https://meet.google.com/abc-defg-hij records that call instead of the practice room's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# What is plainly no address is refused before anything is installed; the demo itself looks at the rest. It is not repeated here,
# for it may hold a passcode.
case "${MEETING_URL:-}" in
  '' | https://?*) ;;
  *)
    echo "demo: MEETING_URL is no https address; write it like https://meet.google.com/abc-defg-hij" >&2
    exit 64
    ;;
esac
case "${PLATFORM:=meet}" in
  meet | teams | zoom) ;;
  *)
    echo "demo: PLATFORM=$PLATFORM has no practice room; there are meet, teams and zoom" >&2
    exit 64
    ;;
esac
export PLATFORM
echo "== setting up"
scripts/setup.sh --install run
# shellcheck source=/dev/null
. .cache/env
echo "== building (some minutes the first time)"
cargo build --workspace --bins --locked
echo "== recording"
exec target/debug/demo --output "${DEMO_OUTPUT:-demo-output}"
