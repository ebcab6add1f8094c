#!/usr/bin/env python3
"""Runs the comparisons with other software and writes their worst errors into docs/fidelity.md.

    tools/fidelity.py [BUILD]        default: build/release, where the tests are built
    tools/fidelity.py --check        only: every comparison that the tests name has a row, and every row a comparison

Needs only the standard library.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "fidelity.md"
BEGIN, END = "<!-- measured: tools/fidelity.py -->\n", "<!-- end -->\n"
# Test programs and the tests in them that record errors (tests/fidelity.h).
PROGRAMS = {
    "model_test": "*TransformersParity.*:*SteeringHooks.*:ManyTexts*:*ManyTextsOf.*",
    "cli_test": "StudyOracle.*:*EvaluationOracle.*",
    "experiments_test": "TrainerParity.*",
}


def measure(build):
    """{comparison: (tolerance, worst error, number of values)}"""
    worst = {}
    with tempfile.TemporaryDirectory() as folder:
        for program, tests in PROGRAMS.items():
            record = pathlib.Path(folder) / program
            subprocess.run([build / "tests" / program, f"--gtest_filter={tests}", "--gtest_brief=1"], check=True,
                           env=os.environ | {"SUBSPECT_FIDELITY": str(record)})
            for line in record.read_text().splitlines():
                name, tolerance, error = line.split("\t")
                before = worst.get(name, (0.0, 0.0, 0))
                worst[name] = (float(tolerance), max(before[1], float(error)), before[2] + 1)
    return worst


def table(worst):
    rows = ["| comparison | values | tolerance | worst error |", "|---|---|---|---|"]
    for name in sorted(worst, key=str.lower):
        tolerance, error, count = worst[name]
        rows.append(f"| {name} | {count:,} | {'equal' if tolerance == 0 else f'{tolerance:.2g}'} | "
                    f"{'equal' if error == 0 else f'{error:.2g}'} |")
    return "\n".join(rows) + "\n"


def named_in_tests():
    """The string literals that comparisons are named by."""
    text = "".join(path.read_text() for path in (ROOT / "tests").rglob("*_test.cpp")
                   if "tests/fidelity.h" in path.read_text())
    return text


def check():
    text = PAGE.read_text()
    rows = re.findall(r"^\| ([^|]+) \| [\d,]+ \|", text[text.index(BEGIN):text.index(END)], re.MULTILINE)
    sources = named_in_tests()
    missing = [row for row in rows if f'"{row.removesuffix(" (ranks)")}' not in sources]
    literals = re.findall(r'(?:expect_within|expect_equal|compare)\(\s*\{?"([^"]+)"', sources)
    absent = [name for name in literals if name not in rows]
    for name in missing:
        print(f"docs/fidelity.md has a row '{name}' that no test records")
    for name in absent:
        print(f"docs/fidelity.md has no row for '{name}': run tools/fidelity.py")
    if not rows or missing or absent:
        sys.exit(1)
    print(f"{len(rows)} comparisons")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.check:
        check()
        return
    text = PAGE.read_text()
    before, after = text[:text.index(BEGIN)], text[text.index(END):]
    PAGE.write_text(before + BEGIN + table(measure(arguments.build)) + after)
    check()  # a test that was skipped has no row


if __name__ == "__main__":
    main()
