#!/usr/bin/env bash
# Checks every shell script of the project, which are told by their first line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh --install test
# shellcheck source=/dev/null
. .cache/env
scripts=()
while IFS= read -r file; do
  if [ -f "$file" ] && head -n 1 "$file" | grep -qaE '^#!.*\b(ba)?sh$'; then scripts+=("$file"); fi
done < <(git ls-files --cached --others --exclude-standard)
"$SHELLCHECK" --external-sources "${scripts[@]}"
echo "shellcheck: ${#scripts[@]} scripts are clean"
