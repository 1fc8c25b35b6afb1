#!/bin/sh
# Makes the virtual environment that the Python tests use: target/python-venv, or the folder given.
# What is there already and complete is left as it is.
set -eu
cd "$(dirname "$0")/../.."
venv="${1:-${CARGO_TARGET_DIR:-target}/python-venv}"
requirements=examples/python/requirements.txt
stamp="$venv/made-from.txt"
wanted() { cat "$requirements" examples/python/generate.py proto/*.proto; }

if [ -x "$venv/bin/python" ] && wanted | cmp -s - "$stamp"; then
    echo "$venv is up to date"
    exit 0
fi
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
site="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
"$venv/bin/python" examples/python/generate.py --out "$site"
"$venv/bin/python" -c 'import zmq, handshake_pb2, ping_pb2, l4m_pb2, l4m_vision_pb2'
# last: what was interrupted is made anew
wanted > "$stamp"
echo "made $venv"
