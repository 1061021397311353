"""Trials of detectors: the loop, the records and the pairing of every other trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_objects import POINTS, draw
from safetensors.torch import load_file

from headstart.data.object_views import ObjectAugmentation
from headstart.data.objects import ObjectDataset, make_object_splits, open_objects
from headstart.detectors import DetectorSpecification
from headstart.detectors.specification import Family
from headstart.errors import HeadstartError
from headstart.evidence.arms import PlannedArm, gather
from headstart.evidence.ledger import PretrainingCost
from headstart.execution import Trial, fabric, run, trial_folder
from headstart.execution.detecting import DetectionSetting
from headstart.metrics import Kind, read_detections
from headstart.records import TrialRecord, read_curve, read_image_values, read_trials
from headstart.strategies import Strategy
from headstart.strategies.table import CONTROL, Phase
from headstart.tasks.objects import ObjectData
from headstart.training import Hooks, StoppedError
from headstart.verdict.decide import decide

SIDE, STEPS = 64, 4
FAMILIES: dict[Kind, Family] = {
    "boxes": "faster-rcnn",
    "masks": "mask-rcnn",
    "keypoints": "keypoint-rcnn",
}
FINE_TUNE = Strategy(name="fine-tune", head="new", batchnorm="live", phases=(Phase(),))
SCRATCH = FINE_TUNE.model_copy(update={"name": "scratch", "start": "random"})
FROZEN = FINE_TUNE.model_copy(update={"name": "frozen", "phases": (Phase(learn="head"),)})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    return open_objects(draw(tmp_path_factory.mktemp("drawn") / "objects"))


def setting_for(dataset: ObjectDataset, folder: Path, kind: Kind = "boxes") -> DetectionSetting:
    splits = make_object_splits(dataset)
    return DetectionSetting(
        backbone="efficientnet_lite0",
        weights="pretrained",
        batch=2,
        allow_small=True,
        seed=0,
        schedule="trapezoid",
        extension_limit=1.0,
        fabric=fabric(),
        folder=folder,
        data=ObjectData(
            dataset, splits, kind, splits.train, ObjectAugmentation((SIDE, SIDE), 2 * SIDE)
        ),
        specification=DetectorSpecification(
            classes=2,
            family=FAMILIES[kind],
            keypoints=len(POINTS) if kind == "keypoints" else 0,
            normalization="batch",
            channels=8,
            short_side=SIDE,
            long_side=2 * SIDE,
            resize_in_training=False,
            regions=16,
        ),
    )


def ran(setting: DetectionSetting, strategy: Strategy, **hooks: object) -> TrialRecord:
    return run(Trial(strategy, 0, STEPS, 1.0), setting, setting.folder, Hooks(**hooks))  # type: ignore[arg-type]


def folder_of(setting: DetectionSetting, record: TrialRecord) -> Path:
    return trial_folder(setting.folder, record.key)


@pytest.mark.parametrize("kind", ["boxes", "masks", "keypoints"])
def test_a_trial_leaves_what_it_found_and_what_each_image_adds(
    dataset: ObjectDataset, tmp_path: Path, kind: Kind
) -> None:
    setting = setting_for(dataset, tmp_path, kind)
    record = ran(setting, FINE_TUNE)
    assert record.state == "done"
    assert record.accuracy is not None
    validation = setting.data.splits.validation
    values = read_image_values(folder_of(setting, record))
    assert values is not None
    assert values.indices.tolist() == validation.tolist()
    assert values.values.mean() == pytest.approx(record.accuracy)
    indices, found = read_detections(folder_of(setting, record) / "detections.npz")
    assert indices.tolist() == validation.tolist()
    assert all((one.masks is not None) is (kind == "masks") for one in found)
    assert all((one.keypoints is not None) is (kind == "keypoints") for one in found)
    points = read_curve(folder_of(setting, record))
    assert points[0].step == 0
    assert points[-1].train_loss is not None
    assert points[-1].train_loss < 10
    assert record.ledger.flops == pytest.approx(3 * sum(setting.flops) * 2 * STEPS, rel=0.2)


def test_arms_differ_in_the_weights_of_the_backbone_alone(
    dataset: ObjectDataset, tmp_path: Path
) -> None:
    setting = setting_for(dataset, tmp_path)
    loaded, drawn = (setting.start(one, 0).learner for one in (FINE_TUNE, SCRATCH))
    ours, theirs = loaded.state_dict(), drawn.state_dict()
    assert ours.keys() == theirs.keys()
    differing = {name for name, value in ours.items() if not torch.equal(value, theirs[name])}
    assert differing
    assert all("backbone.chain" in name for name in differing)


def test_a_frozen_backbone_keeps_its_weights_and_statistics(
    dataset: ObjectDataset, tmp_path: Path
) -> None:
    setting = setting_for(dataset, tmp_path)
    before = setting.start(FROZEN, 0).learner.network.state_dict()
    record = ran(setting, FROZEN)
    after = load_file(folder_of(setting, record) / "weights.safetensors")
    stages = {n for n in before if n.startswith("backbone.chain") and "num_batches" not in n}
    assert all(torch.equal(before[name], after[name]) for name in stages)
    assert any(not torch.equal(before[name], after[name]) for name in before.keys() - stages)


def test_random_stages_are_frozen_in_the_control_alone(
    dataset: ObjectDataset, tmp_path: Path
) -> None:
    setting = setting_for(dataset, tmp_path)
    control = FROZEN.model_copy(update={"name": CONTROL, "start": "random"})
    assert ran(setting, control).state == "done"
    with pytest.raises(HeadstartError, match="would freeze random weights"):
        ran(setting, control.model_copy(update={"name": "mine"}))


def test_a_stopped_trial_ends_as_one_that_was_not(dataset: ObjectDataset, tmp_path: Path) -> None:
    whole = setting_for(dataset, tmp_path / "whole")
    stopped = setting_for(dataset, tmp_path / "stopped")
    expected = ran(whole, SCRATCH)
    calls = iter([False, False, True])
    with pytest.raises(StoppedError):
        ran(stopped, SCRATCH, stop_requested=lambda: next(calls, False))
    record = ran(stopped, SCRATCH)
    assert record.accuracy == expected.accuracy
    curves = [read_curve(folder_of(s, expected)) for s in (whole, stopped)]
    losses = [[point.train_loss for point in curve] for curve in curves]
    assert losses[0] == losses[1]


def test_detectors_are_decided_between_as_classifiers_are(
    dataset: ObjectDataset, tmp_path: Path
) -> None:
    setting = setting_for(dataset, tmp_path)
    for strategy in (FINE_TUNE, SCRATCH):
        ran(setting, strategy)
    planned = [
        PlannedArm("fine-tune", (0,), start_pretrained=True),
        PlannedArm("scratch", (0,), start_pretrained=False),
    ]
    arms, warnings = gather(
        tmp_path, setting.protocol, planned, pretraining=PretrainingCost(forward_flops=1.0)
    )
    assert not warnings
    assert [arm.state for arm in arms] == ["done", "done"]
    assert all(arm.correct is not None and arm.correct.dtype == np.float64 for arm in arms)
    [pair] = decide(arms, delta=0.01).pairs
    records = {r.strategy: r for r in read_trials(tmp_path)}
    known = [records[name].accuracy for name in (pair.a, pair.b)]
    assert pair.difference == pytest.approx(np.subtract(*known))
    assert pair.low <= pair.difference <= pair.high
    assert pair.mcnemar is None


def test_batchnorm_does_not_learn_from_small_batches_unless_asked(
    dataset: ObjectDataset, tmp_path: Path
) -> None:
    setting = setting_for(dataset, tmp_path)
    with pytest.raises(HeadstartError, match="statistics from 2 images"):
        ran(replace(setting, allow_small=False), FINE_TUNE)
    assert "batches of 2" in ran(setting, FINE_TUNE).events[0]
    group = replace(setting.specification, normalization="group")
    drawn = replace(setting, specification=group, weights="random", allow_small=False)
    assert not ran(drawn, SCRATCH).events


def test_another_detector_is_another_protocol(dataset: ObjectDataset, tmp_path: Path) -> None:
    setting = setting_for(dataset, tmp_path)
    other = replace(setting, specification=replace(setting.specification, channels=16))
    assert setting.protocol != other.protocol
