"""The strategy table, the named strategies, and default numbers (no torch)."""

from headstart.strategies.named import NAMES, SOLVED, choose, named, read_strategies
from headstart.strategies.named_objects import FROM_COCO, OBJECT_NAMES, named_for_objects
from headstart.strategies.table import CONTROL, Phase, Row, Strategy, describe, resolve

__all__ = [
    "CONTROL",
    "FROM_COCO",
    "NAMES",
    "OBJECT_NAMES",
    "SOLVED",
    "Phase",
    "Row",
    "Strategy",
    "choose",
    "describe",
    "named",
    "named_for_objects",
    "read_strategies",
    "resolve",
]
