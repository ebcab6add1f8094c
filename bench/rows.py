#!/usr/bin/env python3
"""Rows of bench/results: the columns that bench/rows.cpp writes, for the peers and for reading.

  rows.py check FILE...     fails on a file with other columns, a figure that is no finite number, an unchecked row
  rows.py summary FILE...   a table: each work with the median of its rounds, and what a peer takes for the same work
  rows.py self-test         plants each fault that `check` must find

Needs nothing but Python.
"""

import csv
import io
import math
import pathlib
import statistics
import sys

COLUMNS = ("device,date,version,commit,bench,implementation,name,dtype,shape,runs,median_seconds,spread_percent,bytes,"
           "flops,tokens_per_second,copy_percent,gemm_percent,peak_percent,memory_bytes,planned_bytes,checked").split(",")
TEXT = {"device", "date", "version", "commit", "bench", "implementation", "name", "dtype", "shape"}
NEEDED = TEXT | {"runs", "median_seconds", "spread_percent"}


def parse(text, where):
    """The rows of a file's text as dictionaries; raises ValueError where the columns differ."""
    lines = list(csv.reader(io.StringIO(text)))
    if not lines or lines[0] != COLUMNS:
        raise ValueError(f"{where}: the columns are not those of bench/rows.py")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(COLUMNS):
            raise ValueError(f"{where}:{number}: {len(line)} cells, not {len(COLUMNS)}")
    return [dict(zip(COLUMNS, line)) for line in lines[1:]]


def read(path):
    return parse(pathlib.Path(path).read_text(encoding="utf-8"), path)


def problems_of(row):
    """What is wrong with one row, in words."""
    for column in COLUMNS:
        cell = row[column]
        if not cell:
            if column in NEEDED:
                yield f"{column} is empty"
        elif column not in TEXT and column != "checked":
            try:
                value = float(cell)
            except ValueError:
                value = math.nan
            if not math.isfinite(value) or value < 0 or (value == 0 and column in ("runs", "median_seconds")):
                yield f"{column} is {cell}"
    if row["checked"] != "yes":
        yield "the result was not checked"


def sizes_of(row):
    """The shape's numbers and words by name."""
    return dict(part.split("=", 1) for part in row["shape"].split())


def append(path, row):
    """Adds a row; cells that are missing stay empty."""
    with open(path, "a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n").writerow(row)


def check(paths):
    failures = 0
    count = 0
    for path in paths:
        rows = read(path)
        count += len(rows)
        if not rows:
            failures += 1
            print(f"{path}: no rows")
        for number, row in enumerate(rows, 2):
            for problem in problems_of(row):
                failures += 1
                print(f"{path}:{number}: {row['name']}: {problem}")
    print(f"{count} rows, {failures} problems")
    return 1 if failures else 0


def median_by_work(rows):
    """Median seconds by (name, dtype, shape), then by implementation, in the order of the file."""
    works = {}
    for row in rows:
        work = works.setdefault((row["name"], row["dtype"], row["shape"]), {})
        work.setdefault(row["implementation"], []).append(row)
    return works


def summary(paths):
    rows = [row for path in paths for row in read(path)]
    print("| work | dtype | sizes | subspect | of copy | of GEMM | of peak | peer | takes | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for (name, dtype, shape), by_implementation in median_by_work(rows).items():
        def median(implementation, column="median_seconds"):
            cells = [float(row[column]) for row in by_implementation[implementation] if row[column]]
            return statistics.median(cells) if cells else None

        own = median("subspect") if "subspect" in by_implementation else None
        percents = [median("subspect", column) if own else None
                    for column in ("copy_percent", "gemm_percent", "peak_percent")]
        cells = [name, dtype, shape, f"{1e3 * own:.4g} ms" if own else ""] + [
            "" if percent is None else f"{percent:.0f} %" for percent in percents]
        peers = [implementation for implementation in by_implementation if implementation != "subspect"]
        for peer in peers or [""]:
            takes = median(peer) if peer else None
            ratio = f"{takes / own:.2f}" if takes and own else ""
            print("| " + " | ".join([*cells, peer, f"{1e3 * takes:.4g} ms" if takes else "", ratio]) + " |")
    return 0


def self_test():
    good = ["cpu", "2026-01-01", "0.1.0", "abc", "kernels", "subspect", "add", "float32", "cols=4", "3", "1e-3", "0.5",
            "48", "", "", "10", "", "", "", "", "yes"]
    assert len(good) == len(COLUMNS)

    def problems(**changes):
        return list(problems_of({**dict(zip(COLUMNS, good)), **changes}))

    assert not problems()
    for changes in ({"checked": "no"}, {"median_seconds": "nan"}, {"median_seconds": "0"}, {"flops": "inf"},
                    {"spread_percent": "-1"}, {"runs": ""}, {"device": ""}, {"bytes": "many"}):
        assert problems(**changes), changes
    for text in ("", "device,date\n", ",".join(COLUMNS) + "\n1,2\n"):
        try:
            parse(text, "planted")
        except ValueError:
            continue
        raise AssertionError(f"accepted: {text!r}")
    print("every planted fault was found")
    return 0


def main():
    commands = {"check": check, "summary": summary}
    if sys.argv[1:] == ["self-test"]:
        return self_test()
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return commands[sys.argv[1]](sys.argv[2:])
    except (OSError, ValueError) as error:
        print(f"rows.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
