"""`python -m backtest grid` runs what is missing of the grid, `pack` writes the table of it.

See backtest/README.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backtest import grid, packing
from backtest.cells import read_work
from backtest.sets import Sources
from headstart.errors import HeadstartError

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared"


def main() -> None:
    """Run one command."""
    arguments = _arguments()
    try:
        if arguments.command == "grid":
            if not arguments.anew and (count := grid.lay_out(arguments.work)):
                print(f"{count} cells are taken from {packing.TABLE}", flush=True)
            sources = Sources(arguments.data, arguments.fashion)
            grid.run(arguments.work, sources, arguments.weights, arguments.workers)
        elif arguments.command == "pack":
            count = packing.write_table(read_work(arguments.work))
            size = packing.TABLE.stat().st_size / 1e6
            print(f"{count} cells of {len(grid.places())}, {size:.1f} MB: {packing.TABLE}")
        else:
            grid.work_through(arguments.work, arguments.weights)
    except HeadstartError as error:
        raise SystemExit(str(error)) from error


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m backtest")
    commands = parser.add_subparsers(dest="command", required=True)
    whole = commands.add_parser("grid", help="run what is missing of the grid")
    whole.add_argument("--data", type=Path, default=SHARED / "data", help="the sample data sets")
    whole.add_argument(
        "--fashion",
        type=Path,
        default=Path("/usr/share/datasets/fashion-mnist"),
        help="Fashion-MNIST's idx files (Debian: dataset-fashion-mnist)",
    )
    whole.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    whole.add_argument("--anew", action="store_true", help="run the committed table's cells too")
    worker = commands.add_parser("worker", help="one of its processes")
    pack = commands.add_parser("pack", help="write the finished cells into the table")
    for command in (whole, worker, pack):
        command.add_argument("--work", type=Path, default=HERE / "progress", help="its folder")
    for command in (whole, worker):
        command.add_argument("--weights", type=Path, default=SHARED / "weights")
    return parser.parse_args()


if __name__ == "__main__":
    main()
