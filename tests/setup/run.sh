#!/usr/bin/env bash
# The set-up against stand-ins for apt-get, cargo, sudo and the rest: what it installs, what it refuses, and what it never does. Each
# case gets a machine of its own: a copy of scripts/ and a PATH with nothing but stand-ins and a few plain tools.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
everything=$(mktemp -d)
trap 'rm -rf "$everything"' EXIT
passed=0 failed=0

plain_tools=(awk bash cat chmod cmp cp dirname env find fold grep head ln mkdir mktemp paste readlink rm sed sh sort tail tee timeout touch tr)
asked_for=(apt-cache apt-get cargo df dpkg du id)
recording=(cc chromium fc-list ffmpeg ffprobe pactl pulseaudio Xvfb)

# A fresh machine: root, cargo, disk enough, nothing that records. Further words are programs that are already there.
machine() {
  local tool
  MACHINE=$(mktemp -d "$everything/XXXXXX")
  mkdir -p "$MACHINE/bin" "$MACHINE/home" "$MACHINE/project"
  cp -r "$project/scripts" "$MACHINE/project/"
  cp "$here/stand-in.sh" "$MACHINE/"
  for tool in "${plain_tools[@]}"; do ln -s "$(command -v "$tool")" "$MACHINE/bin/$tool"; done
  for tool in "${asked_for[@]}" "$@"; do ln -s "$MACHINE/stand-in.sh" "$MACHINE/bin/$tool"; done
  echo 0 >"$MACHINE/uid"
  echo 100 >"$MACHINE/free-gib"
  echo "cargo 1.95.0 (abc 2026-01-01)" >"$MACHINE/cargo-version"
  echo "ID=debian" >"$MACHINE/os-release"
  echo "  Candidate: 100.0" >"$MACHINE/chromium-policy"
  : >"$MACHINE/calls"
  case " $* " in *" cc "*) touch "$MACHINE/libc-headers" ;; esac
}

# Runs a script of that machine's project with `NAME=value` words in its environment; leaves $code and $output.
run() {
  local variables=()
  while [[ $1 == *=* ]]; do variables+=("$1"); shift; done
  output=$(cd "$MACHINE/project" && env -i PATH="$MACHINE/bin" HOME="$MACHINE/home" MACHINE="$MACHINE" OS_RELEASE="$MACHINE/os-release" \
    "${variables[@]+"${variables[@]}"}" "$@" 2>&1 </dev/null)
  code=$?
}

setup() { run "$@" scripts/setup.sh "${action:---install}" "${purpose:-run}"; }

# What a script that sources .cache/env sees in a variable.
in_env() { (cd "$MACHINE/project" && env -i PATH="$MACHINE/bin" "$@" bash -c '. .cache/env && env'); }

ends() { [ "$code" = "$1" ] || complain "exit code $code instead of $1"; }
says() { grep -qF -- "$1" <<<"$output" || complain "does not say: $1"; }
says_not() { ! grep -qF -- "$1" <<<"$output" || complain "says: $1"; }
called() { grep -qE -- "$1" "$MACHINE/calls" || complain "did not call: $1"; }
called_not() { ! grep -qE -- "$1" "$MACHINE/calls" || complain "called: $1"; }
complain() { complaints+="    $1"$'\n'; }

it() {
  complaints='' output='' code=''
  "$1"
  if [ -z "$complaints" ]; then
    passed=$((passed + 1))
    echo "ok      ${1//_/ }"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s\n%s    its output:\n      %s\n' "${1//_/ }" "$complaints" "${output//$'\n'/$'\n'      }"
  fi
}

# A script that hands over to a snap, as Ubuntu's chromium-browser does.
snap() { printf '#!/bin/sh\nexec /snap/bin/chromium "$@"\n' >"$1" && chmod +x "$1"; }

a_complete_machine_is_left_alone() {
  machine "${recording[@]}"
  action=--check setup; ends 0
  setup; ends 0
  called_not '^apt-get'
}

a_fresh_machine_gets_everything_and_is_shown_it_first() {
  machine
  setup; ends 0
  says "gcc libc6-dev"; says "chromium"; says "pulseaudio"; says "removes nothing"
  called '^apt-get update'
  called '^apt-get install -y .*--no-remove .*chromium'
  [ "$(grep -n 'install -s' "$MACHINE/calls" | head -n 1 | cut -d: -f1)" -lt "$(grep -n 'install -y' "$MACHINE/calls" | cut -d: -f1)" ] ||
    complain "installs before it looks what that would do"
}

what_apt_would_upgrade_is_shown() {
  machine
  echo "Inst libprecious [0.9] (1.0 here [amd64])" >"$MACHINE/plan-ffmpeg"
  setup; ends 0
  says "it upgrades:"$'\n'"  libprecious"
}

a_compiler_without_the_c_library_is_no_compiler() {
  machine "${recording[@]}"
  rm "$MACHINE/libc-headers"
  setup; ends 0
  called '^apt-get install -y .* gcc libc6-dev'
}

a_check_installs_nothing_and_names_the_command() {
  machine
  action=--check setup; ends 69
  says "missing packages:"; says "scripts/setup.sh --install run"
  called_not '^apt-get'
}

nothing_is_done_where_apt_would_remove_a_package() {
  machine
  echo "Remv precious-desktop [1.0]" >"$MACHINE/plan-ffmpeg"
  setup; ends 69
  says "Remv precious-desktop"; says "nothing was done"
  called_not 'install -y'
}

where_pulseaudio_would_replace_the_desktop_s_sound_it_is_unpacked_privately() {
  machine
  echo "Remv pipewire-pulse [1.0]" >"$MACHINE/plan-pulseaudio"
  setup; ends 0
  called 'install -y'
  called_not 'install -y.* pulseaudio( |$)'
  called '^dpkg -x .*/pulseaudio_1.0.deb'
  in_env | grep -q "^PATH=$MACHINE/project/.cache/private-pulseaudio/bin:" || complain "the private PulseAudio is not first on PATH"
}

pulseaudio_can_be_asked_to_be_private() {
  machine "${recording[@]}"
  setup SETUP_PRIVATE_PULSEAUDIO=1; ends 0
  called '^dpkg -x'; called_not 'install -y'
  # And stays: the second run finds it.
  : >"$MACHINE/calls"
  setup SETUP_PRIVATE_PULSEAUDIO=1; ends 0
  called_not '^dpkg'
}

a_private_pulseaudio_need_not_find_a_system_bus() {
  machine "${recording[@]}"
  echo 'E: [pulseaudio] core-util.c: Failed to connect to system bus' >"$MACHINE/pulseaudio-says"
  setup SETUP_PRIVATE_PULSEAUDIO=1; ends 0
}

a_private_pulseaudio_that_cannot_load_its_modules_is_said() {
  machine "${recording[@]}"
  echo 'E: [pulseaudio] module.c: Failed to open module "module-native-protocol-unix".' >"$MACHINE/pulseaudio-says"
  setup SETUP_PRIVATE_PULSEAUDIO=1; ends 69
  says "cannot be used"; says "Failed to open module"
}

a_private_pulseaudio_needs_no_root() {
  machine "${recording[@]}"
  rm "$MACHINE/bin/pulseaudio"
  echo 1000 >"$MACHINE/uid"
  echo "Remv pipewire-pulse [1.0]" >"$MACHINE/plan-pulseaudio"
  setup; ends 0
  called '^dpkg -x'; called_not 'install -y'
}

without_root_or_sudo_the_one_command_is_printed() {
  machine
  echo 1000 >"$MACHINE/uid"
  setup; ends 69
  says "apt-get update && apt-get install -y --no-install-recommends --no-remove gcc libc6-dev"
  called_not 'install -y'; called_not '^apt-get update'
}

sudo_that_needs_a_password_is_not_asked_without_a_terminal() {
  machine sudo
  echo 1000 >"$MACHINE/uid"
  setup; ends 69
  says "apt-get install -y"
  called_not '^sudo (env|apt-get)'
}

sudo_is_used_where_it_works() {
  machine sudo
  echo 1000 >"$MACHINE/uid"
  touch "$MACHINE/sudo-works"
  setup; ends 0
  called '^sudo apt-get update'
  called '^sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y'
}

a_distribution_with_only_a_snap_is_refused_with_the_way_out() {
  machine
  snap "$MACHINE/bin/chromium-browser"
  echo "  Candidate: (none)" >"$MACHINE/chromium-policy"
  echo "ID=ubuntu" >"$MACHINE/os-release"
  setup; ends 69
  says "snap"; says "CHROME_PATH"; says ".deb"; says "aarch64"
  called_not 'install -y'
  # A user without root is not sent to install a snap either.
  echo 1000 >"$MACHINE/uid"
  setup; ends 69
  says "CHROME_PATH"; says_not "apt-get install -y"
}

a_transitional_package_counts_as_a_snap() {
  machine
  echo "  Candidate: 2:1snap1-0ubuntu2" >"$MACHINE/chromium-policy"
  setup; ends 69
  says "CHROME_PATH"
  called_not 'install -y'
}

a_snap_does_not_hide_the_distribution_s_package() {
  machine "${recording[@]}"
  mkdir "$MACHINE/snapbin"
  snap "$MACHINE/snapbin/chromium"
  setup PATH="$MACHINE/snapbin:$MACHINE/bin"; ends 0
  in_env | grep -qx "CHROME_PATH=$MACHINE/bin/chromium" || complain "the package's Chromium was not chosen"
  called_not '^apt-get'
}

a_snap_alone_is_not_taken_and_the_package_is_installed() {
  machine "${recording[@]}"
  rm "$MACHINE/bin/chromium"
  snap "$MACHINE/bin/chromium-browser"
  setup; ends 0
  called 'install -y .* chromium( |$)'
}

a_chrome_path_that_is_a_snap_or_nothing_is_refused() {
  machine "${recording[@]}"
  snap "$MACHINE/named"
  setup CHROME_PATH="$MACHINE/named"; ends 69; says "is a snap"; says ".deb"
  setup CHROME_PATH=/snap/bin/chromium; ends 69
  setup CHROME_PATH="$MACHINE/nowhere"; ends 69; says "CHROME_PATH=$MACHINE/nowhere is not a program"
}

a_browser_that_does_not_start_is_said_with_its_own_words() {
  machine "${recording[@]}"
  echo "No usable sandbox!" >"$MACHINE/browser-fails"
  setup; ends 69
  says "No usable sandbox!"; says "chromium-sandbox"
  rm "$MACHINE/browser-fails"
  setup; ends 0
  # Once it has started it is not tried again.
  : >"$MACHINE/calls"
  setup; ends 0
  called_not '^chromium'
}

the_browser_s_sandbox_comes_with_it_where_there_is_one() {
  machine
  echo "  Candidate: 100.0" >"$MACHINE/sandbox-policy"
  setup; ends 0
  called '^apt-get install -y .* chromium .*chromium-sandbox'
}

a_chrome_path_is_kept() {
  machine "${recording[@]}"
  ln -s "$MACHINE/stand-in.sh" "$MACHINE/mine"
  setup CHROME_PATH="$MACHINE/mine"; ends 0
  in_env | grep -qx "CHROME_PATH=$MACHINE/mine" || complain "another browser was chosen"
}

too_little_disk_is_said_before_anything_is_done() {
  machine
  echo 2 >"$MACHINE/free-gib"
  setup; ends 69
  says "only 2 GiB are free"
  called_not '^apt-get'
}

no_toolchain_is_said_with_what_brings_one() {
  machine
  rm "$MACHINE/bin/cargo"
  setup; ends 69
  says "rustup"
  called_not '^apt-get'
}

an_old_toolchain_is_refused() {
  machine "${recording[@]}"
  echo "cargo 1.63.0 (abc 2022-01-01)" >"$MACHINE/cargo-version"
  setup; ends 69
  says "Rust 1.63.0"; says "rustup update stable"
}

a_rustup_without_a_toolchain_is_said() {
  machine "${recording[@]}"
  : >"$MACHINE/cargo-version"
  setup; ends 69
  says "rustup default stable"
}

a_toolchain_off_the_path_is_found() {
  machine "${recording[@]}"
  mkdir -p "$MACHINE/home/.cargo/bin"
  mv "$MACHINE/bin/cargo" "$MACHINE/home/.cargo/bin/"
  setup; ends 0
  in_env | grep -q "^PATH=.*$MACHINE/home/.cargo/bin:" || complain "cargo is not on PATH"
}

the_desktop_s_display_and_sound_are_cleared() {
  machine "${recording[@]}"
  setup; ends 0
  output=$(in_env WAYLAND_DISPLAY=wayland-0 DISPLAY=:0 PULSE_SERVER=unix:/x PIPEWIRE_REMOTE=x DBUS_SESSION_BUS_ADDRESS=x)
  for name in WAYLAND_DISPLAY DISPLAY PULSE_SERVER PIPEWIRE_REMOTE DBUS_SESSION_BUS_ADDRESS; do says_not "$name="; done
}

elsewhere_than_on_debian_the_packages_are_named() {
  machine
  rm "$MACHINE/bin/apt-get"
  setup; ends 69
  says "needs Debian or Ubuntu"; says "xvfb"
}

a_wrong_word_is_answered_with_the_usage() {
  machine
  action=--instal setup; ends 64; says "usage:"
  purpose=tests setup; ends 64; says "usage:"
}

# --- make test and make demo, with a set-up that finds everything but the emulator ---

ready_without_emulator() {
  machine
  printf '#!/bin/sh\nmkdir -p .cache && : >.cache/env\n' >"$MACHINE/project/scripts/setup.sh"
  mkdir -p "$MACHINE/project/tests/setup"
  printf '#!/bin/sh\n' >"$MACHINE/project/tests/setup/run.sh"
  chmod +x "$MACHINE/project/tests/setup/run.sh"
}

a_missing_emulator_is_said_loudly_and_the_rest_runs() {
  ready_without_emulator
  run scripts/test.sh; ends 0
  says "SKIPPED: the Firestore emulator"; says "gcloud components install cloud-firestore-emulator"; says "FIRESTORE_EMULATOR_JAR"
  [ "$(tail -n 1 <<<"$output")" = "!!" ] || complain "is not told of at the end"
  called '^cargo test --workspace .*--lib --bins'; called '^cargo test --workspace .*--test-threads=1$'
}

with_ci_a_missing_emulator_is_a_failure() {
  ready_without_emulator
  run CI=true scripts/test.sh; ends 69
  says "SKIPPED: the Firestore emulator"; says "failure"
  called_not '^cargo'
}

one_failing_suite_does_not_keep_the_other_from_running() {
  ready_without_emulator
  touch "$MACHINE/tests-fail"
  run FIRESTORE_EMULATOR_JAR=/some.jar scripts/test.sh; ends 1
  called '^cargo test --workspace .*--lib --bins'; called '^cargo test --workspace .*--test-threads=1$'
}

a_meeting_address_that_is_none_is_refused_before_anything_is_installed() {
  machine
  run MEETING_URL=http://meet.google.com/secret scripts/demo.sh; ends 64
  says "https"; says_not "secret"
  called_not '.'
}

a_platform_without_a_practice_room_is_refused_before_anything_is_installed() {
  machine
  run PLATFORM=webex scripts/demo.sh; ends 64
  says "webex"; says "zoom"
  called_not '.'
}

# All of them, in the order of this file.
while read -r case_; do it "$case_"; done < <(sed -n 's/^\([a-z_]*_[a-z_]*_[a-z_]*\)() {$/\1/p' "${BASH_SOURCE[0]}" | grep -v '^ready_')
echo "setup: $passed passed, $failed failed"
[ "$failed" = 0 ]
