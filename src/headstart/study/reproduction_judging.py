"""What the runs of a reproduction reached: AP of each kind, pairs of arms, samples seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file

from headstart.data.objects import as_coco
from headstart.detectors import Detector, Views, detect_in_views
from headstart.detectors.augmented import FEWER_SCALES, SCALES
from headstart.errors import HeadstartError
from headstart.evidence.detection_ledger import seen_in_all, seen_in_training
from headstart.evidence.ledger import PretrainingCost
from headstart.evidence.published import METRICS
from headstart.evidence.statistics import granted_bootstrap
from headstart.metrics import (
    DETECTIONS,
    Detections,
    Kind,
    average_precision,
    match,
    pseudo_values,
    read_detections,
    write_detections,
)
from headstart.metrics.voc import voc_precision
from headstart.records import TrialRecord
from headstart.study.reproduction import Comparison, PlannedRun, Reproduction

AUGMENTED = "augmented.npz"  # beside `DETECTIONS`, in a trial's folder
PREFIX: dict[Kind, str] = {"boxes": "box", "masks": "mask", "keypoints": "keypoint"}
# Of the paper's nine scales, which a small version would spend more on than on its training.


@dataclass(frozen=True)
class Result:
    """Of one run; `points` are in 0..100, under the names of `headstart.evidence.published`."""

    points: dict[str, float | None]
    values: dict[Kind, npt.NDArray[np.float64] | None]  # by kind: what each image adds to AP


def judged(planned: Reproduction, comparison: Comparison, one: PlannedRun, folder: Path) -> Result:
    """Judge a finished run by its detections on the validation images.

    With the file's `test_augmentation` those of several scales and mirrored; they are made once
    and kept in the trial's folder.
    """
    data, study = planned.data, planned.asked.study
    positions = data.splits.validation
    if study.network.test_augmentation:
        found = _augmented(planned, comparison, one, folder)
    else:
        found = read_detections(folder / DETECTIONS)[1]
    truth = as_coco(data.dataset, positions)
    points: dict[str, float | None] = {}
    values: dict[Kind, npt.NDArray[np.float64] | None] = {}
    for kind in study.data.kinds:
        ap = average_precision(truth, found, kind)
        name = PREFIX[kind]
        points |= {f"{name}_ap": _points(ap.ap), f"{name}_ap50": _points(ap.ap50)}
        points[f"{name}_ap75"] = _points(ap.ap75)
        values[kind] = _values(truth, found, kind)
    if study.data.metric == "voc":
        points["voc_map"] = _points(voc_precision(truth, found).mean)
    return Result({name: value for name, value in points.items() if name in METRICS}, values)


def _points(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 3)


def _values(truth: Any, found: Sequence[Detections], kind: Kind) -> Any:
    try:
        return pseudo_values(match(truth, found, kind))
    except HeadstartError:  # objects in a single image: nothing can be said of others
        return None


def _augmented(
    planned: Reproduction, comparison: Comparison, one: PlannedRun, folder: Path
) -> list[Detections]:
    path, data, setting = folder / AUGMENTED, planned.data, comparison.setting
    if path.exists():
        return read_detections(path)[1]
    start = setting.start(one.trial.strategy, one.trial.seed)
    detector = start.learner
    assert isinstance(detector, Detector)
    detector.network.load_state_dict(load_file(folder / "weights.safetensors"))
    views = Views.of(
        setting.specification.short_side, FEWER_SCALES if planned.asked.small else SCALES
    )
    device = setting.fabric.device
    swap = data.dataset.swaps.tolist() or None
    with setting.fabric.autocast():
        found = [
            detect_in_views(detector, data.image(p), data.kind, device, views=views, swap=swap)
            for p in data.splits.validation.tolist()
        ]
    write_detections(path, data.splits.validation, found)
    return found


def pairs(results: Sequence[tuple[PlannedRun, Result]]) -> list[dict[str, Any]]:
    """Differences between two arms at the same length, and at the longest of each.

    `difference` is the first arm's points less the second's, with the paired bootstrap's interval
    over the validation images (95%). Runs have one seed, so what another seed would give is not in
    it.
    """
    found = []
    for (a, of_a), (b, of_b) in combinations(results, 2):
        if a.arm == b.arm:
            continue
        longest = all(_is_longest(one, results) for one in (a, b))
        if a.times != b.times and not longest:
            continue
        for kind in of_a.values:
            compared = _compared(of_a.values[kind], of_b.values[kind])
            if compared is not None:
                found.append(
                    {
                        "metric": f"{PREFIX[kind]}_ap",
                        "first": {"arm": a.arm, "times": a.times},
                        "second": {"arm": b.arm, "times": b.times},
                        "longest": longest,
                        **compared,
                    }
                )
    return found


def _is_longest(one: PlannedRun, results: Sequence[tuple[PlannedRun, Result]]) -> bool:
    return one.times == max(other.times for other, _ in results if other.arm == one.arm)


def _compared(
    a: npt.NDArray[np.float64] | None, b: npt.NDArray[np.float64] | None
) -> dict[str, float] | None:
    if a is None or b is None:
        return None
    drawn = granted_bootstrap([a[None], b[None]])
    low, high = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975])
    shares = {"difference": float(a.mean() - b.mean()), "low": float(low), "high": float(high)}
    return {name: round(100 * share, 3) for name, share in shares.items()}


def samples(comparison: Comparison, one: PlannedRun, record: TrialRecord | None) -> dict[str, Any]:
    """Images, instances and pixels that a run showed the network, and with pretraining's.

    Counted as in the paper's figure 2, by the mean training image; what pretraining showed is
    known of published weights alone.
    """
    setting = comparison.setting
    data = setting.data
    objects = [int((~data.dataset.objects[i].crowd).sum()) for i in data.training]
    steps = 0 if record is None else record.ledger.steps
    seen = seen_in_training(steps, setting.batch, float(np.mean(objects)), float(setting.pixels))
    published = one.weights == "pretrained" and setting.weights == "pretrained"
    own = PretrainingCost(forward_flops=0.0) if published else None  # its FLOPs are not asked for
    return {"own": asdict(seen), "with_pretraining": asdict(seen_in_all(seen, own))}
