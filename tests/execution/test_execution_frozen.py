"""Arms whose first stages are frozen: less is computed, and nothing that comes of it changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from headstart.backbones import load
from headstart.data import ImageStore, open_dataset
from headstart.data.splits import Splits
from headstart.execution import ClassificationSetting, Trial, fabric, frozen, measure_costs, run
from headstart.execution.solving import work
from headstart.records import TrialRecord, read_curve
from headstart.strategies import named
from headstart.tasks import Classification, Data
from headstart.training import Hooks, StoppedError, batches
from headstart.training.activations import Activations

SIZE, BATCH, CPU = 32, 16, torch.device("cpu")


def setting() -> ClassificationSetting:
    """Sixty digits to learn from, so that a pass takes four steps."""
    dataset = open_dataset("digits")
    store = ImageStore(dataset, load().preprocessing.at(SIZE), positions=np.arange(150))
    splits = Splits(np.arange(60), np.arange(97, 147), np.arange(147, 200), made=())
    return ClassificationSetting(
        data=Data(dataset, splits, store, SIZE, splits.train),
        backbone="efficientnet_lite0",
        weights="pretrained",
        batch=BATCH,
        seed=0,
        schedule="trapezoid",
        extension_limit=1.0,
        fabric=fabric(),
        duplicates=np.arange(len(dataset)),
    )


@pytest.fixture(autouse=True)
def _two_views(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that they come back after eight steps."""
    monkeypatch.setattr(batches, "VIEWS", 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Ran:
    """A trial, and what it left."""

    record: TrialRecord
    weights: dict[str, Tensor]
    curve: list[dict[str, Any]]

    @classmethod
    def of(cls, study: Path, record: TrialRecord) -> Ran:
        folder = study / "trials" / record.key
        curve = [p.model_dump(exclude={"seconds"}) for p in read_curve(folder)]
        return cls(record, load_file(folder / "weights.safetensors"), curve)


ROOM: dict[str, dict[str, float]] = {"nowhere": {"memory": 0, "disk": 0}, "disk": {"memory": 0}}


def ran(study: Path, place: str, monkeypatch: pytest.MonkeyPatch, **how: Any) -> Ran:
    """Run *partial* with room for what it keeps in one place."""
    choose = frozen.choose
    with monkeypatch.context() as patch:
        patch.setattr(frozen, "choose", lambda *a, **k: choose(*a, **(k | ROOM.get(place, {}))))
        mine = how.pop("setting", None) or setting()
        trial = Trial(named("partial", mine.stages), seed=0, unit=12, rate_factor=0.3)
        record = run(trial, mine, study, how.pop("hooks", Hooks()))
    assert record.state == "done", record.note
    assert record.chosen["activations"]["place"] == place
    return Ran.of(study, record)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Kept in memory, without interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "VIEWS", 2)
        return ran(tmp_path_factory.mktemp("whole"), "memory", patch)


@pytest.mark.parametrize("place", ["nowhere", "disk"])
def test_the_weights_are_the_same_wherever_activations_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Ran, place: str
) -> None:
    other = ran(tmp_path, place, monkeypatch)
    for name, weight in other.weights.items():
        torch.testing.assert_close(whole.weights[name], weight, rtol=0, atol=1e-5)
    assert whole.record.loss == pytest.approx(other.record.loss, abs=1e-5)
    mine, theirs = whole.record.ledger, other.record.ledger
    assert mine.images == theirs.images
    assert "stages never learn" in whole.record.events[0]
    if place == "nowhere":
        assert other.record.events == []
        assert mine.pixels < theirs.pixels
        assert mine.flops < 0.9 * theirs.flops
    else:
        assert (mine.pixels, mine.flops) == (theirs.pixels, theirs.flops)


def test_a_trial_that_was_stopped_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Ran
) -> None:
    steps: list[int] = []
    hooks = Hooks(
        on_step=lambda step, total: steps.append(step), stop_requested=lambda: len(steps) == 9
    )
    with pytest.raises(StoppedError):
        ran(tmp_path, "memory", monkeypatch, hooks=hooks)
    again = ran(tmp_path, "memory", monkeypatch)
    assert all(torch.equal(again.weights[n], w) for n, w in whole.weights.items())
    assert again.curve == whole.curve
    assert again.record.events == whole.record.events
    left = {path.name for path in tmp_path.glob("trials/*/*")}
    assert left == {"trial.json", "curve.jsonl", "predictions.npz", "weights.safetensors"}


def test_what_was_decided_before_a_stop_is_held_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding or not changes bits, so free memory at the second start must not decide."""
    steps: list[int] = []
    hooks = Hooks(on_step=lambda s, t: steps.append(s), stop_requested=lambda: len(steps) == 3)
    with pytest.raises(StoppedError):
        ran(tmp_path, "nowhere", monkeypatch, hooks=hooks)
    mine = setting()
    trial = Trial(named("partial", mine.stages), seed=0, unit=12, rate_factor=0.3)
    record = run(trial, mine, tmp_path, Hooks())  # now there would be room
    assert record.chosen["activations"]["place"] == "nowhere"


def test_an_arms_runs_share_what_is_kept_and_other_arms_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Ran
) -> None:
    filled: list[int] = []
    fill = Activations._fill
    monkeypatch.setattr(
        Activations,
        "_fill",
        lambda self, step, images: (filled.append(step), fill(self, step, images)),
    )
    mine = setting()
    partial = named("partial", mine.stages)
    for factor in (1 / 3, 1.0):
        run(Trial(partial, 0, 4, factor, "sweep"), mine, tmp_path, Hooks())
    assert filled == [0, 1, 2, 3]
    kept = ran(tmp_path, "memory", monkeypatch, setting=mine)
    assert filled == list(range(8))
    assert all(torch.equal(whole.weights[n], w) for n, w in kept.weights.items())
    run(Trial(partial, 1, 4, 1.0, "sweep"), mine, tmp_path, Hooks())  # another seed, other views
    assert filled[8:] == [0, 1, 2, 3]
    assert len(mine.activations) == 1
    run(Trial(named("fine-tune", mine.stages), 0, 1, 1.0), mine, tmp_path, Hooks())
    assert mine.activations == {}


def test_crops_depend_on_the_view_and_the_image_alone() -> None:
    data = setting().data
    chain = load("timm/mobilenetv3_small_050", "random")

    def crops(images: Data, batch: int, steps: int) -> dict[tuple[int, int], Tensor]:
        task = Classification(images, chain, batch=batch, seed=0, device=CPU)
        order = task._order
        seen: dict[tuple[int, int], Tensor] = {}
        for step, shown in zip(range(steps), task.batches(0), strict=False):
            at = order.at(step)
            for row, view, image in zip(at.rows, at.views, shown.images, strict=True):
                key = (int(images.training[row]), int(view))
                if key in seen:
                    torch.testing.assert_close(seen[key], image, rtol=0, atol=1e-4)
                seen.setdefault(key, image)
        return seen

    whole = crops(data, 16, 20)
    assert len(whole) == 60 * 2
    some = crops(replace(data, training=data.training[10:31]), 5, 9)
    assert len(some) == 21 * 2
    for key, image in some.items():
        torch.testing.assert_close(whole[key], image, rtol=0, atol=1e-4)
    one, other = whole[10, 0], whole[10, 1]
    assert not torch.allclose(one, other, atol=0.1)


def test_costs_know_what_is_left_out() -> None:
    mine = setting()
    strategies = [named(name, mine.stages) for name in ("linear", "partial", "fine-tune")]
    costs = measure_costs(mine, strategies, 20.0)
    assert set(costs.frozen) == {"partial"}
    assert set(costs.solve) == {"linear", "partial", "fine-tune"}
    assert min(costs.solve.values()) > 0
    above = sum(mine.flops[7:]) / sum(mine.flops)
    assert costs.frozen["partial"].above == pytest.approx(above)
    assert costs.step["partial"] < costs.step["fine-tune"]
    # Two views of every image are computed, however many steps there are.
    known = replace(costs, forward=0.0, step=dict.fromkeys(costs.step, 0.0), solve={})
    views = 2 * 60 * costs.frozen["partial"].view
    assert known.arm(strategies[1], 40, 1) == pytest.approx(views)
    assert known.arm(strategies[1], 400, 3) == pytest.approx(3 * views)
    assert known.arm(strategies[1], 4, 1) == pytest.approx(views * 4 * BATCH / 120)
    assert known.arm(strategies[2], 40, 1) == 0


def test_heads_take_longer_for_more_images_classes_and_dimensions() -> None:
    assert work(2000, 1280, 10) > 4 * work(500, 1280, 10)
    assert work(500, 1280, 100) > work(500, 1280, 10)
    assert work(500, 2560, 10) > work(500, 1280, 10)
