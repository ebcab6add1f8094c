#!/usr/bin/env python3
"""Runs a study on a machine that fails, and checks that nothing is lost.

    tools/crash_study.py PROGRAM [--study configs/debug.yaml] [--kills 100] [--seed 0] [SCENARIO...]

The study first runs undisturbed. Then, for each scenario, it runs in a fresh folder, is disturbed, and runs again until it
is finished; its tables, samples, metrics (but for times) and weights must be those of the undisturbed run, byte for byte.
After every disturbance each file under a final name must be whole, and a stage that says it is finished must be right.

    kill      SIGKILL at random moments, as often as --kills says, over as many studies as that takes
    full      a disk that has room for a part of the study only, four sizes; then room is made
    readonly  a disk that is read-only when a killed study goes on; then it is writable again
    clock     a clock that jumps ten years forth and back at every other look
    twice     a second process on the same folder

`full` and `readonly` mount a tmpfs in a namespace of their own, `clock` compiles a small library; where the system does
not allow that, the scenario is reported as skipped. Exit codes: 0 all passed, 1 a check failed, 77 all were skipped.
"""

import argparse
import contextlib
import csv
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
ROOT = pathlib.Path(__file__).resolve().parent.parent
MEASURED = ("seconds", "tokens_per_second", "peak_bytes", "mfu")  # of metrics: not the same in two runs
NOT_COMPARED_FOLDERS = {"state", "tensorboard", "plots"}
NOT_COMPARED_FILES = {"environment.json", "log.txt", "report.html", "config.yaml", ".lock"}

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec* now) {
  static int (*real)(clockid_t, struct timespec*);
  static unsigned calls;
  if (!real) real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  const int result = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += (__sync_fetch_and_add(&calls, 1) % 2 ? 1 : -1) * 315360000L;
  return result;
}
"""


class Failed(Exception):
    """A check that did not hold."""


class Skipped(Exception):
    """What this system does not allow."""


class Study:
    """The program, the study, and what an undisturbed run of it gives."""

    def __init__(self, program, config):
        self.program = program
        self.config = config
        self.seconds = 0.0
        self.expected = {}

    def start(self, out, **environment):
        command = [self.program, "run", self.config, "--out", out]
        return subprocess.Popen(
            [str(word) for word in command], env={**os.environ, **environment}, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish(self, out, **environment):
        """Runs until the end, which must be a good one."""
        process = self.start(out, **environment)
        errors = process.communicate()[1]
        if process.returncode != 0:
            raise Failed(f"exit code {process.returncode}: {errors[-500:]}")

    def run_undisturbed(self, out):
        begin = time.monotonic()
        self.finish(out)
        self.seconds = time.monotonic() - begin
        self.expected = snapshot(out)

    def compare(self, out):
        found = snapshot(out)
        for name in sorted(self.expected.keys() | found.keys()):
            if self.expected.get(name) != found.get(name):
                raise Failed(f"{name} differs from that of the undisturbed run")

    def check_whole(self, out):
        """What can be read under a final name is whole, and a finished stage is right."""
        for path in out.rglob("*"):
            parts = path.relative_to(out).parts
            if path.is_file() and "state" not in parts and not any(map(temporary, parts)):
                check_file(path)
        for stage in out.glob("stages/*"):
            if not finished(stage):
                continue
            prefix = f"stages/{stage.name}/"
            found = {prefix + name: value for name, value in snapshot(stage).items()}
            expected = {name: value for name, value in self.expected.items() if name.startswith(prefix)}
            if found != expected:
                wrong = [name for name in expected if found.get(name) != expected[name]]
                raise Failed(f"{stage.name} says it is finished, but {wrong or 'more files'} differ")


def temporary(name):
    """A file or folder that is not yet under its final name; when the study is finished, none may be left."""
    return name.startswith(".") and name.endswith(".tmp")


def finished(stage):
    with contextlib.suppress(OSError, ValueError):
        return json.loads((stage / "environment.json").read_text())["status"] == "finished"
    return False


def compared(relative):
    """Tables, samples, metrics and models are compared; logs, times, reports and the state for resuming are not."""
    return not (NOT_COMPARED_FOLDERS.intersection(relative.parts) or relative.name in NOT_COMPARED_FILES)


def snapshot(folder):
    """Relative name -> hash of the contents, without what is measured."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or not compared(relative):
            continue
        data = path.read_bytes()
        if path.name == "metrics.jsonl":
            rows = [json.loads(line) for line in data.splitlines()]
            data = json.dumps([{k: v for k, v in row.items() if k not in MEASURED} for row in rows]).encode()
        hashes[str(relative)] = hashlib.sha256(data).hexdigest()
    return hashes


def check_file(path):
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".csv":
            check_table(path)
        elif path.suffix == ".safetensors":
            check_safetensors(path)
    except (ValueError, struct.error) as error:
        raise Failed(f"{path} is torn: {error}") from error


def check_table(path):
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    rows = list(csv.reader(text.splitlines()))
    if any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("rows differ in length")


def check_safetensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    if len(data) != 8 + length + end:
        raise ValueError(f"{len(data)} bytes, not {8 + length + end}")


def kill_after(study, out, seconds):
    """Starts or goes on, and kills after `seconds`. True when the study finished before."""
    process = study.start(out)
    try:
        errors = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode != 0:
        raise Failed(f"exit code {process.returncode} while going on: {errors[-500:]}")
    return True


def scenario_kill(study, folder, chance, kills):
    done, studies = 0, 0
    while done < kills:
        out = folder / f"killed-{studies}"
        while done < kills and not kill_after(study, out, chance.uniform(0, study.seconds / 2)):
            done += 1
            study.check_whole(out)
            print(f"\rkill {done} of {kills}", end="", file=sys.stderr, flush=True)
        study.finish(out)
        study.compare(out)
        shutil.rmtree(out)
        studies += 1
    print(file=sys.stderr)
    return f"{done} kills, {studies} studies"


@contextlib.contextmanager
def mounted(folder, size):
    """A tmpfs of `size` bytes at `folder`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        raise Skipped("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def expect_error(study, out, words):
    """The study must end with exit code 1 and one line of error with one of `words`."""
    process = study.start(out)
    errors = process.communicate()[1]
    lines = [line for line in errors.splitlines() if line.startswith("subspect: error: ")]
    if process.returncode != 1 or len(lines) != 1 or not any(word in lines[0] for word in words):
        raise Failed(f"exit code {process.returncode}, expected 1 and one error with {words}: {errors[-500:]}")


def scenario_full(study, folder, _chance, _kills):
    whole = sum(path.stat().st_size for path in (folder / "undisturbed").rglob("*") if path.is_file())
    shares = (0.05, 0.3, 0.6, 0.9)
    for share in shares:
        with mounted(folder / f"full-{share}", int(whole * share)) as disk:
            expect_error(study, disk / "out", ["No space left", "are needed"])
            study.check_whole(disk / "out")
            remount(disk, f"size={4 * whole}")
            study.finish(disk / "out")
            study.compare(disk / "out")
    return f"{len(shares)} sizes"


def scenario_readonly(study, folder, chance, _kills):
    with mounted(folder / "readonly", "1g") as disk:
        (disk / "out").mkdir()  # a folder that cannot be made is a wrong --out, another exit code
        rounds = 3
        for _ in range(rounds):
            if kill_after(study, disk / "out", study.seconds * chance.uniform(0.05, 0.25)) or finished(disk / "out"):
                break  # nothing is left to write
            remount(disk, "ro")
            expect_error(study, disk / "out", ["Read-only"])
            study.check_whole(disk / "out")
            remount(disk, "rw")
        study.finish(disk / "out")
        study.compare(disk / "out")
    return f"{rounds} times"


def scenario_clock(study, folder, chance, _kills):
    library = folder / "clock.so"
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Skipped("no C compiler")
    (folder / "clock.c").write_text(CLOCK, encoding="utf-8")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "clock.c", "-ldl"], check=True)
    out = folder / "clock"
    process = study.start(out, LD_PRELOAD=str(library))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=study.seconds * chance.uniform(0.2, 0.6))
    process.kill()
    process.communicate()
    study.check_whole(out)
    study.finish(out, LD_PRELOAD=str(library))
    study.compare(out)
    return "1 study, killed once"


def holder(out):
    """What the lock says of the process that has it; it is written once the lock is taken."""
    with contextlib.suppress(OSError):
        return (out / ".lock").read_text(encoding="utf-8")
    return ""


def scenario_twice(study, folder, _chance, _kills):
    out = folder / "twice"
    first = study.start(out)
    while not holder(out) and first.poll() is None:
        time.sleep(0.01)
    expect_error(study, out, ["another process", "in use", "lock"])
    if first.wait() != 0:
        raise Failed(f"the first process ended with {first.returncode}")
    study.compare(out)
    return "1 study"


SCENARIOS = {"kill": scenario_kill, "full": scenario_full, "readonly": scenario_readonly, "clock": scenario_clock,
             "twice": scenario_twice}


def enter_namespace():
    """Starts again where mounting is allowed and invisible to others, if the system has such a place."""
    if os.environ.get("CRASH_STUDY_NAMESPACE"):
        return
    unshare = ["unshare", "--mount", "--map-root-user", "--propagation", "private"]
    if shutil.which("unshare") and subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        os.environ["CRASH_STUDY_NAMESPACE"] = "1"
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--study", type=pathlib.Path, default=ROOT / "configs" / "debug.yaml")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_intermixed_args()
    unknown = set(arguments.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown scenario: {', '.join(sorted(unknown))}")
    enter_namespace()

    study = Study(arguments.program.resolve(), arguments.study.resolve())
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="crash-study-") as name:
        folder = pathlib.Path(name)
        study.run_undisturbed(folder / "undisturbed")
        print(f"undisturbed: {study.seconds:.1f} s, {len(study.expected)} files to compare", flush=True)
        for scenario in arguments.scenarios or SCENARIOS:
            try:
                text = SCENARIOS[scenario](study, folder, random.Random(arguments.seed), arguments.kills)
                outcomes.append("passed")
            except Skipped as reason:
                text = str(reason)
                outcomes.append("skipped")
            except Failed as reason:
                text = str(reason)
                outcomes.append("FAILED")
            print(f"{scenario:<10}{outcomes[-1]:<9}{text}", flush=True)
    if "FAILED" in outcomes:
        return 1
    return 0 if "passed" in outcomes else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
