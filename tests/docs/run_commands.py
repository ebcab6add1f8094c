#!/usr/bin/env python3
"""Runs the commands that the documentation shows.

Every ```sh block of README.md, CONTRIBUTING.md and docs/*.md is run, line by line, in the project's root, with the build's
`subspect` first on PATH; a command that fails, fails the check. A block is left out only when the line before it is an
HTML comment that says why: `<!-- not run: takes 15 minutes; CI runs its parts -->`. A block that a comment
`<!-- run in: FOLDER -->` precedes runs in that folder below a scratch folder, which all blocks of one page share.

Usage: tests/docs/run_commands.py BUILD_FOLDER [PAGE...]
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

BLOCK = re.compile(
    r"(?:^[ ]*<!--\s*(?P<note>[^>]*?)\s*-->\n+)?^[ ]*```sh\n(?P<body>.*?)^[ ]*```$", re.MULTILINE | re.DOTALL)


def run_block(body, folder, environment, where):
    print(f"-- {where}", flush=True)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", body], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if result.returncode != 0:
        print(f"{body}{result.stdout}{where}: exit code {result.returncode}", flush=True)
    return result.returncode == 0


def run_page(root, page, environment, scratch):
    text = page.read_text(encoding="utf-8")
    ran = failed = skipped = 0
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("body"))
        where = f"{page.relative_to(root)}:{line}"
        note = match.group("note") or ""
        if note.startswith("not run:"):
            print(f"-- {where} {note}", flush=True)
            skipped += 1
            continue
        folder = root
        if note.startswith("run in:"):
            folder = scratch / note.removeprefix("run in:").strip()
            folder.mkdir(parents=True, exist_ok=True)
        ran += 1
        failed += not run_block(match.group("body"), folder, environment, where)
    return ran, failed, skipped


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    build = pathlib.Path(sys.argv[1]).resolve()
    pages = [pathlib.Path(page).resolve() for page in sys.argv[2:]] or [
        root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]
    environment = dict(os.environ, PATH=f"{build}{os.pathsep}{os.environ['PATH']}", SUBSPECT_SOURCE=str(root))
    totals = [0, 0, 0]
    for page in pages:
        with tempfile.TemporaryDirectory() as scratch:
            totals = [a + b for a, b in zip(totals, run_page(root, page, environment, pathlib.Path(scratch)))]
    print(f"{totals[0] - totals[1]} passed, {totals[1]} failed, {totals[2]} skipped")
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main())
