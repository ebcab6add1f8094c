#!/usr/bin/env python3
"""Compares two safetensors files of float32 tensors: fails when a tensor differs by more than TOLERANCE times its norm.

Usage: compare_logits.py EXPECTED ACTUAL TOLERANCE. Needs nothing but Python.
"""

import array
import json
import math
import struct
import sys


def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise SystemExit(f"{path}: {name} is {entry['dtype']}, not F32")
        begin, end = entry["data_offsets"]
        tensors[name] = array.array("f", data[begin:end])
    return tensors


def main():
    expected, actual, tolerance = read(sys.argv[1]), read(sys.argv[2]), float(sys.argv[3])
    if not expected or expected.keys() != actual.keys():
        raise SystemExit(f"the files hold other tensors: {sorted(expected)} and {sorted(actual)}")
    failed = False
    for name, values in sorted(expected.items()):
        others = actual[name]
        if len(values) != len(others):
            raise SystemExit(f"{name}: {len(values)} and {len(others)} numbers")
        norm = math.sqrt(sum(x * x for x in values))
        error = math.sqrt(sum((x - y) ** 2 for x, y in zip(values, others))) / max(norm, 1e-30)
        wrong = not error <= tolerance
        failed = failed or wrong
        print(f"{name}: relative difference {error:.2e}{' is too large' if wrong else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
