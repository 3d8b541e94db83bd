#!/bin/sh
# install-packages.sh LIST...: installs the Debian packages of scripts/packages/LIST.txt, in an image, as root.
set -eu
lists=$(dirname "$0")/packages
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
for list in "$@"; do sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$lists/$list.txt"; done | sort -u \
  | xargs apt-get install -y -qq --no-install-recommends
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old
