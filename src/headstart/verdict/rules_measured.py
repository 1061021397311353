"""What the rules look at, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.probe import ProbeEvidence
from headstart.evidence.similarity import Similarity
from headstart.evidence.statistics import Estimate
from headstart.verdict.decide import Verdict


@dataclass(frozen=True)
class Measurements:
    """What a study measured; whatever it did not is left out."""

    verdict: Verdict | None = None
    arms: Sequence[ArmEvidence] = ()
    images_per_class: float | None = None  # training images, the mean over classes
    similarity: Similarity | None = None
    probe: ProbeEvidence | None = None
    delta: float = 0.01  # accuracy that does not matter

    @property
    def lift(self) -> Estimate | None:
        """Share of a pixel model's mistakes that pretrained features remove."""
        return None if self.probe is None else self.probe.pixel_lift

    @property
    def choice(self) -> ArmEvidence | None:
        """The arm that was chosen."""
        return None if self.verdict is None else self.arm(self.verdict.choice)

    def arm(self, name: str | None) -> ArmEvidence | None:
        """The arm of that name, if it has a result."""
        named = (arm for arm in self.arms if arm.strategy == name and arm.accuracy is not None)
        return next(named, None)

    def best(self, names: Sequence[str]) -> ArmEvidence | None:
        """The most accurate of these arms, if any has a result."""
        found = [arm for arm in map(self.arm, names) if arm is not None]
        return max(found, key=accuracy, default=None)

    def tied(self, arm: ArmEvidence) -> bool:
        """Whether the images cannot tell the arm from the most accurate one."""
        return self.verdict is not None and arm.strategy in self.verdict.tied


@dataclass(frozen=True)
class Reason:
    """One thing to know, and where it is known from."""

    text: str  # a sentence without its full stop
    brief: str  # the same in a line of a terminal, without the source
    source: str


def accuracy(arm: ArmEvidence) -> float:
    """On validation; 0 without a result."""
    return arm.accuracy.value if arm.accuracy else 0.0
