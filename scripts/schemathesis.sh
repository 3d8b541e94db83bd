#!/usr/bin/env bash
# Lets schemathesis send what the OpenAPI document allows and what it forbids to a real controller on the embedded store: no 5xx, no answer
# that the document does not have. Installs itself below .cache. EXAMPLES (100) for each operation, SEED for a run again.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck disable=SC1091
. .cache/env
version=4.32.5
tools=.cache/schemathesis
if ! "$tools/bin/schemathesis" --version 2>/dev/null | grep -q "$version"; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet "schemathesis==$version"
fi
cargo build --quiet --locked --bin controller
work=$(mktemp -d)
controller=
finish() {
  [ -z "$controller" ] || kill "$controller" 2>/dev/null || true
  [ -z "$controller" ] || wait "$controller" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
# Its bots end at once: what is asked here is the API.
export STORE_URL="sqlite:$work/store.sqlite" RECORDINGS_URL="file://$work/bucket" RUNS_DIR="$work/runs" HTTP_LISTEN=127.0.0.1:0 HTTP_PORT_FILE="$work/port"
export MANAGER_BIN=/bin/true MEETING_BOT_BIN=/bin/true MAX_LIVE_BOTS=1 LOG_LEVEL=warn API_RATE_PER_KEY=0 API_RATE_PER_ADDRESS=0 API_TRUSTED_PROXIES=1
key=$(target/debug/controller keys create --name schemathesis --role admin --all-organizations)
target/debug/controller run >"$work/log" 2>&1 &
controller=$!
for _ in $(seq 100); do
  [ -s "$work/port" ] && break
  sleep 0.1
done
API_URL="http://$(cat "$work/port")"
export API_URL API_KEY="$key"
made=$(target/debug/controller schedule 'https://zoom.us/j/123456789' --json)
bot=$(printf %s "$made" | python3 -c 'import json, sys; print(json.load(sys.stdin)["bot"]["id"])')
meeting=$(printf %s "$made" | python3 -c 'import json, sys; print(json.load(sys.stdin)["meeting"]["id"])')
# Half of the requests are about what is there. A batch judges each meeting by itself, so that a wrong one refuses no other.
checks='[checks]
missing_required_header.expected-statuses = [400, 401, 403, 406, 415, 422, 428]

[[operations]]
include-path = "/v1/meetings:batch"
checks.negative_data_rejection.enabled = false
'
{ printf %s "$checks"; cat; } >"$work/there.toml" <<CONFIG

[[operations]]
include-path-regex = "^/v1/bots/"
parameters = { "path.id" = "$bot" }

[[operations]]
include-path-regex = "^(/v1)?/meetings/"
parameters = { "path.id" = "$meeting" }
CONFIG
printf %s "$checks" >"$work/any.toml"
caller=0
for config in any there; do
  caller=$((caller + 1))
  # Each from an address of its own, and not too fast: of one, more than 300 wrong keys a minute are answered with 429, and one request in ten has one.
  # A stream has no end to wait for. What is well-formed and still refused for its meaning (positive_data_acceptance) is no mistake here.
  "$tools/bin/schemathesis" --config-file "$work/$config.toml" run "$API_URL/openapi.json" --header "Authorization: Bearer $key" --header "X-Forwarded-For: 192.0.2.$caller" \
    --max-examples "${EXAMPLES:-100}" ${SEED:+--seed "$SEED"} --exclude-path /v1/events --exclude-checks positive_data_acceptance \
    --rate-limit 40/s --phases examples,coverage,fuzzing --request-timeout 30 --workers 2 --no-color
done
kill -0 "$controller" || { tail -20 "$work/log" >&2; exit 1; }
if grep -q 'panicked' "$work/log"; then
  grep 'panicked' "$work/log" >&2
  exit 1
fi
