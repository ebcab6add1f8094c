#!/usr/bin/env bash
# Fuzzes the readers of files that others wrote, with libFuzzer under AddressSanitizer and UndefinedBehaviorSanitizer.
# Usage: tools/fuzz.sh [--seconds N | --runs N] [--seed N] [TARGET...]; by default all targets, a minute each, as many at
# a time as there are cores, from a random seed. New inputs are kept in build/asan/fuzz/TARGET, and used the next time;
# an input that fails is left in build/asan/fuzz and named. `--minimize` adds what covers new code to
# tests/fuzz/corpus. Ends with a table of executions.
set -euo pipefail
cd "$(dirname "$0")/.."

limit=-max_total_time=60
seed=0
minimize=
while [[ ${1:-} == --* ]]; do
  case $1 in
    --seconds) limit=-max_total_time=$2; shift 2 ;;
    --runs) limit=-runs=$2; shift 2 ;;
    --seed) seed=$2; shift 2 ;;
    --minimize) minimize=yes; shift ;;
    *) echo "tools/fuzz.sh: error: unknown option $1: see the head of the script" >&2; exit 2 ;;
  esac
done
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
  for source in tests/fuzz/*_fuzz.cpp; do
    name=$(basename "$source" _fuzz.cpp)
    targets+=("$name")
  done
fi

tools/setup.sh
CC=clang CXX=clang++ cmake --preset asan >/dev/null
cmake --build --preset asan --target "${targets[@]/#/fuzz_}"

# Deep stacks for every allocation and 256 MB of freed memory that is kept would make long runs four times slower.
export ASAN_OPTIONS=malloc_context_size=2:quarantine_size_mb=8

work=build/asan/fuzz
mkdir -p "$work"

fuzz() {  # TARGET
  local options=(-timeout=20 -rss_limit_mb=2048 -max_len=4096 -seed="$seed" -artifact_prefix="$work/$1-")
  [[ -f tests/fuzz/$1.dict ]] && options+=(-dict="tests/fuzz/$1.dict")
  mkdir -p "$work/$1"
  if [[ -n $minimize ]]; then
    "build/asan/tests/fuzz_$1" -merge=1 "tests/fuzz/corpus/$1" "$work/$1" >"$work/$1.log" 2>&1
    return
  fi
  "build/asan/tests/fuzz_$1" "${options[@]}" "$limit" -print_final_stats=1 "$work/$1" "tests/fuzz/corpus/$1" \
    >"$work/$1.log" 2>&1 || { tail -n 40 "$work/$1.log" >&2; return 1; }
}
export -f fuzz
export work limit minimize seed

failed=0
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}' || failed=1
printf '%-14s %12s %12s %10s\n' target executions per_second coverage
for name in "${targets[@]}"; do
  awk -v name="$name" '
    /stat::number_of_executed_units/ { runs = $2 }
    /stat::average_exec_per_sec/ { rate = $2 }
    / cov: / { for (i = 1; i < NF; ++i) if ($i == "cov:") coverage = $(i + 1) }
    END { printf "%-14s %12s %12s %10s\n", name, runs, rate, coverage }' "$work/$name.log"
done
exit $failed
