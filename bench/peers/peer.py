"""What the peers share: arguments, the works to repeat, timing, rows.

A peer repeats works that a benchmark of ours has just written to --csv: it reads their sizes there, does the same work
with PyTorch, and adds rows with the percentages of the peaks that the same file holds.
"""

import argparse
import datetime
import math
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import rows  # noqa: E402  (bench/rows.py)

MISSING = 77  # the exit code where the peer's packages are not installed


def require(*names):
    """The modules of these names; ends the program with one line where one is missing."""
    found = []
    for name in names:
        try:
            found.append(__import__(name))
        except ImportError as error:
            print(f"peers: left out: {error} (in {sys.executable}); pip install torch transformers", file=sys.stderr)
            sys.exit(MISSING)
    return found


torch, = require("torch")


class Peer:
    """One run of a peer program on one device."""

    def __init__(self, bench, description):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--csv", required=True, help="rows of ours to repeat; the peer's are added to them")
        parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
        parser.add_argument("--threads", type=int, default=0, help="of the CPU; all cores unless given")
        parser.add_argument("--processor-time", action="store_true", help="instead of the clock's; with --threads=1")
        parser.add_argument("--quick", action="store_true", help="few runs")
        parser.add_argument("--seconds", type=float, default=1.0, help="of timing for each row")
        parser.add_argument("--filter", default="", help="only what has this in its name")
        parser.add_argument("--compile", action="store_true", help="torch.compile on the CPU too; on a GPU always")
        self.options = parser.parse_args()
        if self.options.device == "cuda" and not torch.cuda.is_available():
            print("peers: left out: PyTorch finds no GPU", file=sys.stderr)
            sys.exit(MISSING)
        if self.options.threads:
            torch.set_num_threads(self.options.threads)
            torch.set_num_interop_threads(self.options.threads)
        self.bench = bench
        self.device = torch.device(self.options.device)
        self.compiles = self.options.compile or self.on_gpu
        self.label = f"pytorch {torch.__version__}"
        # Float32 products stay float32, as ours.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.manual_seed(1)
        ours = [row for row in rows.read(self.options.csv) if row["implementation"] == "subspect"]
        if not ours:
            raise SystemExit(f"peers: {self.options.csv} has no rows of ours to repeat")
        self.peaks = {(row["name"], row["dtype"]): self.rate(row) for row in ours if row["name"].endswith("_peak")}
        works = {(row["name"], row["dtype"], row["shape"]): row for row in ours if row["bench"] == bench}
        self.works = [row for row in works.values() if self.options.filter in row["name"]]
        self.failed = False

    @property
    def on_gpu(self):
        return self.device.type == "cuda"

    @staticmethod
    def rate(row):
        return float(row["bytes"] or row["flops"]) / float(row["median_seconds"])

    def synchronize(self):
        if self.on_gpu:
            torch.cuda.synchronize()

    def seconds_of(self, run, calls):
        now = time.process_time if self.options.processor_time else time.perf_counter
        begin = now()
        for _ in range(calls):
            run()
        self.synchronize()
        return (now() - begin) / calls

    def time(self, run):
        """As Session::time: samples of at least 5 ms each, their number by --seconds."""
        once = max(1e-6, self.seconds_of(run, 1))
        calls = 1 if self.options.quick else max(1, math.ceil(5e-3 / once))
        samples, total = [], 0.0
        while len(samples) < (3 if self.options.quick else 7) or (
                not self.options.quick and total < self.options.seconds and len(samples) < 101):
            samples.append(self.seconds_of(run, calls))
            total += samples[-1] * calls
        return len(samples) * calls, samples

    def measure(self, work, run, correct, label=None):
        """Times `run` and adds the row of the work of ours that it repeats. `correct` looks at the last result."""
        label = label or self.label
        for _ in range(2):  # the second call is past what is made once
            result = run()
        self.synchronize()
        if not correct(result):
            print(f"{label}: {work['name']} {work['dtype']} {work['shape']}: wrong result", file=sys.stderr)
            self.failed = True
            return
        del result
        count, samples = self.time(run)
        median = statistics.median(samples)
        quartiles = statistics.quantiles(samples, n=4, method="inclusive")
        row = {column: work[column] for column in ("device", "date", "version", "commit", "bench", "name", "dtype",
                                                   "shape", "bytes", "flops")}
        row["date"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
        row.update(implementation=label, runs=count, median_seconds=f"{median:.6g}",
                   spread_percent=f"{100 * (quartiles[2] - quartiles[0]) / median:.2f}", checked="yes")
        own_seconds = float(work["median_seconds"])
        for column in ("copy_percent", "gemm_percent", "peak_percent", "tokens_per_second"):
            if work[column]:  # the same work: only the time differs
                row[column] = f"{float(work[column]) * own_seconds / median:.5g}"
        if self.on_gpu:
            row["memory_bytes"] = torch.cuda.max_memory_allocated()
        rows.append(self.options.csv, row)
        print(f"{label:<28} {work['name']:<26} {work['dtype']:<9} {work['shape']:<62} {1e3 * median:>11.4f} ms, "
              f"{median / own_seconds:.2f} times ours", flush=True)

    def exit_code(self):
        return 1 if self.failed else 0


def dtype_of(work):
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[work["dtype"]]


def near(actual, expected, dtype, scale=1.0):
    """As KernelBench::near, for tensors."""
    epsilon = 1e-4 if dtype == torch.float32 else 2e-2
    difference = (actual.double() - expected.double()).abs()
    return bool((difference <= epsilon * (expected.double().abs() + scale)).all())


def shapes_folder():
    return pathlib.Path(__file__).resolve().parents[1] / "shapes"
