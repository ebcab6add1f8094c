#!/usr/bin/env bash
# Runs one part of the checks on a machine with a GPU; each takes less than ten minutes.
#
#   ./run.sh PART [OUTPUT FOLDER]     by default results/
#
#   doctor     what the machine has; needed libraries and where they were found
#   kernels    every CUDA kernel against the CPU kernels
#   memcheck   the same under compute-sanitizer: accesses outside of memory, leaks of the API
#   racecheck  the same: races in shared memory
#   synccheck  the same: barriers that not every thread reaches
#   product    logits of small models against the CPU, and one training run
#   bench      speeds of training and generation
#   all        all of them, one after the other
#
# Exits with 0 when everything passed, 1 when something failed, 77 when there is no GPU. OUTPUT/summary.txt has a line a
# part.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
part=${1:?usage: run.sh PART [OUTPUT FOLDER]}
output=$(mkdir -p "${2:-results}" && cd "${2:-results}" && pwd)
limit=580 # seconds

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
  local folders
  folders=$(library_folders | sed '/^$/d' | sort -u | paste -sd:)
  export LD_LIBRARY_PATH=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer \
    /usr/local/cuda/compute-sanitizer/compute-sanitizer 2>/dev/null | head -1)
  cd "$here" || exit 1 # the benchmarks read configs/
}

# run NAME COMMAND...: with a log, a time limit, and a line in the summary.
result=0
run() {
  local name=$1 begin=$SECONDS status
  shift
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
  local model tokens=$output/tokens.json
  echo '[[1, 5, 9, 13, 17, 2, 4], [3, 3, 3, 60, 61]]' >"$tokens"
  for model in llama3 qwen3; do
    for device in cpu cuda; do
      run "logits-$model-$device" "$here/programs/subspect" logits --device $device --model "$here/models/$model" \
        --tokens "$tokens" --output "$output/$model-$device.safetensors" --dtype float32
    done
    run "compare-$model" python3 "$here/compare_logits.py" "$output/$model-cpu.safetensors" \
      "$output/$model-cuda.safetensors" 1e-4
  done
  run train-debug "$here/programs/subspect" run "$here/configs/debug.yaml" --device cuda --out "$output/debug" --overwrite
}

part_of() {
  case $1 in
    doctor) run doctor "$here/programs/subspect" doctor && cat "$output/doctor.log" ;;
    kernels) run kernels "$here/programs/cuda_test" --gtest_output="json:$output/kernels.json" ;;
    memcheck | racecheck | synccheck) sanitize "$1" ;;
    product) product ;;
    bench)
      run bench-step "$here/programs/bench_step" --device=cuda
      run bench-generate "$here/programs/bench_generate" --device=cuda
      ;;
    all) for each in doctor kernels memcheck racecheck synccheck product bench; do part_of $each; done ;;
    *)
      sed -n '2,19p' "$0" >&2
      exit 2
      ;;
  esac
}

prepare
part_of "$part"
exit $result
