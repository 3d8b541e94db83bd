#!/usr/bin/env bash
# Checks Dockerfiles (hadolint, and that their shared beginning is the same), compose.yaml (compose itself and its schema), the
# workflows (actionlint, zizmor, GitHub's schema) and the shell scripts (shellcheck). Builds nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$(scripts/deploy-tools.sh)
export PATH="$tools/bin:$PATH"

# Versions of Debian's packages are not pinned: Debian keeps no old ones; the weekly build takes its security updates.
hadolint --ignore DL3008 Dockerfile.*
shared() { sed -n '/^# --- shared/,/^# --- end/p' "$1"; }
for file in Dockerfile.*; do
  [ -n "$(shared "$file")" ] && [ "$(shared "$file")" = "$(shared Dockerfile.controller)" ] || { echo "$file: its shared beginning differs from Dockerfile.controller's"; exit 1; }
done
for list in scripts/packages/*.txt; do
  ! grep -vE '^(#.*|[a-z0-9][a-z0-9.+-]*)$' "$list" || { echo "$list: one package a line"; exit 1; }
done

docker-compose --profile '*' config --quiet
check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
actionlint -shellcheck shellcheck .github/workflows/*.yml
zizmor --offline --quiet --min-severity low .github
shellcheck scripts/*.sh .ci/run
echo "images, compose, workflows and scripts are in order"
