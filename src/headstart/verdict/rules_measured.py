"""What the rules look at, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.probe import ProbeEvidence
from headstart.evidence.similarity import Similarity
from headstart.evidence.statistics import Estimate
from headstart.metrics import WORDS, MetricName, Words
from headstart.verdict.decide import Verdict

SCRATCH = ("scratch", "scratch-gn")
FINE_TUNE = "fine-tune"


@dataclass(frozen=True)
class TrainingObjects:
    """The annotated objects of the training images."""

    images: int
    instances_per_image: float
    classes: int

    @property
    def instances(self) -> int:
        """Objects of all classes."""
        return round(self.images * self.instances_per_image)


@dataclass(frozen=True)
class Measurements:
    """What a study measured; whatever it did not is left out."""

    verdict: Verdict | None = None
    arms: Sequence[ArmEvidence] = ()
    images_per_class: float | None = None  # training images, the mean over classes
    similarity: Similarity | None = None
    probe: ProbeEvidence | None = None
    delta: float = 0.01  # a difference that does not matter
    metric: MetricName = "accuracy"
    objects: TrainingObjects | None = None  # None where images have labels and no objects

    @property
    def words(self) -> Words:
        """How the metric is spoken of."""
        return WORDS[self.metric]

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
        """The best of these arms, if any has a result."""
        found = [arm for arm in map(self.arm, names) if arm is not None]
        return max(found, key=accuracy, default=None)

    def tied(self, arm: ArmEvidence) -> bool:
        """Whether the images cannot tell the arm from the best one."""
        return self.verdict is not None and arm.strategy in self.verdict.tied

    def told(self, arm: ArmEvidence) -> str:
        """An arm with its metric: "linear 95.4%"."""
        return f"{arm.strategy} {self.words.value(accuracy(arm))}"


@dataclass(frozen=True)
class Reason:
    """One thing to know, and where it is known from."""

    text: str  # a sentence without its full stop
    brief: str  # the same in a line of a terminal, without the source
    source: str


def accuracy(arm: ArmEvidence) -> float:
    """The metric on validation; 0 without a result."""
    return arm.accuracy.value if arm.accuracy else 0.0
