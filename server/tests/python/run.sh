#!/bin/sh
# Runs client_test.py against the node at $1 (host:port). Makes what it needs once, under target/python.
set -eu
address=${1:?usage: run.sh HOST:PORT}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=${CARGO_TARGET_DIR:-$root/target}/python
stubs=$work/stubs

mkdir -p "$stubs"
if ! cmp -s "$here/requirements.txt" "$work/installed.txt"; then
    python3 -m venv --clear "$work/venv"
    "$work/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$work/installed.txt"
fi
"$work/venv/bin/python" -m grpc_tools.protoc --proto_path="$root/proto" \
    --python_out="$stubs" --grpc_python_out="$stubs" \
    "$root"/proto/cairn/v1/*.proto
PYTHONPATH=$stubs exec "$work/venv/bin/python" "$here/client_test.py" "$address"
