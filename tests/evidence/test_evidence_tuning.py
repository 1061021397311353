"""A tuning study from records: which run stands for which way, and what none does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.evidence.arms import ArmEvidence, PlannedArm, gather
from headstart.evidence.ledger import PretrainingCost
from headstart.evidence.tuning import Tuning, tuning
from headstart.records import Ledger, TrialRecord, read_trial, write_trial

Write = Callable[..., TrialRecord]


@pytest.fixture
def write(trial: Write, tmp_path: Path) -> Write:
    """A trial of an arm that trains, begun where its name says."""

    def write(strategy: str, factor: float, seed: int = 0, **fields: Any) -> TrialRecord:
        key = f"{strategy}-{fields.get('role', 'trial')}-{factor:g}-{seed}"
        trial(strategy, seed, key=key, rate_factor=factor, planned_steps=9, **fields)
        record = read_trial(tmp_path / "trials" / key)
        assert record is not None
        start = "random" if strategy == "scratch" else "pretrained"
        start = "trial:0" if strategy == "AnB" else start
        record = record.model_copy(update={"table": {"start": start}})
        write_trial(tmp_path / "trials" / key, record)
        return record

    return write


def judged(folder: Path, names: tuple[str, ...], seeds: int = 1) -> list[ArmEvidence]:
    planned = [PlannedArm(name, tuple(range(seeds)), start_pretrained=False) for name in names]
    return gather(folder, "p", planned, pretraining=PretrainingCost(forward_flops=1.0)).arms


def ask(folder: Path, *names: str, seeds: int = 1) -> Tuning:
    return tuning(folder, "p", judged(folder, names, seeds))


def test_each_way_is_the_run_at_its_rate(write: Write, tmp_path: Path) -> None:
    write("fine-tune", 1.0, right=36)
    write("scratch", 1 / 3, right=30)
    write("scratch", 1.0, right=12, role="tuning", ledger=Ledger(flops=7.0))
    found = ask(tmp_path, "fine-tune", "scratch")
    tuned, scratch = found.arms
    assert {way: one.factor for way, one in tuned.ways.items()} == {
        "tuned": 1.0, "reused": 1.0, "default": 1.0
    }  # fmt: skip
    assert {one.trials for one in tuned.ways.values()} == {("fine-tune-trial-1-0",)}
    assert scratch.ways["tuned"].accuracy is not None
    assert scratch.ways["tuned"].accuracy.value == 30 / 40
    for way in (scratch.ways["reused"], scratch.ways["default"]):  # one run stands for both
        assert way.accuracy is not None
        assert way.accuracy.value == 12 / 40
        assert way.trials == ("scratch-tuning-1-0",)
    assert found.cost.flops == 7.0


def test_no_arm_is_judged_by_its_run_at_another_rate(write: Write, tmp_path: Path) -> None:
    write("scratch", 1 / 3, right=30)
    write("scratch", 1.0, right=40, role="tuning")
    [arm] = judged(tmp_path, ("scratch",))
    assert arm.accuracy is not None
    assert arm.accuracy.value == 30 / 40
    assert arm.trials == ("scratch-trial-0.333333-0",)
    assert arm.sweep_cost is None


def test_a_way_without_all_its_seeds_has_no_accuracy(write: Write, tmp_path: Path) -> None:
    for seed in (0, 1):
        write("fine-tune", 3.0, seed)
        write("scratch", 1 / 3, seed)
    write("scratch", 3.0, 0, role="tuning")
    write("scratch", 1.0, 0, role="tuning", state="failed", right=None)
    _, scratch = ask(tmp_path, "fine-tune", "scratch", seeds=2).arms
    assert scratch.ways["reused"].accuracy is None
    assert not scratch.ways["reused"].failed
    assert scratch.ways["default"].failed


def test_transplants_and_arms_without_an_end_have_no_part(write: Write, tmp_path: Path) -> None:
    write("scratch", 1.0, state="unfinished")
    write("AnB", 1.0)
    assert ask(tmp_path, "scratch", "AnB").arms == []
    write("partial", 1.0)
    [partial] = ask(tmp_path, "scratch", "AnB", "partial").arms
    assert set(partial.ways) == {"tuned", "default"}  # nothing of fine-tune's is reused in it
