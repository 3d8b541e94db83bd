#!/usr/bin/env bash
# Licences, bans and sources. Advisories need the advisory database, a git repository: run `cargo deny check advisories` where it is
# at hand.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh --install test
# shellcheck source=/dev/null
. .cache/env
exec "$CARGO_DENY" --all-features check licenses bans sources
