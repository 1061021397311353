"""Study: the question, its plan, its run, and its answer."""

from headstart.study.conduct import conduct
from headstart.study.inspecting import Inspection, inspect
from headstart.study.listener import Listener
from headstart.study.question import (
    ArmPlan,
    Question,
    parse_budget,
    parse_sizes,
    question_from,
)
from headstart.study.result import Result

__all__ = [
    "ArmPlan",
    "Inspection",
    "Listener",
    "Question",
    "Result",
    "conduct",
    "inspect",
    "parse_budget",
    "parse_sizes",
    "question_from",
]
