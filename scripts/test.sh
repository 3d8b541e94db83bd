#!/usr/bin/env bash
# `make test`: sets up, builds the binaries, runs every suite, and says which did not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tell_of_the_missing_emulator() {
  cat >&2 <<'TEXT'
!!
!! SKIPPED: the Firestore emulator was not found, so nothing was tested against it. Install Java and the emulator:
!!   apt-get install default-jre-headless google-cloud-cli-firestore-emulator
!!   (the second from Google's apt repository; or the Google Cloud SDK and: gcloud components install cloud-firestore-emulator)
!! or name its cloud-firestore-emulator.jar in FIRESTORE_EMULATOR_JAR.
!!
TEXT
}

echo "== setting up"
scripts/setup.sh --install test
# shellcheck source=/dev/null
. .cache/env
if [ -z "${FIRESTORE_EMULATOR_JAR:-}" ]; then
  tell_of_the_missing_emulator
  if [ "${CI:-}" = true ]; then
    echo "test: with CI=true a suite that cannot run is a failure" >&2
    exit 69
  fi
fi
echo "== the set-up itself, against stand-ins"
tests/setup/run.sh
# The integration suites among the given paths, as cargo's options: a file, or a folder with a `main.rs`, each.
suites() {
  local path
  for path in "$@"; do
    if [ -f "$path/main.rs" ]; then
      echo "--test=$(basename "$path")"
    elif [ "${path%.rs}" != "$path" ]; then
      echo "--test=$(basename "$path" .rs)"
    fi
  done
}

# Everything is chosen from the whole workspace, so that each crate is built once, with one set of features.
run() {
  local threads=$1
  shift
  cargo test --workspace --locked --no-fail-fast "$@" -- --test-threads="$threads" 2>&1 | tee "$log" || further_tries "$log"
}

# Where real processes, sockets and browsers are waited for, a busy machine may stall for longer than any deadline, a test may read what is
# written a moment later, and nothing records a call in real time on processors that others use (seen: seven tests in one run on a machine
# half as fast as usual). What failed there is tried twice more by itself; what passes only then is named at the end, to be looked into.
# No further try for what computes, which is the same each time, nor for the suites that judge what was promised under faults: what fails
# there once in many runs is what they are for.
never_again="sim other_platforms protocol_sqlite sqlite firestore chaos failure_modes it_durability it_kill_points lost_answers"
further_tries() {
  local suite names failing
  failing=$(scripts/failed-tests.awk "$1")
  if [ -z "$failing" ]; then failed=1; fi # nothing was run at all
  while read -r suite names; do
    # Where a suite did not end, there is no list of what failed in it.
    if [ -z "$suite" ]; then continue; fi
    if [ -z "$names" ] || [[ " $never_again " == *" $suite "* ]] || ! [[ " ${integration[*]} " == *" --test=$suite "* ]]; then
      failed=1
      continue
    fi
    for try in second third; do
      echo "== $try try: $suite: $names"
      # shellcheck disable=SC2086 # names of tests, without spaces in them
      if cargo test --workspace --locked --test="$suite" -- --test-threads=1 --exact $names </dev/null 2>&1 | tee "$log.again"; then
        unstable+=("$suite: $names ($try try)")
        continue 2
      fi
      names=$(scripts/failed-tests.awk "$log.again" | cut -s -d " " -f 2-)
      if [ -z "$names" ]; then break; fi # it did not end
    done
    failed=1
  done <<<"$failing"
}

echo "== building the binaries and the suites"
cargo build --workspace --all-targets --locked
failed=0
unstable=()
log=$(mktemp)
trap 'rm -f "$log" "$log.again"' EXIT
several=$(($(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1))
# These black-box suites have no browser and mostly wait.
patient=(--test=it_kubernetes --test=it_kubernetes_stub)
# Each test of these is in calls: as many at once as there are processors. (Those of `it_platforms` that record take the machine by themselves.)
calls=(--test=call --test=trouble --test=it_platforms)
without() { grep -vxF -e "$(printf '%s\n' "$@")"; }
mapfile -t others < <(suites controller/tests/* manager/tests/* meeting-bot/tests/* crates/*/tests/* | without "${calls[@]}")
mapfile -t alone < <(suites tests/tests/* | without "${patient[@]}" "${calls[@]}")
integration=("${others[@]}" "${calls[@]}" "${patient[@]}" "${alone[@]}")
echo "== unit, property and conformance suites (these wait more than they work: a third at once on two cores)"
run "$several" --lib --bins "${others[@]}"
echo "== the bot in calls"
run "$((several - 1))" "${calls[@]}"
echo "== black-box suites without a browser"
run "$several" "${patient[@]}"
echo "== black-box suites (one at a time: each has browsers of its own)"
run 1 "${alone[@]}"
# At the end, where it is read.
for test in ${unstable[@]+"${unstable[@]}"}; do
  echo "test: UNSTABLE: passed at a further try only: $test" >&2
done
if [ -z "${FIRESTORE_EMULATOR_JAR:-}" ]; then tell_of_the_missing_emulator; fi
exit "$failed"
