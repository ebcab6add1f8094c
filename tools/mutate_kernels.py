#!/usr/bin/env python3
"""Mutation test of the CUDA kernels: changes one thing in a kernel source, rebuilds the test program of the SIMT shim
with it and runs the cases of that kernel family. A mutant that no case notices marks a missing test, or changes
nothing that a test could see.

    tools/mutate_kernels.py build/release                        # the recorded sample; results to tests/simt/mutants.csv
    tools/mutate_kernels.py build/release --only attention --per-file 40
    tools/mutate_kernels.py --check                              # the committed results: enough mutants, enough killed

Survivors are judged by hand in tests/simt/equivalent_mutants.csv (file, original line, mutated line, why it is the same).
Needs a built simt_test in the build folder. Run by hand: several hundred mutants take a quarter of an hour or more.
"""

import argparse
import concurrent.futures
import csv
import dataclasses
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels" / "cuda"
RESULTS = ROOT / "tests" / "simt" / "mutants.csv"
EQUIVALENT = ROOT / "tests" / "simt" / "equivalent_mutants.csv"
LEAST_MUTANTS = 300
LEAST_SCORE = 0.90
TIME_LIMIT_S = 240  # a mutant that loops for ever counts as killed

# (what it does, pattern, replacement). Operators are matched with the blanks that clang-format puts around them, which
# spares template brackets, pointers and signs.
MUTATIONS = [
    ("drop barrier", r"^(\s*)(barrier|sync_warp)\([^;]*\);", r"\1;"),
    ("drop wait", r"^(\s*)cp_async_wait<\d+>\(\);", r"\1;"),
    ("wait for one copy less", r"cp_async_wait<0>\(\)", "cp_async_wait<1>()"),
    ("drop early return", r"^(\s*)if \([^;]*\) (return|continue|break);", r"\1;"),
    ("< becomes <=", r" < ", " <= "),
    ("<= becomes <", r" <= ", " < "),
    ("> becomes >=", r" > ", " >= "),
    (">= becomes >", r" >= ", " > "),
    ("== becomes !=", r" == ", " != "),
    ("!= becomes ==", r" != ", " == "),
    ("+ becomes -", r" \+ ", " - "),
    ("- becomes +", r" - ", " + "),
    ("* becomes +", r" \* ", " + "),
    ("/ becomes *", r" / ", " * "),
    ("% becomes /", r" % ", " / "),
    ("+= becomes -=", r" \+= ", " -= "),
    ("&& becomes ||", r" && ", " || "),
    ("|| becomes &&", r" \|\| ", " && "),
    ("other element", r"\[0\]", "[1]"),
    ("other element", r"\[1\]", "[0]"),
    ("other element", r"\[2\]", "[3]"),
    ("other element", r"\[3\]", "[2]"),
    ("index off by one", r"\[(\w+)\](?! *\()", r"[\1 + 1]"),
    ("true becomes false", r"\btrue\b", "false"),
    ("false becomes true", r"\bfalse\b", "true"),
]

# What host code, types and declarations contain is not the kernel.
SKIPPED_LINE = re.compile(
    r"^\s*(//|#|template\b|using\b|namespace\b|static_assert|constexpr\b|inline constexpr\b|GPU_(KERNEL|SHARED)|launch\()"
    r"|GPU_SHARED\(|\[\[|\bstd::|auto&?& .*\[|return std"
)


@dataclasses.dataclass(frozen=True)
class Mutant:
    file: str  # below kernels/cuda
    line: int
    what: str
    original: str
    mutated: str

    def key(self):
        return (self.file, self.original.strip(), self.mutated.strip())


def mutants_of(path):
    """Every single change of one source."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if SKIPPED_LINE.search(line):
            continue
        code = line.split("//")[0]
        for what, pattern, replacement in MUTATIONS:
            for match in re.finditer(pattern, code):
                mutated = code[: match.start()] + match.expand(replacement) + line[match.end() :]
                found.append(Mutant(path.name, number, what, line, mutated))
    return found


def sample(candidates, count, seed):
    """All dropped barriers and waits, and a seeded choice of the rest, spread over the source."""
    always = [m for m in candidates if m.what in ("drop barrier", "drop wait", "wait for one copy less")]
    rest = [m for m in candidates if m not in always]
    random.Random(f"{seed}:{candidates[0].file if candidates else ''}").shuffle(rest)
    chosen = always + rest[: max(0, count - len(always))]
    return sorted(chosen, key=lambda m: (m.line, m.what, m.mutated))


def includes(path):
    """The files of kernels/cuda that a source includes, itself first."""
    seen = [path.name]
    for name in seen:
        for match in re.finditer(r'#include "kernels/cuda/([\w.]+)"', (KERNELS / name).read_text()):
            if match.group(1) not in seen:
                seen.append(match.group(1))
    return seen


def suites_of(source):
    """The gtest filter of a .cu file's cases: all suites of the test files that include its header."""
    header = re.search(r'#include "(kernels/(?:cuda/)?\w+\.h)"', (KERNELS / source).read_text()).group(1)
    suites = set()
    for test in sorted((ROOT / "tests" / "simt").glob("*_test.cpp")):
        text = test.read_text()
        if f'#include "{header}"' in text:
            suites |= set(re.findall(r"^(?:SIMT_SUITE|TYPED_TEST|TEST|TEST_F|TEST_P)\((\w+)", text, re.MULTILINE))
    if not suites:
        sys.exit(f"mutate_kernels: no test in tests/simt includes {header}, which {source} implements")
    return ":".join(f"{suite}.*:{suite}/*:*/{suite}.*" for suite in sorted(suites))


class Builder:
    """Rebuilds simt_test with one source changed, outside of the build folder."""

    def __init__(self, build):
        self.build = build
        commands = subprocess.run(["ninja", "-C", build, "-t", "commands", "simt_test"], capture_output=True, text=True, check=True)
        lines = [line for line in commands.stdout.splitlines() if line.strip()]
        self.link = lines[-1].removeprefix(": && ").removesuffix(" && :")
        self.compile = {}
        for line in lines:
            match = re.search(r"-c (\S+/kernels/cuda/(\w+\.cu))$", line)
            if match:
                self.compile[match.group(2)] = line

    def object_of(self, source):
        return re.search(r" -o (\S+) ", self.compile[source]).group(1)

    def run(self, argv, **options):
        return subprocess.run(argv, cwd=self.build, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)

    def test(self, mutant, users):
        """'invalid', 'killed' or 'survived'."""
        with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
            folder = pathlib.Path(folder)
            overlay = folder / "kernels" / "cuda"
            overlay.mkdir(parents=True)
            lines = (KERNELS / mutant.file).read_text().splitlines()
            lines[mutant.line - 1] = mutant.mutated
            (overlay / mutant.file).write_text("\n".join(lines) + "\n")
            link = self.link.replace(" -o tests/simt_test ", f" -o {folder}/simt_test ")
            for user in users:
                target = folder / (user + ".o")
                argv = [a for a in shlex.split(self.compile[user]) if a != "-Werror" and not a.endswith("ccache")]
                argv[argv.index("-o") + 1] = str(target)
                argv[argv.index("-MF") + 1] = str(folder / "deps")
                source = overlay / user
                argv[-1] = str(source if source.exists() else KERNELS / user)
                argv[1:1] = ["-w", f"-I{folder}"]
                if self.run(argv).returncode != 0:
                    return "invalid"
                link = link.replace(f" {self.object_of(user)} ", f" {target} ")
            if self.run(shlex.split(link)).returncode != 0:
                return "invalid"
            selected = ":".join(suites_of(user) for user in users)
            argv = [folder / "simt_test", "--gtest_fail_fast", "--gtest_brief=1", f"--gtest_filter={selected}"]
            try:
                return "survived" if self.run(argv, timeout=TIME_LIMIT_S).returncode == 0 else "killed"
            except subprocess.TimeoutExpired:
                return "killed"


def read_equivalent():
    with EQUIVALENT.open(newline="") as file:
        return {(row["file"], row["original"], row["mutated"]): row["why"] for row in csv.DictReader(file)}


def summary(rows):
    """Prints the score; true when it is good enough."""
    equivalent = read_equivalent()
    survivors = [r for r in rows if r["result"] == "survived"]
    judged = [r for r in survivors if (r["file"], r["original"], r["mutated"]) in equivalent]
    counted = len(rows) - len(judged)
    killed = sum(r["result"] == "killed" for r in rows)
    files = sorted({r["file"] for r in rows})
    for name in files:
        mine = [r for r in rows if r["file"] == name]
        print(f"{name:28} {sum(r['result'] == 'killed' for r in mine):4} of {len(mine):4} killed")
    print(f"{len(rows)} mutants, {killed} killed, {len(survivors)} survived, {len(judged)} of them judged equivalent")
    print(f"score {killed / max(1, counted):.3f} of the {counted} others")
    for r in survivors:
        if r not in judged:
            print(f"  survived: {r['file']}:{r['line']} {r['what']}: {r['mutated']}")
    return len(rows) >= LEAST_MUTANTS and killed >= LEAST_SCORE * counted


def check_unchanged(builder, pool, sources):
    """An unchanged source must pass, or every mutant of it would count as killed."""
    first = {name: (KERNELS / name).read_text().splitlines()[0] for name in sources}
    tests = {name: pool.submit(builder.test, Mutant(name, 1, "nothing", line, line), [name]) for name, line in first.items()}
    for name, test in tests.items():
        if test.result() != "survived":
            sys.exit(f"mutate_kernels: the cases of the unchanged {name} fail")


def save(rows):
    """Writes the results so far, so that a run that is stopped leaves them."""
    stripped = [row | {"original": row["original"].strip(), "mutated": row["mutated"].strip()} for row in rows]
    stripped.sort(key=lambda r: (r["file"], int(r["line"]), r["what"], r["mutated"]))
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "line", "what", "original", "mutated", "result"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(stripped)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", nargs="?", type=pathlib.Path, help="build folder with simt_test")
    parser.add_argument("--only", default="", help="sources whose name contains this")
    parser.add_argument("--per-file", type=int, default=25, help="mutants of each source")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--check", action="store_true", help="only judge the committed results")
    options = parser.parse_args()
    if options.check:
        with RESULTS.open(newline="") as file:
            sys.exit(0 if summary(list(csv.DictReader(file))) else 1)
    if options.build is None:
        parser.error("a build folder is needed")

    builder = Builder(options.build.resolve())
    used_by = {}
    for source in builder.compile:
        for name in includes(KERNELS / source):
            used_by.setdefault(name, []).append(source)
    plan = []
    for name in sorted(used_by):
        if options.only in name and name not in ("platform.h", "ptx.cuh"):  # the shim has those functions of its own
            plan += sample(mutants_of(KERNELS / name), options.per_file, options.seed)

    old = []
    if options.only and RESULTS.exists():
        with RESULTS.open(newline="") as file:
            old = [row for row in csv.DictReader(file) if options.only not in row["file"]]
    rows = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        check_unchanged(builder, pool, sorted({user for m in plan for user in used_by[m.file]}))
        tests = {pool.submit(builder.test, m, used_by[m.file]): m for m in plan}
        for done, test in enumerate(concurrent.futures.as_completed(tests), start=1):
            mutant = tests[test]
            result = test.result()
            print(f"{done}/{len(plan)} {result:8} {mutant.file}:{mutant.line} {mutant.what}", file=sys.stderr, flush=True)
            if result != "invalid":
                rows.append(dataclasses.asdict(mutant) | {"result": result})
                save(rows + old)
    with RESULTS.open(newline="") as file:
        sys.exit(0 if summary(list(csv.DictReader(file))) else 1)


if __name__ == "__main__":
    main()
