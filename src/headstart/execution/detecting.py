"""What the trials of a study of objects share: annotated images, one detector but for weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.flop_counter import FlopCounterMode

from headstart.backbones import Learner
from headstart.data.object_views import short_side_size
from headstart.detectors import (
    Detector,
    DetectorSpecification,
    build,
    check_batch_size,
    same_but_weights,
)
from headstart.detectors.coco import START as COCO
from headstart.detectors.coco import coco_backbone
from headstart.execution.setting import Setting, Start, digests_of, weights_of
from headstart.records import Ledger
from headstart.strategies import Strategy, defaults, resolve
from headstart.strategies.detection_recipes import DetectionRecipe
from headstart.strategies.optimizing import Optimizer
from headstart.strategies.schedule import Shape
from headstart.tasks.objects import STATISTICS_IMAGES, ObjectData, ObjectDetection
from headstart.training import Keeping, Recipe


@dataclass(kw_only=True)
class DetectionSetting(Setting):
    """The annotated images, and the detector that every arm trains."""

    data: ObjectData
    specification: DetectorSpecification
    allow_small: bool = False  # whether BatchNorm may learn from batches under 16 images
    recipe: DetectionRecipe | None = None  # how trials train; AdamW by `schedule` where None

    def on(self, training: npt.NDArray[np.int64]) -> DetectionSetting:
        """The same with other training images."""
        other = replace(self, data=replace(self.data, training=training))
        other.reference = self.reference
        return other

    @property
    def evaluated(self) -> int:
        """The validation images, and those that BatchNorm's statistics are estimated from."""
        return len(self.data.splits.validation) + min(STATISTICS_IMAGES, len(self.training))

    @property
    def has_validation_loss(self) -> bool:
        """No: detectors have losses in training alone."""
        return False

    @property
    def judged_per_learned(self) -> float:
        """See `Setting.judged_per_learned`."""
        return defaults.JUDGED_PER_LEARNED_OBJECTS

    def natural_steps(self, images: int) -> int:
        """See `Setting.natural_steps`."""
        return defaults.object_steps(images, self.batch)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a typical image as the network sees it."""
        own = self.specification
        height, width = np.median(self.data.dataset.sizes, axis=0).astype(int).tolist()
        return short_side_size((height, width), own.short_side, own.long_side)

    @property
    def pixels(self) -> int:
        """Of a typical image as the network sees it."""
        return self.size[0] * self.size[1]

    @cached_property
    def reference(self) -> Detector:
        """The detector with the pretrained backbone."""
        return build(self.specification, self.weights, seed=self.seed)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the backbone's stages that are read."""
        return self.reference.stage_names

    @cached_property
    def flops(self) -> tuple[float, ...]:
        """Of the stages, on a typical image; what is on top of them is the head."""
        detector = self.reference
        chain, modes = detector.backbone.chain, detector.training
        detector.eval()
        image = torch.zeros(3, *self.size, device=next(detector.parameters()).device)
        rows = []
        with torch.no_grad():
            value = image[None]
            for index in range(len(self.stages)):
                with FlopCounterMode(display=False) as counter:
                    value = chain.run(value, index, index + 1)
                rows.append(float(counter.get_total_flops()))
            with FlopCounterMode(display=False) as counter:
                detector([image])
        detector.train(modes)
        return (*rows, max(0.0, counter.get_total_flops() - sum(rows)))

    @property
    def changes(self) -> tuple[str, ...]:
        """See `Setting.changes`."""
        return self.reference.origin.changes

    @property
    def better_than_small(self) -> str | None:
        """See `Setting.better_than_small`."""
        live = self.specification.normalization in ("batch", "sync-batch")
        small = live and self.batch < defaults.SMALL_BATCH
        return "larger batches, or a backbone with GroupNorm" if small else None

    @property
    def shape(self) -> Shape:
        """See `Setting.shape`."""
        return self.recipe or super().shape

    @property
    def optimizer(self) -> Optimizer:
        """See `Setting.optimizer`."""
        return super().optimizer if self.recipe is None else self.recipe.optimizer

    def rate(self, *, pretrained: bool) -> float:
        """See `Setting.rate`; a recipe has one for all arms."""
        if self.recipe is None:
            return super().rate(pretrained=pretrained)
        return self.recipe.peak(self.batch)

    @property
    def shared(self) -> dict[str, object]:
        """See `Setting.shared`."""
        splits = self.data.splits
        recipe = {} if self.recipe is None else {"recipe": asdict(self.recipe)}
        parts = [splits.train, splits.validation, splits.test, self.training]
        return {
            "data": self.data.dataset.fingerprint(),
            "kind": self.data.kind,
            "splits": digests_of(parts),
            "detector": asdict(self.specification),
            "views": asdict(self.data.views),
            "weights": self.reference.origin.digest,
            **recipe,
        }

    def start(self, strategy: Strategy, seed: int) -> Start:
        """The detector with the backbone's weights from where the strategy's table says.

        Raises HeadstartError where it is another network than the other arms train, and for
        BatchNorm that would learn from small batches (see `check_batch_size`).
        """
        check_batch_size(self.specification, self.batch, allow_small=self.allow_small)
        rows = resolve(strategy, self.stages)
        drawn = strategy.drawing_seed(seed)
        places = {row.stage: self._weights(row.start) for row in rows[:-1]}
        detectors = {
            place: build(
                self.specification, self.weights if place == "pretrained" else place, seed=drawn
            )
            for place in dict.fromkeys(places.values())
        }
        detector = detectors[places[rows[0].stage]]
        same_but_weights(detector, self.reference)
        chain = detector.backbone.chain
        owned, state = chain.state_names(), chain.network.state_dict()
        for stage, place in places.items():
            theirs = detectors[place].backbone.chain.network.state_dict()
            state.update({key: theirs[key] for key in owned[stage]})
        chain.network.load_state_dict(state)
        detector.to(self.fabric.device)
        return Start(detector.to(memory_format=torch.channels_last), Ledger(), {})

    def _weights(self, start: str) -> str:
        """What `build` takes for a place where weights begin."""
        return (
            str(coco_backbone(start)) if start.startswith(COCO) else weights_of(start, self.folder)
        )

    def keeping(self, plan: Recipe, learner: Learner, folder: Path) -> Keeping | None:
        """Nothing: views of an image differ in size, so what stages give for them is not kept."""
        return None

    def task(
        self, plan: Recipe, learner: Learner, keeping: Keeping | None, folder: Path
    ) -> ObjectDetection:
        """See `Setting.task`."""
        return ObjectDetection(
            self.data,
            batch=self.batch,
            seed=plan.seed,
            device=self.fabric.device,
            ranks=self.ranks,
        )
