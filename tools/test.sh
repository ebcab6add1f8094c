#!/usr/bin/env bash
# Builds the release preset and runs every test this machine can run. `tools/test.sh -R REGEX` runs a part: all
# arguments go to ctest. Works from a fresh clone with nothing else typed.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/setup.sh
[[ -f build/release/build.ninja ]] || cmake --preset release
cmake --build --preset release
ctest --preset release --parallel "$(nproc)" "$@"
