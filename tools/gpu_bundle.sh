#!/usr/bin/env bash
# Builds one folder that runs on a machine with a GPU and nothing of ours: the program, the tests of the CUDA kernels,
# the benchmarks with the shared libraries they need (packed; run.sh unpacks them), their peers, configurations, small
# models. The driver, cuBLAS and cuSOLVER are the machine's: run.sh looks for them in the CUDA toolkit and in Python's
# nvidia packages. Usage: tools/gpu_bundle.sh [FOLDER], by default build/gpu-bundle/bundle.
set -euo pipefail
cd "$(dirname "$0")/.."

limit_bytes=50000000
build=build/gpu-bundle
bundle=${1:-$build/bundle}
programs=(subspect tests/cuda_test bench/bench_kernels bench/bench_step bench/bench_generate bench/bench_linalg)
# Of the C library and the driver: never packed.
system='^(linux-vdso|ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libcuda)[.-]'

tools/setup.sh
cmake --preset gpu-bundle
cmake --build --preset gpu-bundle

rm -rf "$bundle"
packed=$bundle/programs
mkdir -p "$packed/lib"
for program in "${programs[@]}"; do
  strip -o "$packed/$(basename "$program")" "$build/$program"
  ldd "$build/$program" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }'
done | sort -u | while read -r name file; do
  [[ $name =~ $system ]] || cp -L "$file" "$packed/lib/$name"
done
strip --strip-unneeded "$packed"/lib/*

tools/gpu_bundle/files.sh "$bundle"

# Every program starts with an empty environment, and finds all but the C library in the folder.
for program in "$packed"/{subspect,cuda_test,bench_*}; do
  if env -i ldd "$program" | grep -E 'not found'; then
    echo "gpu_bundle: $program lacks the libraries above" >&2
    exit 1
  fi
  env -i ldd "$program" | awk '$2 == "=>" { print $1, $3 }' | while read -r name file; do
    [[ $name =~ $system || $file == "$(realpath "$bundle")"/* ]] || { echo "gpu_bundle: $program loads $file" >&2; exit 1; }
  done
done
env -i "$packed/subspect" --version
tar -C "$bundle" -czf "$bundle/programs.tar.gz" programs
rm -rf "$packed"

bytes=$(du -sb "$bundle" | cut -f1)
echo "gpu_bundle: $bundle, $((bytes / 1000000)) MB"
if ((bytes > limit_bytes)); then
  echo "gpu_bundle: more than $((limit_bytes / 1000000)) MB" >&2
  exit 1
fi
