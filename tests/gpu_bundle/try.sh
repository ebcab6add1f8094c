#!/usr/bin/env bash
# Tries the scripts of tools/gpu_bundle.sh without a GPU: lays its folder out with the programs over the stand-in for
# CUDA, and stand-ins for the kernels' tests and for compute-sanitizer that write down how they were called.
# Usage: tests/gpu_bundle/try.sh BUILD_FOLDER
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bundle=$folder/bundle
results=$folder/results

fail() {
  echo "try.sh: $*" >&2
  exit 1
}

"$source/tools/gpu_bundle/files.sh" "$bundle"
mkdir -p "$bundle/programs" "$folder/bin"
ln -s "$build/tests/subspect_emulated" "$bundle/programs/subspect"
ln -s "$build"/bench/emulated/bench_* "$bundle/programs"
cat >"$bundle/programs/cuda_test" <<'STAND_IN'
#!/usr/bin/env bash
echo "cuda_test $*"
exit "${CUDA_TEST_STATUS:-0}"
STAND_IN
cat >"$folder/bin/compute-sanitizer" <<'STAND_IN'
#!/usr/bin/env bash
echo "compute-sanitizer $1 $2 $3 $4"
exec "${@:5}"
STAND_IN
chmod +x "$bundle/programs/cuda_test" "$folder/bin/compute-sanitizer"
export PATH=$folder/bin:$PATH

# expect STATUS ARGUMENT...: what run.sh exits with.
expect() {
  local wanted=$1 status=0
  shift
  "$bundle/run.sh" "$@" >"$folder/output" 2>&1 || status=$?
  [[ $status -eq $wanted ]] || fail "run.sh $* exits with $status, not $wanted: $(tail -n 20 "$folder/output")"
}

[[ $("$bundle/run.sh" list | wc -l) -eq 19 ]] || fail "run.sh list does not list 19 parts"
expect 2
expect 2 unheard-of "$results"
expect 2 kernels-9b "$results"
expect 2 kernels --fast
expect 0 kernels "$results"
CUDA_TEST_STATUS=77 expect 77 kernels "$results"
CUDA_TEST_STATUS=1 expect 1 kernels "$results"
for tool in memcheck racecheck synccheck; do
  expect 0 "$tool" "$results"
  grep -q "^compute-sanitizer --tool $tool --error-exitcode 9" "$results/$tool.log" || fail "$tool was not run"
  grep -q "^cuda_test --gtest_filter=-" "$results/$tool.log" || fail "$tool did not run the tests"
  CUDA_TEST_STATUS=9 expect 1 "$tool" "$results"
done
expect 0 product "$results" --quick
grep -q 'relative difference' "$results/compare-qwen3.log" || fail "logits were not compared"
# One part of each benchmark program; --quick has sizes of its own.
for part in kernels-0.5b step-7b generate-3b linalg; do
  expect 0 "$part" "$results" --quick
  [[ -s $results/rows/$part/${part%%-*}.csv ]] || fail "$part wrote no rows"
done
grep -q '^| step | bfloat16 | model=mini' "$results/rows.md" || fail "there is no table of the rows"
rm "$bundle/programs/bench_linalg"
expect 1 linalg "$results" --quick
grep -Eq '^bench-linalg +failed' "$results/summary.txt" || fail "a missing program went unnoticed"
echo "the bundle's parts run, and their failures show"
