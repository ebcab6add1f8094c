#!/usr/bin/env bash
# Runs clang-tidy over the project's sources, in parallel, with the flags of a build folder. A file that passed is not
# checked again until it, a header or the configuration changed. A file that the build folder does not compile, such as
# the CUDA backend where there is no toolkit, is left out. Usage: tools/tidy.sh [--quick] BUILD_FOLDER [FILE...]
# --quick leaves out the checks that take three quarters of the time: paths through functions, parameters by value.
set -euo pipefail
cd "$(dirname "$0")/.."
checks=
if [[ $1 == --quick ]]; then
  checks=-clang-analyzer-*,-performance-unnecessary-value-param,-bugprone-reserved-identifier
  shift
fi
build=$1
shift
stamps=$build/tidy
mkdir -p "$stamps"

if [[ $# -gt 0 ]]; then
  files=("$@")
else
  mapfile -t files < <(git ls-files 'kernels/*.cpp' 'runtime/*.cpp' 'model/*.cpp' 'experiments/*.cpp' 'tools/*.cpp')
fi
mapfile -t files < <(printf '%s\n' "${files[@]}" | while read -r file; do
  if grep -qF "\"file\": \"$PWD/$file\"" "$build/compile_commands.json"; then
    echo "$file"
  else
    echo "clang-tidy: left out: $file" >&2
  fi
done)
export stamps build checks
export common
common=$({ git ls-files '*.h' | sort | xargs cat; cat .clang-tidy; echo "$checks"; } | sha256sum | cut -c1-16)
check() {
  local key stamp
  key=$({ echo "$common"; cat "$1"; } | sha256sum | cut -c1-32)
  stamp=$stamps/$key
  [[ -e $stamp ]] && return 0
  clang-tidy --quiet --checks="$checks" -p "$build" "$1" 2>/dev/null && touch "$stamp"
}
export -f check
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -I{} bash -c 'check "$1"' _ {}
