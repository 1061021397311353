"""study.json: the answer to a study, in a versioned schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field

from headstart.evidence.arms import ArmEvidence, ArmState
from headstart.evidence.outlook import Outlook
from headstart.evidence.probe import Candidate, ProbeEvidence
from headstart.evidence.sizes import Sizes
from headstart.evidence.statistics import Estimate
from headstart.evidence.transplants import Transplants
from headstart.evidence.tuning import Tuning
from headstart.metrics import MetricName
from headstart.verdict.answer_objects import ObjectsAnswer
from headstart.verdict.answer_outlook import OutlookAnswer, outlook_answer
from headstart.verdict.answer_parts import Cost, Interval, Open, Strict
from headstart.verdict.answer_probe import ProbeAnswer, probe_answer
from headstart.verdict.answer_profile import Profile
from headstart.verdict.answer_seconds import Seconds, StudySeconds
from headstart.verdict.answer_sizes import SizesAnswer, sizes_answer
from headstart.verdict.answer_tuning import TuningAnswer, tuning_answer
from headstart.verdict.decide import Verdict
from headstart.verdict.rules_measured import Reason

SCHEMA: Literal[1] = 1


class Metric(Interval):
    """An interval with the name of what was measured."""

    name: MetricName = "accuracy"


class CostWithPretraining(Strict):
    """The part of a ledger that is known of pretraining too."""

    images: int
    pixels: int
    flops: float


class ArmAnswer(Open):
    """One arm: see `headstart.evidence.arms.ArmEvidence`."""

    strategy: str
    state: ArmState
    metric: Metric | None  # on validation
    test: Metric | None  # on the test split, where it was opened for this arm
    start: float | None
    slope: float | None  # gained per 1% of the arm's steps
    asymptote: Interval | None
    cost: Cost
    sweep_cost: Cost | None
    seconds: Seconds | None = None
    cost_with_pretraining: CostWithPretraining
    still_rising: bool
    steps_multiple: float | None
    seeds: list[int]
    note: str | None
    trials: list[str]


class PairAnswer(Strict):
    """How two arms compare: see `headstart.verdict.decision.Pair`."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p_a_better: float
    mcnemar: float | None
    resolving_power: float
    tied: bool


class RuleAnswer(Strict):
    """What a rule says: see `headstart.verdict.rules`."""

    rule: str
    text: str
    brief: str  # the same in few words
    source: str


class VerdictAnswer(Open):
    """The advice: see `headstart.verdict.decide.Verdict`."""

    choice: str | None
    tied: list[str]
    confidence: float | None
    sentence: str
    reasons: list[str]
    rules: list[RuleAnswer] = Field(default_factory=list)
    pairs: list[PairAnswer]


class CutAnswer(Strict):
    """One cut of the transplants: see `headstart.evidence.transplants.Cut`."""

    n: int
    stage: str  # the last one below the cut
    co_adaptation: Interval | None
    specificity: Interval | None
    gain: Interval | None
    retraining: Interval | None


class TrendAnswer(Strict):
    """How a quantity changes with depth: see `headstart.evidence.transplants.Trend`."""

    change: Interval
    p_falls: float


class TransplantsAnswer(Open):
    """Co-adaptation and specificity by depth: see `headstart.evidence.transplants`."""

    base: str
    cuts: list[CutAnswer]
    transfer: TrendAnswer | None
    selffer: TrendAnswer | None
    specificity: TrendAnswer | None


class Question(Open):
    """What was asked, every automatic value resolved."""

    data: str
    backbone: str
    strategies: list[str]
    budget_seconds: float | None
    steps: int | None
    seeds: int
    image_size: int
    batch_size: int
    delta: float


class StudyAnswer(Open):
    """The whole of study.json."""

    schema_version: Literal[1] = Field(alias="schema")
    metric: MetricName = "accuracy"  # what arms are judged by; `accuracy` in older versions
    question: Question
    profile: Profile
    arms: list[ArmAnswer]
    verdict: VerdictAnswer
    transplants: TransplantsAnswer | None = None  # null where no transplant has a result
    probe: ProbeAnswer | None = None  # null where no arm reads codes of the pretrained network
    outlook: OutlookAnswer | None = None  # null without both scratch and a pretrained arm
    sizes: SizesAnswer | None = None  # null unless asked for
    tuning: TuningAnswer | None = None  # null unless asked for
    objects: ObjectsAnswer | None = None  # null unless objects are found in the images
    seconds: StudySeconds | None = None
    model: Literal["best"] | None
    versions: dict[str, str]
    machine: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary under the names of study.json, in the order of the schema."""
        return self.model_dump(mode="json", by_alias=True)


def answer(
    *,
    question: Mapping[str, Any],
    profile: Mapping[str, Any],
    arms: Sequence[ArmEvidence],
    verdict: Verdict,
    tests: Mapping[str, Estimate],
    model: Literal["best"] | None,
    versions: Mapping[str, str],
    machine: Mapping[str, Any],
    transplants: Transplants | None = None,
    stages: Sequence[str] = (),
    probe: ProbeEvidence | None = None,
    order: Sequence[Candidate] = (),
    outlook: Outlook | None = None,
    sizes: Sizes | None = None,
    tuning: Tuning | None = None,
    rules: Mapping[str, Reason] | None = None,
    objects: ObjectsAnswer | None = None,
    seconds: StudySeconds | None = None,
    arm_seconds: Mapping[str, Seconds] | None = None,
    metric: MetricName = "accuracy",
) -> StudyAnswer:
    """Put the answer together; `tests` holds the metric on the test split, by strategy.

    `stages` are the names of the network's stages, which the transplants' cuts are told by; `order`
    is that in which the probe profile puts the arms. `rules` are by name, `arm_seconds` by
    strategy. `objects` comes from `objects_answer`.

    `question` and `profile` may hold more than their models name. A field of the wrong type, and
    a number that is none, raise `pydantic.ValidationError`.
    """
    return StudyAnswer(
        schema=SCHEMA,
        metric=metric,
        question=Question.model_validate(dict(question)),
        profile=Profile.model_validate(dict(profile)),
        arms=[
            _arm(arm, tests.get(arm.strategy), (arm_seconds or {}).get(arm.strategy), metric)
            for arm in arms
        ],
        verdict=VerdictAnswer(
            **asdict(verdict),
            rules=[RuleAnswer(rule=name, **asdict(said)) for name, said in (rules or {}).items()],
        ),
        transplants=_transplants(transplants, stages) if transplants else None,
        probe=probe_answer(probe, order) if probe else None,
        outlook=outlook_answer(outlook, question["delta"], metric) if outlook else None,
        sizes=sizes_answer(sizes, metric) if sizes else None,
        tuning=tuning_answer(tuning, delta=question["delta"], metric=metric) if tuning else None,
        objects=objects,
        seconds=seconds,
        model=model,
        versions=dict(versions),
        machine=dict(machine),
    )


def _transplants(found: Transplants, stages: Sequence[str]) -> TransplantsAnswer:
    content = asdict(found)
    cuts = [{**cut, "stage": stages[cut["n"] - 1]} for cut in content.pop("cuts")]
    return TransplantsAnswer.model_validate({**content, "cuts": cuts})


def _arm(
    arm: ArmEvidence, test: Estimate | None, seconds: Seconds | None, metric: MetricName
) -> ArmAnswer:
    return ArmAnswer(
        strategy=arm.strategy,
        state=arm.state,
        metric=Metric(name=metric, **asdict(arm.accuracy)) if arm.accuracy else None,
        test=Metric(name=metric, **asdict(test)) if test else None,
        start=arm.start,
        slope=arm.slope,
        asymptote=Interval(**asdict(arm.asymptote)) if arm.asymptote else None,
        cost=Cost(**arm.cost.model_dump()),
        sweep_cost=Cost(**arm.sweep_cost.model_dump()) if arm.sweep_cost else None,
        seconds=seconds,
        cost_with_pretraining=CostWithPretraining(**asdict(arm.cost_with_pretraining)),
        still_rising=arm.still_rising,
        steps_multiple=arm.steps_multiple,
        seeds=list(arm.seeds),
        note=arm.note,
        trials=list(arm.trials),
    )
