#!/usr/bin/env bash
# Each crate must build alone: in a build of the whole workspace, a feature that one crate forgets to ask for is there all the same
# when another asks for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
alone() { sed -n '/^members = \[/,/^\]/s/^ *"\(.*\)".*/\1/p' Cargo.toml; }
broken=()
for crate in $(alone); do
  cargo check --quiet --locked --manifest-path "$crate/Cargo.toml" || broken+=("$crate")
done
if [ "${#broken[@]}" -gt 0 ]; then
  echo "crates-alone: these build only together with others; look for a feature that their Cargo.toml does not ask for: ${broken[*]}" >&2
  exit 1
fi
echo "crates-alone: every crate builds alone"
