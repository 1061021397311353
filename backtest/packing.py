"""The committed table: every finished cell as a line of JSON, compressed together."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path

from backtest.cells import Cell
from headstart.records import replacing

TABLE = Path(__file__).parent / "results" / "cells.jsonl.xz"


def write_table(cells: Iterable[Cell], path: Path = TABLE) -> int:
    """Write the cells, in their order, atomically; how many there were.

    The same cells give the same bytes.
    """
    count = 0
    with replacing(path) as temporary, lzma.open(temporary, "wt", preset=9, encoding="utf-8") as to:
        for cell in cells:
            to.write(cell.model_dump_json() + "\n")
            count += 1
    return count


def read_table(path: Path = TABLE) -> Iterator[Cell]:
    """The cells of a table, as they were written."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield Cell.model_validate_json(line)
