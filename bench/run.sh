#!/usr/bin/env bash
# Runs the benchmarks, and after each the peers on the same work, in turns; writes one file of rows for each.
#
#   bench/run.sh [--device=cpu|cuda] [--quick] [--parts=LIST] [--models=LIST] [--out=FOLDER] [--rounds=N]
#                [--threads=N] [--processor-time] [--seconds=N] [--programs=FOLDER] [--peers=PYTHON|none]
#                [--limit=SECONDS] [--list]
#
#   --parts     kernels, step, generate, linalg; all unless given
#   --models    of bench/shapes; unless given what the programs choose for the device
#   --out       build/bench unless given; its rows of these parts are replaced
#   --rounds    turns of ours and the peers: 2, with --quick 1
#   --peers     the Python that has torch and transformers; python3 unless given. Left out where it has no torch
#   --limit     of one program's run, 580 s unless given
#   --list      shows the commands and runs nothing
# The others are the programs' own (--help).
#
# Exits with 1 when a result was wrong, a row is malformed or a program failed.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.." || exit 1 # the programs read bench/shapes

device=cpu quick='' processor_time='' parts=kernels,step,generate,linalg models='' out=build/bench rounds='' threads='' seconds=''
programs=build/release/bench peers=python3 limit=580 list=''
for argument in "$@"; do
  case $argument in
    --device=*) device=${argument#*=} ;;
    --quick) quick=--quick ;;
    --parts=*) parts=${argument#*=} ;;
    --models=*) models=$argument ;;
    --out=*) out=${argument#*=} ;;
    --rounds=*) rounds=${argument#*=} ;;
    --threads=*) threads=$argument ;;
    --processor-time) processor_time=$argument ;;
    --seconds=*) seconds=$argument ;;
    --programs=*) programs=${argument#*=} ;;
    --peers=*) peers=${argument#*=} ;;
    --limit=*) limit=${argument#*=} ;;
    --list) list=yes ;;
    *)
      echo "run.sh: $argument is not understood" >&2
      sed -n '2,18p' "$0" >&2
      exit 2
      ;;
  esac
done
rounds=${rounds:-$([[ -n $quick ]] && echo 1 || echo 2)}

if [[ $peers != none ]] && ! "$peers" -c 'import torch' 2>/dev/null; then
  echo "run.sh: the peers are left out: $peers has no torch" >&2
  peers=none
fi

if [[ -n $threads ]]; then # libraries have teams of their own
  export OPENBLAS_NUM_THREADS=${threads#*=} OMP_NUM_THREADS=${threads#*=} MKL_NUM_THREADS=${threads#*=}
fi

failed=0
# attempt COMMAND...: within the limit; 77 means that something it needs is not there. With --list it is only shown.
attempt() {
  if [[ -n $list ]]; then
    echo "$@"
    return
  fi
  timeout -k 10 "$limit" "$@"
  local status=$?
  if [[ $status -ne 0 && $status -ne 77 ]]; then
    failed=1
    echo "run.sh: exit code $status$([[ $status -eq 124 ]] && echo " (longer than $limit s)"): $*" >&2
  fi
}

measure_part() {
  local part=$1 rows=$out/$1.csv round common
  common=("--device=$device" "--csv=$rows" ${quick:+"$quick"} ${threads:+"$threads"} ${processor_time:+"$processor_time"} ${seconds:+"$seconds"})
  [[ -n $list ]] || rm -f "$rows"
  for ((round = 1; round <= rounds; ++round)); do
    if [[ $part == linalg ]]; then
      attempt "$programs/bench_linalg" "${common[@]}"
    else
      attempt "$programs/bench_$part" "${common[@]}" ${models:+"$models"}
    fi
    [[ $peers == none ]] || attempt "$peers" "bench/peers/$part.py" "${common[@]}"
  done
  attempt python3 bench/rows.py check "$rows"
}

mkdir -p "$out"
for part in ${parts//,/ }; do
  case $part in
    kernels | step | generate | linalg) measure_part "$part" ;;
    *)
      echo "run.sh: there is no part $part; there are kernels, step, generate and linalg" >&2
      exit 2
      ;;
  esac
done
exit $failed
