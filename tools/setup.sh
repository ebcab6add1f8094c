#!/usr/bin/env bash
# Installs what a fresh Debian 12 / Ubuntu 22.04+ machine needs to build and test subspect.
# Idempotent: it asks dpkg first and calls apt-get only for what is missing. Works as root or with sudo.
# A CUDA toolkit is used when it is found, and is never installed from here.
set -euo pipefail

packages=(
  build-essential g++ cmake ninja-build ccache git pkg-config python3 python3-pip # the build
  libyaml-cpp-dev nlohmann-json3-dev libcli11-dev libfmt-dev libspdlog-dev libpcre2-dev libutf8proc-dev
  libssl-dev libcurl4-openssl-dev libsqlite3-dev libhwy-dev libopenblas-dev liblapacke-dev
  zlib1g-dev liblzma-dev libzstd-dev
  libgtest-dev libgmock-dev librapidcheck-dev libboost-context-dev # tests and benches
  libopenmpi-dev openmpi-bin                                   # runs on several ranks
  clang clang-format clang-tidy libclang-rt-dev                # checks
  chromium                                                     # renders the report in a test
)

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [[ $status == "install ok installed" ]] || missing+=("$package")
done
install_missing() {
  local as_root=()
  if [[ $(id -u) -ne 0 ]]; then
    as_root=(sudo)
  fi
  export DEBIAN_FRONTEND=noninteractive
  echo "setup: installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}"
}
if [[ ${#missing[@]} -gt 0 ]]; then
  install_missing
fi

# Apache Arrow for reading Parquet, out of the Python package pyarrow: its wheel holds the C++ headers and libraries.
# Unpacked, not installed: no Python uses it. A machine that cannot have it builds and tests without Parquet.
pyarrow=26.0.1
arrow_folder=${XDG_CACHE_HOME:-$HOME/.cache}/subspect/pyarrow-$pyarrow
fetch_pyarrow() {
  local work
  work=$(mktemp -d)
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.11 \
    --platform "manylinux_2_28_$(uname -m)" --dest "$work" "pyarrow==$pyarrow" >&2 &&
    python3 -m zipfile -e "$work"/pyarrow-*.whl "$work/unpacked" &&
    mkdir -p "$(dirname "$arrow_folder")" && mv -T "$work/unpacked" "$arrow_folder"
  local status=$?
  rm -rf "$work"
  return $status
}
if [[ ! -d $arrow_folder ]] && ! fetch_pyarrow; then
  echo "setup: no wheel of pyarrow $pyarrow could be had: the build has no Parquet, and its tests are skipped" >&2
fi
