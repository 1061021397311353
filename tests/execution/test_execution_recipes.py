"""Detectors trained by a paper's recipe, and cascades that are switched on late."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_execution_detecting import FINE_TUNE, SCRATCH, dataset, folder_of, setting_for
from torch import Tensor

from headstart.data.objects import ObjectDataset
from headstart.execution import Trial, run
from headstart.execution.detecting import DetectionSetting
from headstart.execution.trial import recipe
from headstart.records import TrialRecord, read_curve
from headstart.strategies.detection_recipes import PAPER
from headstart.strategies.table import Phase
from headstart.training import Hooks, StoppedError

__all__ = ["dataset"]

UNIT, LATE = 10, 6
LONG = SCRATCH.model_copy(update={"phases": (Phase(steps=1, exact=True),)})


def by_the_paper(
    dataset: ObjectDataset, folder: Path, *, cascade: bool = False
) -> DetectionSetting:
    setting = setting_for(dataset, folder)
    own = replace(setting.specification, cascade=cascade)
    return replace(setting, recipe=PAPER.at(64), specification=own)


def trial(late: int = 0) -> Trial:
    return Trial(LONG, 0, UNIT, 1.0, whole_from=late)


def weights(setting: DetectionSetting, record: TrialRecord) -> dict[str, Tensor]:
    return load_file(folder_of(setting, record) / "weights.safetensors")


def later_heads(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: v.clone() for n, v in state.items() if ".later." in n and "running" not in n}


def test_a_recipe_gives_optimizer_schedule_and_rate_and_is_part_of_the_protocol(
    dataset: ObjectDataset, tmp_path: Path
) -> None:
    setting = by_the_paper(dataset, tmp_path)
    plan = recipe(trial(), setting)
    assert plan.optimizer.kind == "sgd"
    assert plan.rates == (0.02 * 2 / 16,)
    protocols = {
        setting_for(dataset, tmp_path).protocol,
        setting.protocol,
        replace(setting, recipe=replace(PAPER.at(64), momentum=0.8)).protocol,
    }
    assert len(protocols) == 3
    assert trial().key("a") != trial(LATE).key("a")
    assert recipe(Trial(FINE_TUNE, 0, UNIT), setting_for(dataset, tmp_path)).rates != plan.rates


@pytest.mark.parametrize("stop", [pytest.param(3, marks=pytest.mark.slow), LATE + 1])
def test_a_late_cascade_begins_as_copies_and_a_stopped_run_ends_alike(
    dataset: ObjectDataset, tmp_path: Path, stop: int
) -> None:
    whole = by_the_paper(dataset, tmp_path / "whole", cascade=True)
    stopped = by_the_paper(dataset, tmp_path / "stopped", cascade=True)
    expected = run(trial(LATE), whole, whole.folder, Hooks())
    at = {"step": 0}

    def note(step: int, planned: int) -> None:
        at["step"] = step

    hooks = Hooks(on_step=note, stop_requested=lambda: at["step"] == stop)
    with pytest.raises(StoppedError):
        run(trial(LATE), stopped, stopped.folder, hooks)
    record = run(trial(LATE), stopped, stopped.folder, Hooks())
    ours, theirs = weights(whole, expected), weights(stopped, record)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    losses = [
        [point.train_loss for point in read_curve(folder_of(setting, expected))]
        for setting in (whole, stopped)
    ]
    assert losses[0] == losses[1]


def test_heads_that_are_not_on_yet_stay_as_they_were_drawn(
    dataset: ObjectDataset, tmp_path: Path
) -> None:
    setting = by_the_paper(dataset, tmp_path, cascade=True)
    drawn = later_heads(setting.start(LONG, 0).learner.network.state_dict())
    assert drawn
    never, late, always = (
        weights(setting, run(trial(step), setting, tmp_path, Hooks())) for step in (UNIT, LATE, 0)
    )
    kept = later_heads(never)
    assert all(torch.equal(kept[name], value) for name, value in drawn.items())
    prefix = "roi_heads."
    [predictor] = [n for n in drawn if ".later.0." in n and n.endswith("cls_score.weight")]
    first = never[prefix + "box_predictor.cls_score.weight"]
    for state, copied in ((late, True), (always, False)):
        assert not torch.equal(state[predictor], drawn[predictor])
        # Copies of the first head, a few steps on; heads that were drawn are nowhere near it.
        apart = (state[predictor] - first).norm() / first.norm()
        assert bool(apart < 0.5) is copied
    assert bool(late[prefix + "cascade_on"])
    assert not bool(never[prefix + "cascade_on"])
