#!/usr/bin/env bash
# From a fresh clone to the report of the quickstart study: setup, build, run. Run again, it goes on where it stopped.
# Arguments go to `subspect run`, for example `tools/quickstart.sh --set seed=7 --out runs/seed-7`.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/setup.sh
[[ -f build/release/build.ninja ]] || cmake --preset release
cmake --build --preset release --target subspect
build/release/subspect run configs/quickstart.yaml "$@"
