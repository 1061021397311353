"""`python -m bench [--only PART,PART] [--data FOLDER] [--to FILE]`."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import detection, extraction, folder, heads, memory, partial, step, table
from bench.pairs import Mark, Skipped

Part = Callable[[Path], Iterator[Mark | Skipped]]


def main() -> None:
    """Measure every part, or those that are named, and write the table."""
    arguments = _arguments()
    parts: dict[str, Part] = {
        "extraction": extraction.marks,
        "heads": heads.marks,
        "partial": partial.marks,
        "step": step.marks,
        "detection": detection.marks,
        "folder": lambda work: folder.marks(work, arguments.data),
        "memory": memory.marks,
    }
    wanted = arguments.only.split(",") if arguments.only else list(parts)
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
    if arguments.to:
        table.write(arguments.to, found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", help="parts to measure, separated by commas")
    parser.add_argument("--data", type=Path, help="a folder of photos with train/ and val/")
    parser.add_argument("--to", type=Path, help="a Markdown file for the table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
