#!/bin/sh
# Runs the scripts of redis-py and ioredis against the RESP port at $1 (host:port). Makes what they need once, under target/redis. Further
# arguments go to the scripts. The third client, the `redis` crate, is tools/tests/redis_crate.rs.
set -eu
address=${1:?usage: run.sh HOST:PORT [--redis-7.0]}
shift
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=${CARGO_TARGET_DIR:-$root/target}/redis

mkdir -p "$work"
if ! cmp -s "$here/requirements.txt" "$work/installed.txt"; then
    python3 -m venv --clear "$work/venv"
    "$work/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$work/installed.txt"
fi
"$work/venv/bin/python" "$here/redis_py_test.py" "$address" "$@"

if ! command -v npm > /dev/null; then
    echo "SKIPPED: ioredis (npm is not installed)"
    exit 0
fi
if ! cmp -s "$here/package.json" "$work/package.json"; then
    cp "$here/package.json" "$work/package.json"
    (cd "$work" && npm install --silent --no-audit --no-fund --no-package-lock) || { rm "$work/package.json"; exit 1; }
fi
NODE_MODULES=$work node "$here/ioredis_test.mjs" "$address" "$@"
