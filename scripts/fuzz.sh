#!/usr/bin/env bash
# `make fuzz`: each fuzz target for SECONDS_EACH seconds. Needs a nightly compiler, which rustup installs; what is found lies in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${SECONDS_EACH:-60}
command -v rustup >/dev/null || { echo "fuzz: rustup is missing, and with it the nightly compiler: https://rustup.rs" >&2; exit 69; }
rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
if ! command -v cargo-fuzz >/dev/null; then
  cargo install cargo-fuzz --version 0.13.2 --locked --root .cache/tools
  PATH="$PWD/.cache/tools/bin:$PATH"
fi
for target in $(cargo +nightly fuzz list); do
  cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -print_final_stats=1 -verbosity=0
done
