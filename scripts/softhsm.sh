#!/bin/sh
# Unpacks Debian's SoftHSM into the folder $1 without installing it, unless it is there; prints nothing. A machine that has
# no lists of packages yet gets them first, which takes root.
set -eu
[ -e "$1/usr/lib/softhsm/libsofthsm2.so" ] && exit 0
draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT
cd "$draft"
take() { apt-get -q -q download softhsm2 softhsm2-common libsofthsm2 >apt.log 2>&1; }
take || { apt-get -q -q update >update.log 2>&1 && take; } || { cat apt.log >&2; exit 1; }
mkdir root
for package in *.deb; do dpkg -x "$package" root; done
mkdir -p "$(dirname "$1")"
mv -T root "$1"
