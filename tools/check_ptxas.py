#!/usr/bin/env python3
"""Proves from ptxas' own report that the CUDA kernels keep their values in registers.

Every kernel of the given .cu files (default: all of kernels/cuda) is compiled for sm_80 and sm_90a; files with sm90 in
their name for sm_90a only. A violation is: registers spilled, local memory (a stack frame, an array in local memory), a
kernel without launch bounds, more registers than a multiprocessor has for a block of the size that the launch bounds
allow, or more than 48 KiB of static shared memory. Prints a table (a kernel a row with --verbose, else a file a row and
the kernels with a violation); exits with 1 when there is a violation.

    tools/check_ptxas.py [--verbose] [FILE.cu...]
    tools/check_ptxas.py --registers FILE.csv      also compares the registers of each kernel with those in the file,
                                                   if the file is of this version of nvcc
    tools/check_ptxas.py --write-registers FILE.csv
    tools/check_ptxas.py --self-test    plants kernels with each fault and fails when one is not reported
"""

import argparse
import concurrent.futures
import csv
import dataclasses
import difflib
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGISTERS = 65536  # of a multiprocessor, since compute capability 3.5
STATIC_SHARED = 48 << 10
ARCHITECTURES = {"sm_80": "compute_80", "sm_90a": "compute_90a"}

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS_USED = re.compile(r"Used (\d+) registers")
SHARED_USED = re.compile(r"(\d+) bytes smem")
LOCAL_USED = re.compile(r"(\d+) bytes lmem")
PTX_ENTRY = re.compile(r"\.entry (\w+)\(")
PTX_THREADS = re.compile(r"\.maxntid (\d+)(?:, (\d+))?(?:, (\d+))?")

FAULTS = """
extern "C" __global__ void __launch_bounds__(1024) spills(const float* x, float* y) {
  float v[128];
#pragma unroll
  for (int i = 0; i < 128; ++i) v[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 128; ++i) y[i * 1024 + threadIdx.x] = v[i] * v[(i * 37 + 5) % 128];
}
extern "C" __global__ void __launch_bounds__(128) local_array(const int* x, int* y) {
  int v[64];
  for (int i = 0; i < 64; ++i) v[i] = i;
  for (int i = 0; i < 64; ++i) v[x[i] & 63] += x[i + 1];
  y[threadIdx.x] = v[x[threadIdx.x] & 63];
}
extern "C" __global__ void no_bounds(float* y) { y[threadIdx.x] = 1; }
extern "C" __global__ void __launch_bounds__(128) clean(float* y) { y[threadIdx.x] = 1; }
"""


@dataclasses.dataclass
class Kernel:
    file: str
    name: str
    architecture: str
    threads: int = 0
    registers: int = 0
    stack: int = 0
    spills: int = 0
    local: int = 0
    shared: int = 0

    def problems(self):
        if self.spills:
            yield f"{self.spills} bytes of registers are spilled"
        if self.stack or self.local:
            yield f"{max(self.stack, self.local)} bytes of local memory"
        if self.threads == 0:
            yield "no launch bounds"
        allocated = -(-self.registers // 8) * 8  # registers are given in groups of eight to each thread of a warp
        if allocated * self.threads > REGISTERS:
            yield f"{self.registers} registers x {self.threads} threads exceed {REGISTERS}"
        if self.shared > STATIC_SHARED:
            yield f"{self.shared} bytes of static shared memory exceed {STATIC_SHARED}"


def find_tool(name):
    for folder in [os.environ.get("CUDA_HOME", "") + "/bin", "/usr/local/cuda/bin"]:
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return shutil.which(name)


def run(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def launch_bounds(ptx):
    """Threads of a block by kernel; the directive stands between a kernel's parameters and its body."""
    bounds = {}
    for match in PTX_ENTRY.finditer(ptx):
        body = ptx.find("{", match.end())
        found = PTX_THREADS.search(ptx, match.end(), body)
        sizes = [int(size) for size in found.groups() if size] if found else [0]
        threads = 1
        for size in sizes:
            threads *= size
        bounds[match.group(1)] = threads
    return bounds


def examine(file, architecture):
    """The kernels of one file, compiled for one architecture."""
    with tempfile.TemporaryDirectory() as folder:
        ptx = pathlib.Path(folder) / "kernels.ptx"
        run([find_tool("nvcc"), "-std=c++20", f"-I{ROOT}", "-O3", "-ptx", f"-arch={ARCHITECTURES[architecture]}", "-o", ptx, file])
        report = run([find_tool("ptxas"), "-v", f"-arch={architecture}", "-o", "/dev/null", ptx])
        bounds = launch_bounds(ptx.read_text())
    kernels = []
    for line in report.splitlines():
        if match := ENTRY.search(line):
            kernels.append(Kernel(file.name, match.group(1), architecture, bounds[match.group(1)]))
        elif kernels and (match := FRAME.search(line)):
            kernels[-1].stack = max(kernels[-1].stack, int(match.group(1)))
            kernels[-1].spills = max(kernels[-1].spills, int(match.group(2)) + int(match.group(3)))
        elif kernels and (match := REGISTERS_USED.search(line)):
            kernels[-1].registers = int(match.group(1))
            for pattern, field in ((SHARED_USED, "shared"), (LOCAL_USED, "local")):
                if found := pattern.search(line):
                    setattr(kernels[-1], field, int(found.group(1)))
    if len(kernels) != len(bounds) or any(kernel.registers == 0 for kernel in kernels):
        raise RuntimeError(f"{file}: ptxas reports {len(kernels)} of {len(bounds)} kernels; its output has a new form?\n{report}")
    return kernels


def examine_all(files):
    work = [(file, architecture) for file in files for architecture in ARCHITECTURES
            if architecture == "sm_90a" or "sm90" not in file.name]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda item: examine(*item), work))
    return [kernel for kernels in results for kernel in kernels]


def readable(names):
    """Demangled names without namespaces, parameters and return types."""
    if not shutil.which("c++filt"):
        return names
    text = run(["c++filt", *names])
    short = []
    for line in text.splitlines():
        line = re.sub(r"subspect::kernels::(gpu::)?|\(anonymous namespace\)::", "", line)
        depth = 0
        for position, character in enumerate(line):
            depth += {"<": 1, ">": -1}.get(character, 0)
            if character == "(" and depth == 0:
                line = line[:position]
                break
        short.append(line.removeprefix("void "))
    return short


def print_table(kernels, verbose):
    names = readable([kernel.name for kernel in kernels])
    width = min(60, max(map(len, names)))
    print(f"{'file':26} {'kernel':{width}} {'arch':7} {'threads':>7} {'regs':>5} {'stack':>6} {'spills':>6} {'smem':>6}")
    rows = []
    for kernel, name in zip(kernels, names):
        rows.append(f"{kernel.file:26} {name[:width]:{width}} {kernel.architecture:7} {kernel.threads:7} "
                    f"{kernel.registers:5} {kernel.stack:6} {kernel.spills:6} {kernel.shared:6}")
    for row, kernel in sorted(zip(rows, kernels), key=lambda pair: pair[0]):
        problems = list(kernel.problems())
        if verbose or problems:
            print(row)
        for problem in problems:
            print(f"    violation: {problem}")


def print_summary(kernels):
    """The most of each file and architecture."""
    print(f"{'file':32} {'arch':7} {'kernels':>7} {'regs':>5} {'stack':>6} {'spills':>6} {'smem':>6}")
    for file, architecture in sorted({(kernel.file, kernel.architecture) for kernel in kernels}):
        group = [kernel for kernel in kernels if (kernel.file, kernel.architecture) == (file, architecture)]
        most = [max(getattr(kernel, field) for kernel in group) for field in ("registers", "stack", "spills", "shared")]
        print(f"{file:32} {architecture:7} {len(group):7} {most[0]:5} {most[1]:6} {most[2]:6} {most[3]:6}")


def nvcc_version():
    return re.search(r"release ([\d.]+)", run([find_tool("nvcc"), "--version"])).group(1)


def registers_text(kernels):
    """A row for each kernel, with its registers for each architecture: what bench_simt computes occupancy from."""
    names = readable([kernel.name for kernel in kernels])
    rows = {}
    for name, kernel in zip(names, kernels):
        rows.setdefault((kernel.file, name, kernel.threads), {})[kernel.architecture] = kernel.registers
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["nvcc", "file", "kernel", "threads", *ARCHITECTURES])
    for (file, name, threads), registers in sorted(rows.items()):
        writer.writerow([nvcc_version(), file, name, threads, *(registers.get(a, "") for a in ARCHITECTURES)])
    return out.getvalue()


def compare_registers(path, kernels):
    """The number of differing lines; none are looked for where another version of nvcc wrote the file."""
    before = path.read_text()
    after = registers_text(kernels)
    if before.split("\n")[1].split(",")[0] != nvcc_version():
        print(f"{path} is of another version of nvcc: not compared")
        return 0
    lines = [line for line in difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
             if not line.startswith(("---", "+++", "@@"))]
    print("\n".join(lines + [f"{len(lines)} lines differ from {path}" + (
        ": tools/check_ptxas.py --write-registers renews it, then bench_simt --update" if lines else "")]))
    return len(lines)


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "faults.cu"
        file.write_text(FAULTS)
        kernels = examine_all([file])
    print_table(kernels, verbose=True)
    expected = {"spills": "spilled", "local_array": "local memory", "no_bounds": "no launch bounds"}
    failures = 0
    for kernel in kernels:
        text = "; ".join(kernel.problems())
        wanted = expected.get(kernel.name, "")
        if (wanted not in text) if wanted else text:
            print(f"self-test: {kernel.name} for {kernel.architecture} should give '{wanted}', but gives '{text}'")
            failures += 1
    planted = dataclasses.replace(kernels[0], stack=0, spills=0, local=0, threads=1024, registers=65, shared=(48 << 10) + 1)
    text = "; ".join(planted.problems())
    if "exceed 65536" not in text or "exceed 49152" not in text:
        print(f"self-test: too many registers and too much shared memory give '{text}'")
        failures += 1
    if len(kernels) != 8:
        print(f"self-test: {len(kernels)} kernels were found, not 8")
        failures += 1
    print("self-test: " + ("failed" if failures else "every planted fault is reported"))
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    parser.add_argument("--verbose", action="store_true", help="every kernel, not only those with a violation")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--registers", type=pathlib.Path, metavar="FILE.csv", help="compare with the registers in this file")
    parser.add_argument("--write-registers", type=pathlib.Path, metavar="FILE.csv", help="write them there")
    arguments = parser.parse_args()
    if not find_tool("nvcc") or not find_tool("ptxas"):
        print("skipped: no nvcc")
        return 0
    if arguments.self_test:
        return self_test()
    files = arguments.files or sorted((ROOT / "kernels" / "cuda").glob("*.cu"))
    kernels = examine_all(files)
    violations = sum(len(list(kernel.problems())) for kernel in kernels)
    if not arguments.verbose:
        print_summary(kernels)
    if arguments.verbose or violations:
        print_table(kernels, arguments.verbose)
    print(f"{len(kernels)} kernels of {len(files)} files, {violations} violations")
    if arguments.write_registers:
        arguments.write_registers.write_text(registers_text(kernels))
    differences = compare_registers(arguments.registers, kernels) if arguments.registers else 0
    return 1 if violations or differences or not kernels else 0


if __name__ == "__main__":
    sys.exit(main())
