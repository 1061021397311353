"""Cells and their table: what was measured is what is read back."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from backtest.cells import Arm, Cell, Probe, read_cell, read_work, write_cell
from backtest.packing import read_table, write_table
from backtest_simulated import simulated
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from headstart.records_probe import ProbeAnswers, ProbeRecord

CELL = simulated()


def same(one: Cell, other: Cell) -> bool:
    return one.model_dump_json() == other.model_dump_json()


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=19)))
def test_answers_are_read_back_to_the_bit(answers: np.ndarray) -> None:
    arm = CELL.arms[0].model_copy(update={"answers": answers, "test": answers[:, :0].ravel()})
    back = Arm.model_validate_json(arm.model_dump_json())
    assert back.answers.dtype == np.bool_
    assert np.array_equal(back.answers, answers)
    assert back.test.shape == (0,)


@pytest.mark.parametrize("cells", [0, 1, 3])
def test_the_table_gives_back_what_was_packed(tmp_path: Path, cells: int) -> None:
    written = [simulated(seed=seed) for seed in range(cells)]
    assert write_table(written, tmp_path / "a.xz") == cells
    read = list(read_table(tmp_path / "a.xz"))
    assert len(read) == cells
    assert all(same(a, b) for a, b in zip(written, read, strict=True))
    write_table(read, tmp_path / "b.xz")
    assert (tmp_path / "a.xz").read_bytes() == (tmp_path / "b.xz").read_bytes()


def test_a_work_folder_gives_finished_cells_alone(tmp_path: Path) -> None:
    cell = CELL
    write_cell(tmp_path / "cells" / f"{cell.place.name}.json", cell)
    (tmp_path / "cells" / ".half.json.1.tmp").write_text("{")
    assert [one.place for one in read_work(tmp_path)] == [cell.place]
    assert same(read_cell(tmp_path / "cells" / f"{cell.place.name}.json"), cell)


def test_a_probe_is_read_back_as_a_study_left_it() -> None:
    rng = np.random.default_rng(0)
    answers = ProbeAnswers(
        positions=np.arange(7),
        stages=rng.random((3, 7)) > 0.5,
        all_stages=rng.random(7) > 0.5,
        neighbours=rng.random(7) > 0.5,
        pixels=rng.random(7) > 0.5,
        curve={4: rng.random((2, 5)) > 0.5, 7: rng.random((1, 5)) > 0.5},
    )
    record = ProbeRecord(
        protocol="p", stages=["a", "b", "c"], images=7, of_images=7, penalties={"a": 1.0},
        neighbours=5, pixel_grid=12, ledger=CELL.arms[0].ledger, wall_seconds=1.0,
    )  # fmt: skip
    probe = Probe.model_validate_json(Probe.of(record, answers).model_dump_json())
    back = probe.as_answers()
    assert probe.record == record
    for name in ("positions", "stages", "all_stages", "neighbours", "pixels"):
        assert np.array_equal(getattr(back, name), getattr(answers, name)), name
    assert back.curve.keys() == answers.curve.keys()
    assert all(np.array_equal(back.curve[n], answers.curve[n]) for n in answers.curve)


def test_a_rung_is_the_first_evaluation_at_its_share_or_later() -> None:
    arm = CELL.arm("scratch")
    for share in (0.0, 0.1, 1 / 3, 0.5, 1.0):
        rung = arm.at(share)
        assert arm.curve[rung].step >= share * arm.steps
        assert rung == 0 or arm.curve[rung - 1].step < share * arm.steps
    stopped = arm.model_copy(update={"curve": arm.curve[:5]})  # it levelled off early
    assert stopped.at(1.0) == 4


def test_an_arm_that_failed_has_no_truth() -> None:
    failed = CELL.arms[0].model_copy(update={"state": "failed", "test": np.zeros(0, bool)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(failed.test_accuracy)
    with pytest.raises(KeyError):
        CELL.arm("scratch-gn")
