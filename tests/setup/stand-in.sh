#!/usr/bin/env bash
# Every program that the scripts call, as a stand-in: acts by the name it is called under. MACHINE is the folder that tests/setup/run.sh
# made; calls are noted in its file `calls`.
name=${0##*/}
printf '%s %s\n' "$name" "$*" >>"$MACHINE/calls"

provide() { ln -sf "$MACHINE/stand-in.sh" "$MACHINE/bin/$1"; }

# What an installed package brings.
install_package() {
  case "$1" in
    gcc) provide cc ;;
    chromium) provide chromium ;;
    xvfb) provide Xvfb ;;
    pulseaudio-utils) provide pactl ;;
    pulseaudio) provide pulseaudio ;;
    ffmpeg) provide ffmpeg; provide ffprobe ;;
    fontconfig) provide fc-list ;;
    libc6-dev) touch "$MACHINE/libc-headers" ;;
  esac
}

packages_of() { for word in "$@"; do case "$word" in -* | install | download) ;; *) printf '%s\n' "$word" ;; esac; done; }

# A file `plan-PACKAGE` says what else apt-get would do.
simulate() { for package in $(packages_of "$@"); do echo "Inst $package (1.0)"; cat "$MACHINE/plan-$package" 2>/dev/null; done; return 0; }

case "$name $*" in
  "id -u") cat "$MACHINE/uid" ;;
  "df "*) printf 'Filesystem 1024-blocks Used Available Capacity Mounted\nx 1 1 %s 1%% /\n' "$(($(cat "$MACHINE/free-gib") * 1048576))" ;;
  "du "*) printf '0\ttarget\n' ;;
  "cargo --version") cat "$MACHINE/cargo-version" ;;
  "cargo test"*) [ ! -e "$MACHINE/tests-fail" ] ;;
  "cc "*) [ -e "$MACHINE/libc-headers" ] ;;
  "ffmpeg "*) printf ' V libx264 x\n A aac x\n D x11grab x\n D pulse x\n' ;;
  "chromium "*) if [ -e "$MACHINE/browser-fails" ]; then cat "$MACHINE/browser-fails" >&2; exit 1; fi ;;
  "fc-list "*) echo "a font" ;;
  "sudo -n true") [ -e "$MACHINE/sudo-works" ] ;;
  "sudo "*) [ -e "$MACHINE/sudo-works" ] && exec "$@" ;;
  "apt-cache policy chromium") cat "$MACHINE/chromium-policy" ;;
  "apt-cache policy chromium-sandbox") cat "$MACHINE/sandbox-policy" 2>/dev/null ;;
  "apt-cache policy"*) ;;
  "apt-cache show"*) echo "Description: a browser" ;;
  "apt-get install -s "*) simulate "${@:3}" ;;
  "apt-get install -y "*)
    if simulate "${@:3}" | grep -q '^Remv'; then case " $* " in *" --no-remove "*) exit 100 ;; esac; fi
    for package in $(packages_of "${@:3}"); do install_package "$package"; done
    ;;
  "apt-get download "*) for package in $(packages_of "$@"); do touch "${package}_1.0.deb"; done ;;
  "dpkg -x "*pulseaudio_*)
    mkdir -p "$3/usr/bin" "$3/usr/lib/here/pulseaudio/modules"
    touch "$3/usr/lib/here/libpulse.so.0"
    printf '#!/bin/sh\ncat "%s/pulseaudio-says" 2>/dev/null || true\n' "$MACHINE" >"$3/usr/bin/pulseaudio"
    chmod +x "$3/usr/bin/pulseaudio"
    ;;
esac
