"""The probe profile in study.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from headstart.evidence.probe import Candidate, ProbeEvidence, Trend
from headstart.evidence.statistics import Estimate
from headstart.verdict.answer_parts import Cost, Interval, Open, Strict


class ErrorAnswer(Strict):
    """A share of images that were answered wrong, and its 95% interval."""

    error: float
    low: float
    high: float


class StageAnswer(ErrorAnswer):
    """The error of a head on the code of one stage."""

    name: str


class LearningAnswer(ErrorAnswer):
    """The error of a head that was solved on so many training images."""

    images: int


class EarlierAnswer(Strict):
    """A clearly better stage than the last: see `headstart.evidence.probe.EarlierStage`."""

    name: str
    difference: float
    standard_errors: float


class CandidateAnswer(Strict):
    """An arm, and the signal that put it where it is."""

    strategy: str
    signal: str | None


class ProbeAnswer(Open):
    """The profile of frozen features: see `headstart.evidence.probe.ProbeEvidence`."""

    images: int  # training images that were looked at
    of_images: int
    stages: list[StageAnswer]
    all_stages: ErrorAnswer
    knn: ErrorAnswer
    pixels: ErrorAnswer
    pixel_lift: Interval | None  # null where the pixel model makes no mistake
    best_stage: str
    earlier: EarlierAnswer | None
    learning_curve: list[LearningAnswer]
    gain_per_doubling: Interval | None  # null with fewer than three sizes
    trend: Trend | None
    order: list[CandidateAnswer]  # of the arms; none is ruled out
    cost: Cost


def probe_answer(found: ProbeEvidence, order: Sequence[Candidate]) -> ProbeAnswer:
    """The profile as study.json holds it."""
    content: dict[str, Any] = asdict(found)
    for name in ("all_stages", "knn", "pixels"):
        content[name] = _error(getattr(found, name))
    content["stages"] = [{"name": s.name, **_error(s.error)} for s in found.stages]
    content["learning_curve"] = [
        {"images": point.images, **_error(point.error)} for point in found.learning_curve
    ]
    content["order"] = [asdict(candidate) for candidate in order]
    content["cost"] = found.cost.model_dump()
    return ProbeAnswer.model_validate(content)


def _error(found: Estimate) -> dict[str, float]:
    return {"error": found.value, "low": found.low, "high": found.high}
