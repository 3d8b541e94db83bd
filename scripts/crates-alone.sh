#!/usr/bin/env bash
# Each crate must build alone: in a build of the whole workspace, a feature that one crate forgets to ask for is there all the same
# when another asks for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
members() { sed -n '/^members = \[/,/^\]/s/^ *"\(.*\)".*/\1/p' Cargo.toml; }
broken=()
for crate in $(members); do
  cargo check --quiet --locked --manifest-path "$crate/Cargo.toml" || broken+=("$crate")
done
if [ "${#broken[@]}" -gt 0 ]; then
  echo "crates-alone: these do not build alone, cargo's own words are above: ${broken[*]}" >&2
  echo "crates-alone: where they build together with the others, a Cargo.toml does not ask for a feature that its crate uses" >&2
  exit 1
fi
echo "crates-alone: every crate builds alone"
