"""What a study of objects is reckoned to take, before it is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from drawn_objects import draw
from test_execution_detecting import FINE_TUNE, FROZEN, SCRATCH, setting_for

from headstart.data.objects import ObjectDataset, open_objects
from headstart.execution import Trial, measure_detection_costs
from headstart.execution.trial import recipe
from headstart.strategies import defaults


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    return open_objects(draw(tmp_path_factory.mktemp("drawn") / "objects"))


def test_every_arm_has_a_step_and_scratch_costs_three_times_fine_tuning(
    dataset: ObjectDataset, tmp_path: Path
) -> None:
    setting = setting_for(dataset, tmp_path)
    arms = [FROZEN, FINE_TUNE, SCRATCH]
    costs = measure_detection_costs(setting, arms, most=1.0)
    assert set(costs.step) == {"frozen", "fine-tune", "scratch"}
    assert min(costs.step.values()) > 0
    assert costs.heads(arms) == {}
    same = replace(costs, step=dict.fromkeys(costs.step, 1.0), forward=0.0)
    of_three = FINE_TUNE.phases[0].model_copy(update={"steps": 3.0})
    longer = SCRATCH.model_copy(update={"phases": (of_three,)})
    assert same.arm(longer, 16, 1) == pytest.approx(3 * same.arm(FINE_TUNE, 16, 1))


def test_timing_leaves_the_detector_as_it_was(dataset: ObjectDataset, tmp_path: Path) -> None:
    setting = setting_for(dataset, tmp_path)
    heads = setting.reference.heads
    before = heads.detections_per_img
    with setting.reference.finding_at_most(2):
        assert heads.detections_per_img == 2
    measure_detection_costs(setting, [FINE_TUNE], most=0.5)
    assert heads.detections_per_img == before


def test_evaluations_are_as_far_apart_as_the_plan_reckons(
    dataset: ObjectDataset, tmp_path: Path
) -> None:
    setting = setting_for(dataset, tmp_path)
    plan = recipe(Trial(FINE_TUNE, 0, 40, 1.0), setting)
    affordable = setting.evaluated / (setting.batch * defaults.JUDGED_PER_LEARNED_OBJECTS)
    assert plan.evaluate_every == pytest.approx(max(4, affordable), abs=1)
