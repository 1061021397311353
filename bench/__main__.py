"""`python -m bench [--only PART,PART] [--data FOLDER] [--to FILE]`."""

from __future__ import annotations

from pathlib import Path

from bench import detection, extraction, folder, heads, memory, partial, step
from bench.measuring import Part, measure, parser


def main() -> None:
    """Measure every part, or those that are named, and write the table."""
    asked = parser("python -m bench")
    asked.add_argument("--data", type=Path, help="a folder of photos with train/ and val/")
    arguments = asked.parse_args()
    parts: dict[str, Part] = {
        "extraction": extraction.marks,
        "heads": heads.marks,
        "partial": partial.marks,
        "step": step.marks,
        "detection": detection.marks,
        "folder": lambda work: folder.marks(work, arguments.data),
        "memory": memory.marks,
    }
    measure(parts, arguments.only, arguments.to, "Speed marks", "make bench")


if __name__ == "__main__":
    main()
