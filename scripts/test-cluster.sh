#!/usr/bin/env bash
# `make test-cluster`: the black-box suite on the cluster that KUBECONFIG names. Exit code 69: there is no cluster, and nothing was tried.
# Arguments go on to the suite: --list, --only NAME, --keep (docs/test-cluster.md).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --locked --quiet --package tests --bin cluster-suite
if ! command -v "${FFMPEG_PATH:-ffmpeg}" >/dev/null; then
  echo "!! ffmpeg was not found: the scenarios that judge a video will fail. Install it, or set FFMPEG_PATH." >&2
fi
exec "${CARGO_TARGET_DIR:-target}/debug/cluster-suite" "$@"
