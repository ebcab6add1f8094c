#!/usr/bin/env bash
# Copies what the bundle of tools/gpu_bundle.sh has besides programs: scripts, configurations, small models, the sizes
# and peers of the benchmarks. Usage: tools/gpu_bundle/files.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
bundle=$1
mkdir -p "$bundle/models" "$bundle/bench/peers"
cp -r configs "$bundle"
cp -r tests/fixtures/models/{llama3,qwen3} "$bundle/models"
cp -r bench/run.sh bench/rows.py bench/shapes "$bundle/bench"
cp bench/peers/*.py "$bundle/bench/peers"
cp tools/gpu_bundle/run.sh tools/gpu_bundle/compare_logits.py "$bundle"
git describe --always --dirty --abbrev=12 --exclude='*' >"$bundle/COMMIT"
