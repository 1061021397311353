"""The quality of an arm is COCO's, averaged over its seeds, beside what it saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from detections_made_up import detections_of, truth_of

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import PretrainingCost, cost_with_pretraining
from headstart.evidence.objects import gather_objects, mean_quality, quality
from headstart.metrics import Kind, average_precision, write_detections
from headstart.records import Ledger, State, TrialRecord, write_trial

RNG = np.random.default_rng(3)
TRUTH = truth_of(RNG, images=6, points=4)
SEEDS = [detections_of(RNG, TRUTH, noise=noise) for noise in (0.05, 0.3, 0.6)]
IDS = np.array([image["id"] for image in TRUTH["images"]])


@pytest.mark.parametrize("kind", ["boxes", "keypoints"])
def test_quality_is_average_precision_with_the_number_of_objects(kind: Kind) -> None:
    measured, told = average_precision(TRUTH, SEEDS[0], kind), quality(TRUTH, SEEDS[0], kind)
    assert (told.ap, told.ap50, told.ap75) == (measured.ap, measured.ap50, measured.ap75)
    assert (told.small, told.large) == (measured.small, measured.large)
    assert tuple(one.ap for one in told.by_class) == measured.by_class
    judged = [
        a
        for a in TRUTH["annotations"]
        if not a["iscrowd"] and (kind == "boxes" or a["num_keypoints"])
    ]
    assert told.objects == len(judged) == sum(one.objects for one in told.by_class)
    assert told.images == 6


def test_seeds_are_averaged_and_what_is_unknown_stays_so() -> None:
    both = mean_quality([quality(TRUTH, found, "keypoints") for found in SEEDS[:2]])
    each = [quality(TRUTH, found, "keypoints") for found in SEEDS[:2]]
    assert both.ap == pytest.approx(np.mean([one.ap for one in each]))
    assert both.by_class[1].ap == pytest.approx(np.mean([one.by_class[1].ap for one in each]))
    assert both.small is None


def leave(
    study: Path, key: str, seed: int, state: State, ids: np.ndarray = IDS, start: str = "pretrained"
) -> None:
    folder = study / "trials" / key
    write_detections(folder / "detections.npz", ids, SEEDS[seed])
    record = TrialRecord(
        key=key,
        protocol="p",
        strategy="fine-tune",
        table={"start": start},
        seed=seed,
        train_images=9,
        planned_steps=4,
        state=state,
    )
    write_trial(folder, record)


def arm(name: str, trials: tuple[str, ...], *, pretrained: bool) -> ArmEvidence:
    cost = Ledger(steps=10, images=40, pixels=4000)
    before = PretrainingCost(1.0, dataset_images=100, epochs=2, image_size=8)
    return ArmEvidence(
        strategy=name,
        state="done",
        cost=cost,
        cost_with_pretraining=cost_with_pretraining(cost, before if pretrained else None),
        trials=trials,
    )


def test_weights_whose_making_is_not_counted_are_no_random_ones(tmp_path: Path) -> None:
    starts = {"loaded": "mine.safetensors", "drawn": "random"}
    for key, start in starts.items():
        leave(tmp_path, key, 0, "done", start=start)
    arms = [arm(name, (name,), pretrained=False) for name in starts]
    loaded, drawn = gather_objects(tmp_path, arms, TRUTH, "boxes", instances_mean=1.0)
    assert loaded.in_all == loaded.training
    assert (loaded.random, drawn.random) == (False, True)


def test_an_arm_is_judged_by_its_finished_trials_on_these_images(tmp_path: Path) -> None:
    leave(tmp_path, "a", 0, "done")
    leave(tmp_path, "b", 1, "done")
    leave(tmp_path, "cut", 2, "unfinished")
    leave(tmp_path, "other", 2, "done", ids=IDS + 1)
    arms = [
        arm("fine-tune", ("a", "b", "cut", "other"), pretrained=True),
        arm("scratch", ("cut",), pretrained=False),
        arm("never ran", ("none",), pretrained=False),
    ]
    tuned, scratch = gather_objects(tmp_path, arms, TRUTH, "keypoints", instances_mean=3.5)
    assert [one.kind for one in tuned.qualities] == ["keypoints", "boxes"]
    expected = [quality(TRUTH, found, "keypoints").ap for found in SEEDS[:2]]
    assert tuned.qualities[0].ap == pytest.approx(np.mean(expected))
    assert tuned.trial == "a"
    assert len(tuned.detections) == len(tuned.errors.images) == 6
    assert (tuned.training.images, tuned.training.instances) == (40, 140)
    # One instance an image of what pretraining saw.
    assert (tuned.in_all.images, tuned.in_all.instances) == (240, 340)
    assert tuned.in_all.pixels == 4000 + 200 * 64
    assert scratch.trial == "cut"
    assert scratch.in_all == scratch.training
