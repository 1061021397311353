"""The question of a study: as it was asked, and with every automatic value resolved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headstart.detectors import Family, Normalization
from headstart.errors import HeadstartError
from headstart.execution import Costs
from headstart.records import write_text
from headstart.strategies import Strategy

SCHEMA = 1
TaskName = Literal["classes", "boxes", "masks", "keypoints"]
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Question(BaseModel):
    """What the user asked; None where headstart chooses."""

    model_config = ConfigDict(extra="forbid")

    data: str
    task: TaskName | None = None  # None: found from the annotations
    backbone: str = "efficientnet_lite0"
    weights: str = "pretrained"  # or a local weights file
    strategies: list[str] | None = None  # names or YAML files
    budget_seconds: float | None = Field(None, gt=0)  # wall clock for the whole study
    steps: int | None = Field(None, ge=1)  # of fine-tuning; scratch takes at least 3 x as many
    seeds: int | None = Field(None, ge=1, le=100)
    image_size: int | None = Field(None, ge=16, le=4096)
    batch_size: int | None = Field(None, ge=1)
    schedule: Literal["trapezoid", "fixed-tail"] = "trapezoid"
    delta: float = Field(0.01, gt=0, lt=1)  # differences below it do not matter to the user
    seed: int = Field(0, ge=0)  # of the splits and of everything drawn
    race: bool | None = None  # leave arms out that cannot matter; None: where there is a budget
    sizes: list[float] | None = None  # shares of the training images, beside all: `parse_sizes`
    detector: Family | None = None  # of objects; None: the R-CNN of the task
    normalization: Normalization | None = None  # of the detector; None: what the weights mean
    cascade: bool = False  # of the detector's box heads
    allow_small_batches: bool = False  # BatchNorm that learns from fewer than 16 images
    tuning_study: bool = False  # train at other rates too than those that the sweeps choose
    rate_factor: float | None = Field(None, gt=0)  # x the default rate, in place of a sweep

    @property
    def alone(self) -> bool:
        """Whether one arm is trained at one rate: nothing is tuned, timed or compared."""
        return self.rate_factor is not None

    @property
    def races(self) -> bool:
        """Whether arms may be left out before their last step."""
        return self.budget_seconds is not None if self.race is None else self.race


class ArmPlan(BaseModel):
    """One arm as it will be run."""

    strategy: Strategy
    seeds: list[int]
    unit: int  # steps of a phase of steps: 1; 0 where no step is taken
    seconds: float | None = None  # what the timed steps say all its runs will take
    state: Literal["pruned"] | None = None  # left out before it ran
    note: str | None = None


class SizePlan(BaseModel):
    """The arms on a subset of the training images."""

    share: float
    images: int
    arms: list[ArmPlan]


class Resolved(BaseModel):
    """Every automatic value, written down before anything runs."""

    images: int
    fingerprint: str  # of the data
    protocol: str
    image_size: int
    batch_size: int
    engine: str = "torch"  # that computes codes
    seeds: int
    arms: list[ArmPlan]
    sizes: list[SizePlan] = []  # the smallest first; all images are `arms`
    planning_seconds: float = 0.0
    costs: Costs | None = None  # what a step of each arm took before anything was trained
    not_timed: str | None = None  # why there are none


class StudyFile(BaseModel):
    """study.yaml."""

    schema_version: int = Field(SCHEMA, alias="schema")
    asked: Question
    resolved: Resolved

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The study that lies in `folder`, or None; HeadstartError for what cannot be read."""
        path = folder / "study.yaml"
        if not path.exists():
            return None
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, ValidationError) as error:
            raise HeadstartError(
                f"{path} is not a study of this version ({str(error).splitlines()[0]}). "
                "Choose another --out, or remove that folder."
            ) from error

    def write(self, folder: Path) -> None:
        """Write study.yaml."""
        content = self.model_dump(mode="json", by_alias=True)
        write_text(folder / "study.yaml", yaml.safe_dump(content, sort_keys=False))


def require_same(asked: Question, before: Question, folder: Path) -> None:
    """Refuse to mix two questions in one folder; say which option differs."""
    old, new = before.model_dump(), asked.model_dump()
    different = [name for name in new if old[name] != new[name]]
    if different:
        name = different[0]
        raise HeadstartError(
            f"{folder} holds another study: its {name.replace('_', ' ')} is {old[name]}, not "
            f"{new[name]}. Choose another --out, or ask the same question to continue."
        )


def parse_budget(text: str) -> float:
    """Seconds from ``90``, ``90s``, ``10m``, ``1.5h``; HeadstartError otherwise."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", text)
    if match is None or float(match[1]) == 0:
        raise HeadstartError(f"--budget '{text}' is no time; write it as 90s, 10m or 1.5h.")
    return float(match[1]) * _UNITS[match[2]]


def parse_sizes(asked: str | Sequence[str | float]) -> list[float]:
    """Shares under 1 from ``"1/16,1/4,1"`` or a list of such, the smallest first.

    All training images are the study itself, so 1 may be named or not. HeadstartError for what
    is no share, for one that is named twice, and where none is under 1.
    """
    words = asked.split(",") if isinstance(asked, str) else list(asked)
    shares = [_share(word) for word in words]
    doubled = [word for i, word in enumerate(words) if shares[i] in shares[:i]]
    if doubled:
        raise HeadstartError(f"--sizes names {str(doubled[0]).strip()} twice.")
    smaller = sorted(share for share in shares if share < 1)
    if not smaller:
        raise HeadstartError(
            "--sizes needs a share of the training images under 1, such as 1/16,1/4,1."
        )
    return smaller


def _share(word: str | float) -> float:
    try:
        share = float(Fraction(word))
    except (ValueError, OverflowError, ZeroDivisionError):
        share = 0.0
    if not 0 < share <= 1:
        raise HeadstartError(
            f"--sizes {str(word).strip() or 'nothing'} is no share of the training images; "
            "write shares above 0 and up to 1, such as 1/16,1/4,1."
        )
    return share


def question_from(**asked: Any) -> Question:
    """A question from keyword arguments; HeadstartError names the option that is wrong."""
    try:
        return Question.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_seconds", "").replace("_", "-")
        raise HeadstartError(f"--{option} {first['input']}: {first['msg']}.") from error
