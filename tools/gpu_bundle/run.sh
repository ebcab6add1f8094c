#!/usr/bin/env bash
# Runs one part of the checks on a machine with a GPU; each takes less than ten minutes.
#
#   ./run.sh PART [OUTPUT FOLDER] [--device=cuda|cpu] [--quick]
#
#   list            the parts, one a line
#   doctor          what the machine has; needed libraries and where they were found
#   kernels         every CUDA kernel against the CPU kernels
#   memcheck        the same under compute-sanitizer: accesses outside of memory, leaks of the API
#   racecheck       the same: races in shared memory
#   synccheck       the same: barriers that not every thread reaches
#   product         logits of small models against the CPU, and one training run
#   kernels-MODEL   speed of every kernel and matrix product at the sizes of 0.5b, 1.5b, 3b or 7b; PyTorch beside it
#   step-MODEL      training steps; Transformers beside them
#   generate-MODEL  generation; Transformers beside it
#   linalg          decompositions and projections; torch.linalg beside them
#   bench           the last four for all models
#   all             everything, one after the other
#
# The output folder is results/ unless given. The peers run where python3 has torch and transformers. --device=cpu and
# --quick try the script itself: the parts that work without a GPU run on the CPU, benchmarks with tiny sizes.
#
# Exits with 0 when everything passed, 1 when something failed, 77 when there is no GPU. OUTPUT/summary.txt has a line a
# part, OUTPUT/rows the rows that belong into bench/results, OUTPUT/rows.md a table of them.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
limit=580 # seconds
models=(0.5b 1.5b 3b 7b)
parts=(doctor kernels memcheck racecheck synccheck product "${models[@]/#/kernels-}" "${models[@]/#/step-}"
  "${models[@]/#/generate-}" linalg)

usage() {
  sed -n '2,27p' "$here/run.sh" >&2
  exit 2
}

device=cuda quick='' words=()
for argument in "$@"; do
  case $argument in
    --device=cuda | --device=cpu) device=${argument#*=} ;;
    --quick) quick=--quick ;;
    -*) usage ;;
    *) words+=("$argument") ;;
  esac
done
part=${words[0]:-}
[[ -n $part && ${#words[@]} -le 2 ]] || usage
if [[ $part == list ]]; then
  printf '%s\n' "${parts[@]}"
  exit 0
fi
output=${words[1]:-results}
output=$(mkdir -p "$output" && cd "$output" && pwd) || exit 1

# cuBLAS and cuSOLVER: in the toolkit, or in the packages that PyTorch brings.
library_folders() {
  local folder
  for folder in "${CUDA_HOME:-/nonexistent}/lib64" /usr/local/cuda/lib64 /usr/local/cuda/targets/x86_64-linux/lib; do
    [[ -d $folder ]] && echo "$folder"
  done
  python3 -c 'import glob, sys
for path in sys.path:
    print("\n".join(sorted(glob.glob(path + "/nvidia/*/lib"))))' 2>/dev/null
}

prepare() {
  [[ -d $here/programs ]] || tar -C "$here" -xzf "$here/programs.tar.gz" || exit 1
  libraries=$(library_folders | sed '/^$/d' | sort -u | paste -sd:)
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer \
    /usr/local/cuda/compute-sanitizer/compute-sanitizer 2>/dev/null | head -1)
  cd "$here" || exit 1 # the programs read configs/ and bench/shapes
}

# run NAME COMMAND...: with a log, a time limit, and a line in the summary.
result=0
run() {
  local name=$1 begin=$SECONDS status
  shift
  LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
    timeout -k 10 "$limit" "$@" >"$output/$name.log" 2>&1
  status=$?
  case $status in
    0) status=passed ;;
    77) status="skipped (no GPU)" ;;
    124 | 137) status="failed (longer than $limit s)" ;;
    *) status="failed (exit code $status)" ;;
  esac
  [[ $status == skipped* && $result -eq 0 ]] && result=77
  [[ $status == failed* ]] && { result=1; tail -n 30 "$output/$name.log"; }
  printf '%-24s %-28s %4d s\n' "$name" "$status" $((SECONDS - begin)) | tee -a "$output/summary.txt"
}

# The smallest case of every kernel: the sanitizers make kernels 10 to 100 times slower.
small='-*Large*:*Many*:*Long*:*Heavy*'
sanitize() {
  if [[ -z $sanitizer ]]; then
    echo "$1 skipped: there is no compute-sanitizer" | tee -a "$output/summary.txt"
    return
  fi
  run "$1" "$sanitizer" --tool "$1" --error-exitcode 9 "$here/programs/cuda_test" --gtest_filter="$small"
}

product() {
  local model where tokens=$output/tokens.json
  echo '[[1, 5, 9, 13, 17, 2, 4], [3, 3, 3, 60, 61]]' >"$tokens"
  for model in llama3 qwen3; do
    for where in cpu "$device"; do
      run "logits-$model-$where" "$here/programs/subspect" logits --device "$where" --model "$here/models/$model" \
        --tokens "$tokens" --output "$output/$model-$where.safetensors" --dtype float32
    done
    run "compare-$model" python3 "$here/compare_logits.py" "$output/$model-cpu.safetensors" \
      "$output/$model-$device.safetensors" 1e-4
  done
  [[ -n $quick ]] || run train-debug "$here/programs/subspect" run "$here/configs/debug.yaml" --device "$device" \
    --out "$output/debug" --overwrite
}

# measure PART [MODEL]: two turns of ours and the peer, each with a quarter of the time.
measure() {
  local name=$1${2:+-$2} options=("--device=$device" "--parts=$1" "--programs=$here/programs" --limit=140)
  if [[ -n $quick ]]; then
    options+=(--quick)
  else
    options+=(${2:+"--models=$2"} --seconds=0.3)
  fi
  mkdir -p "$output/rows"
  run "bench-$name" bench/run.sh "${options[@]}" "--out=$output/rows/$name"
  python3 bench/rows.py summary "$output"/rows/*/*.csv >"$output/rows.md"
}

part_of() {
  local each
  case $1 in
    doctor) run doctor "$here/programs/subspect" doctor && cat "$output/doctor.log" ;;
    kernels) run kernels "$here/programs/cuda_test" --gtest_output="json:$output/kernels.json" ;;
    memcheck | racecheck | synccheck) sanitize "$1" ;;
    product) product ;;
    linalg) measure linalg ;;
    kernels-* | step-* | generate-*)
      [[ " ${parts[*]} " == *" $1 "* ]] || usage
      measure "${1%%-*}" "${1#*-}"
      ;;
    bench) for each in "${parts[@]:6}"; do part_of "$each"; done ;;
    all) for each in "${parts[@]}"; do part_of "$each"; done ;;
    *) usage ;;
  esac
}

prepare
part_of "$part"
exit $result
