"""Fails when an include points the wrong way.

Dependencies run tools, bench, tests -> experiments -> model -> runtime -> kernels. The check reads every source file of
the project and compares the folder of each quoted include with the folder of the file that holds it. It also fails on a
quoted include that names no file, and on a source file that does not open with a comment on what it is for.
"""

import pathlib
import re
import sys

ORDER = ["kernels", "runtime", "model", "experiments"]
TOP = ["tools", "bench", "tests"]
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}


def allowed(folder):
    """bench_simt runs the kernels under the shim of the tests."""
    if folder in ORDER:
        return set(ORDER[: ORDER.index(folder) + 1])
    return set(ORDER + [folder]) | ({"tests"} if folder == "bench" else set())


def problems_of(root, path):
    relative = path.relative_to(root)
    folder = relative.parts[0]
    text = path.read_text(encoding="utf-8")
    if path.suffix in {".h", ".cuh"} and not text.startswith(("//", "/*")):
        yield f"{relative}: does not open with a comment on what it is for"
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        target = match.group(1)
        if not (root / target).is_file():
            yield f"{relative}:{line}: \"{target}\" is not a file of the project (include from the project's root)"
        elif target.split("/")[0] not in allowed(folder):
            yield f"{relative}:{line}: {folder} must not include {target}"


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    files = [
        path
        for folder in ORDER + TOP
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in SUFFIXES and path.is_file()
    ]
    problems = [problem for path in files for problem in problems_of(root, path)]
    print("\n".join(problems) if problems else f"{len(files)} files: every include points the right way")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
