#!/usr/bin/env bash
# Installs what a fresh Debian 12 / Ubuntu 22.04+ machine needs to build and test subspect.
# Idempotent: it asks dpkg first and calls apt-get only for what is missing. Works as root or with sudo.
# A CUDA toolkit is used when it is found, and is never installed from here.
set -euo pipefail

packages=(
  build-essential g++ cmake ninja-build ccache git pkg-config python3 # the build
  libyaml-cpp-dev nlohmann-json3-dev libcli11-dev libfmt-dev libspdlog-dev libpcre2-dev libutf8proc-dev
  libssl-dev libcurl4-openssl-dev libhwy-dev libopenblas-dev liblapacke-dev zlib1g-dev liblzma-dev libzstd-dev
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
if [[ ${#missing[@]} -eq 0 ]]; then
  exit 0
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
echo "setup: installing ${missing[*]}" >&2
"${as_root[@]}" apt-get update -q
"${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}"
