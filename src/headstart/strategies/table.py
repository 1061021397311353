"""A strategy is a small table: stages of the network x phases of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headstart.errors import HeadstartError
from headstart.seeds import seed_for

HEAD = "head"  # the row below the last stage: the classifier
ARM = "arm:"  # begins a place: the weights that another arm of the study ends with
CONTROL = "frozen-random"  # the one arm that may freeze weights which were not loaded
TRIAL = "trial:"  # the same once that arm was run: the key of its trial


class Phase(BaseModel):
    """One column: which rows learn, how fast, for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learn: str | tuple[str, ...] = "all"  # "all", "head", "last K" stages, or names of rows
    steps: float = Field(1.0, gt=0)  # as a multiple of the study's step unit
    rate: float | None = Field(None, gt=0)  # peak rate of the head; None: from the defaults
    first_stage: float = Field(1.0, gt=0, le=1)  # rate of the first stage as a share of the head's
    extend: bool = False  # goes on while the validation curve rises and the budget lasts
    exact: bool = False  # takes its steps, all of them and no more, whatever the curve says

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.exact and self.extend:
            raise ValueError("a phase that takes exactly its steps cannot be extended")
        return self


class Strategy(BaseModel):
    """What begins where, how the head begins, and the phases of training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$")
    # or "random", a weights file, "arm:NAME", or one of these for each stage
    start: str | dict[str, str] = "pretrained"
    draw: int = Field(0, ge=0)  # with the same seed, the same number draws the same random weights
    head: Literal["logistic", "svm", "new"] = "logistic"  # solved on codes, or drawn anew
    codes: Literal["last", "all"] = "last"  # what a solved head reads: the last stage, or every one
    norm: Literal["own", "group"] = "own"  # BatchNorm as the network has it, or GroupNorm instead
    batchnorm: Literal["frozen", "live"] = "frozen"  # statistics as loaded, or of each batch
    phases: tuple[Phase, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.phases and self.head == "new":
            raise ValueError("a strategy without phases must solve its head (logistic or svm)")
        if self.phases and self.codes == "all":
            raise ValueError("codes: all needs a head of its own, so it cannot have phases")
        if self.phases and self.head == "svm":
            raise ValueError("head: svm reads unit-norm codes and cannot be trained further")
        if self.phases and "random" in self.starts and self.batchnorm == "frozen":
            raise ValueError("start: random has no statistics to freeze; say batchnorm: live")
        if self.norm == "group" and self.start != "random":
            raise ValueError("norm: group needs start: random, BatchNorm weights do not fit it")
        if self.sources and not self.phases:
            raise ValueError("start: arm:NAME needs phases in which something learns")
        return self

    @property
    def trains(self) -> bool:
        """Whether any step is taken."""
        return bool(self.phases)

    @property
    def starts(self) -> set[str]:
        """The different places that its weights begin at, other arms of the study apart."""
        return {place for place in self._places if not place.startswith((ARM, TRIAL))}

    @property
    def from_scratch(self) -> bool:
        """Whether it learns and all of it begins at random."""
        return self.trains and self.starts == {"random"} and not self.sources

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the arms of the study whose trained weights it begins with."""
        return tuple(sorted(p.removeprefix(ARM) for p in self._places if p.startswith(ARM)))

    @property
    def _places(self) -> set[str]:
        return {self.start} if isinstance(self.start, str) else set(self.start.values())

    def beginning(self, places: Mapping[str, str]) -> Strategy:
        """The same strategy with some places that its weights begin at replaced by others."""
        if isinstance(self.start, str):
            return self.model_copy(update={"start": places.get(self.start, self.start)})
        start = {stage: places.get(place, place) for stage, place in self.start.items()}
        return self.model_copy(update={"start": start})

    def drawing_seed(self, seed: int) -> int:
        """The seed of its random weights: two arms draw alike where seed and `draw` agree."""
        return seed_for(seed, "draw", self.draw) if self.draw else seed

    @property
    def steps(self) -> float:
        """All its steps, as a multiple of the study's step unit."""
        return sum(phase.steps for phase in self.phases)


class Row(BaseModel):
    """One line of the resolved table: a stage, where it begins, its rate share in each phase."""

    model_config = ConfigDict(frozen=True)

    stage: str
    start: str
    shares: tuple[float, ...]  # of the phase's rate; 0 where it does not learn


def resolve(strategy: Strategy, stages: Sequence[str]) -> list[Row]:
    """The table with one row for each stage and one for the head.

    Between the first stage and the head the rate falls geometrically with depth, whether or not
    the stages in between learn (Howard and Ruder 2018, section 3.2; fastai's `fine_tune`).

    Raises HeadstartError for stages that the network does not have.
    """
    rows = [*stages, HEAD]
    starts = _starts(strategy, stages)
    learning = [_learning(strategy.name, phase.learn, stages) for phase in strategy.phases]
    table = []
    for depth, stage in enumerate(rows):
        position = 1 - depth / (len(rows) - 1)  # 1 for the first stage, 0 for the head
        shares = tuple(
            phase.first_stage**position if stage in learns else 0.0
            for phase, learns in zip(strategy.phases, learning, strict=True)
        )
        table.append(Row(stage=stage, start=starts.get(stage, "new"), shares=shares))
    _refuse_frozen_random(strategy, table)
    return table


def _starts(strategy: Strategy, stages: Sequence[str]) -> dict[str, str]:
    if isinstance(strategy.start, str):
        return dict.fromkeys(stages, strategy.start)
    unknown = [name for name in strategy.start if name not in stages]
    missing = [name for name in stages if name not in strategy.start]
    if unknown or missing:
        raise HeadstartError(
            f"Strategy '{strategy.name}': start must name each stage once; "
            f"unknown: {unknown or 'none'}, missing: {missing or 'none'}."
        )
    return dict(strategy.start)


def _learning(name: str, learn: str | tuple[str, ...], stages: Sequence[str]) -> set[str]:
    if learn == "all":
        return {*stages, HEAD}
    if learn == HEAD:
        return {HEAD}
    if isinstance(learn, str) and learn.startswith("last "):
        count = learn.removeprefix("last ")
        if count.isdigit() and 1 <= int(count) <= len(stages):
            return {*stages[-int(count) :], HEAD}
        raise HeadstartError(f"Strategy '{name}': '{learn}' must be last 1 to last {len(stages)}.")
    rows = {learn} if isinstance(learn, str) else set(learn)
    unknown = rows - {*stages, HEAD}
    if unknown:
        raise HeadstartError(
            f"Strategy '{name}' learns unknown stages {sorted(unknown)}; "
            f"the network has: {', '.join(stages)}."
        )
    return rows


def _refuse_frozen_random(strategy: Strategy, table: Sequence[Row]) -> None:
    """Rule 1: weights that were not loaded are never frozen, except in the control arm."""
    if strategy.name == CONTROL:
        return
    drawn = {"random", "new"} if strategy.head == "new" else {"random"}
    frozen = [row.stage for row in table if row.start in drawn and not any(row.shares)]
    if frozen:
        raise HeadstartError(
            f"Strategy '{strategy.name}' would freeze random weights in {', '.join(frozen)}. "
            f"Let them learn, or start them pretrained; the control for this is {CONTROL}."
        )


def describe(strategy: Strategy, stages: Sequence[str]) -> dict[str, Any]:
    """The strategy and its resolved table as plain data, for records."""
    rows = [row.model_dump(mode="json") for row in resolve(strategy, stages)]
    return {**strategy.model_dump(mode="json"), "table": rows}
