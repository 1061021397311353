"""Running the parts that are asked for, and the table of their marks."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench import table
from bench.pairs import Mark, Skipped

Part = Callable[[Path], Iterator[Mark | Skipped]]


def parser(program: str) -> argparse.ArgumentParser:
    """For `--only` and `--to`."""
    asked = argparse.ArgumentParser(prog=program)
    asked.add_argument("--only", help="parts to measure, separated by commas")
    asked.add_argument("--to", type=Path, help="a Markdown file for the table")
    return asked


def measure(
    parts: Mapping[str, Part], only: str | None, to: Path | None, title: str, command: str
) -> None:
    """Measure every part, or those that `only` names; print the table and write it `to` a file."""
    wanted = only.split(",") if only else list(parts)
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        raise SystemExit(f"--only {unknown[0]}: the parts are {', '.join(parts)}")
    found: list[Mark | Skipped] = []
    print(table.HEADER, flush=True)
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as work:
        for name in wanted:
            for mark in parts[name](Path(work)):
                print(table.line(mark), flush=True)
                found.append(mark)
        if to:  # first: to remove a million folders takes minutes
            table.write(to, found, title, command)
