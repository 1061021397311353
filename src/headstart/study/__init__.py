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
from headstart.study.reproducing import Reproduced, reproduce_study
from headstart.study.result import Result
from headstart.study.verifying import Verification, verify
from headstart.study.where import Where

__all__ = [
    "ArmPlan",
    "Inspection",
    "Listener",
    "Question",
    "Reproduced",
    "Result",
    "Verification",
    "Where",
    "conduct",
    "inspect",
    "parse_budget",
    "parse_sizes",
    "question_from",
    "reproduce_study",
    "verify",
]
