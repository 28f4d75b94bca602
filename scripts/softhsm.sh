#!/bin/sh
# Unpacks Debian's SoftHSM into the folder $1 without installing it, unless it is there; prints nothing.
set -eu
[ -e "$1/usr/lib/softhsm/libsofthsm2.so" ] && exit 0
draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT
cd "$draft"
apt-get -q -q download softhsm2 softhsm2-common libsofthsm2 2>apt.log || { cat apt.log >&2; exit 1; }
mkdir root
for package in *.deb; do dpkg -x "$package" root; done
mkdir -p "$(dirname "$1")"
mv -T root "$1"
