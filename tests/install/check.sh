#!/usr/bin/env bash
# Installs a build folder into a temporary prefix, runs the installed program, and builds a small project against the
# installed package. Usage: tests/install/check.sh BUILD_FOLDER
set -euo pipefail
build=$(realpath "$1")
source=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
version=$("$work/prefix/bin/subspect" --version)
expected=$(sed -n 's/^project(subspect VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")
[[ $version == "subspect $expected "* ]] || { echo "subspect --version says '$version', not subspect $expected"; exit 1; }
cmake -S "$source/tests/install/consumer" -B "$work/consumer" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/configure.log" ||
  { cat "$work/configure.log"; exit 1; }
cmake --build "$work/consumer"
"$work/consumer/consumer"
