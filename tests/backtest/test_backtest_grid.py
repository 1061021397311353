"""The grid: its order, one process a cell, and what is kept of a study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from backtest.cells import Cell, Place, read_work, write_cell
from backtest.packing import write_table
from backtest.sets import SEEDS, SETS
from backtest.studies import ANSWERS, run_cell
from backtest_simulated import simulated
from PIL import Image

from backtest import grid
from headstart.errors import HeadstartError
from headstart.study import Question

PLACE = Place("drawn", "lite0", 24, 1)


def test_a_grid_that_is_stopped_early_has_every_set_and_backbone() -> None:
    order = grid.places()
    assert len(set(order)) == len(order)
    first = [p for p in order if p.seed == 0]
    assert order[: len(first)] == first
    assert {p.data for p in first if p.size == 100} == set(SETS)
    assert [grid.unit(p.size) for p in first] == sorted(grid.unit(p.size) for p in first)
    assert {(p.data, p.backbone) for p in first} == {(d, b) for d in SETS for b in grid.BACKBONES}
    assert {p.seed for p in order} == set(SEEDS)
    assert max(p.size for p in order) == order[-1].size == 3000


def test_more_images_are_never_trained_for_fewer_steps() -> None:
    units = [grid.unit(size) for size in (1, 100, 180, 300, 700, 1000, 3000)]
    assert units == sorted(units)


def test_a_cell_is_run_by_one_process_at_a_time(tmp_path: Path) -> None:
    with grid._alone(tmp_path / "locks" / "a") as first:
        assert first
        with grid._alone(tmp_path / "locks" / "a") as second:
            assert not second
        with grid._alone(tmp_path / "locks" / "b") as other:
            assert other
    with grid._alone(tmp_path / "locks" / "a") as again:
        assert again


def test_sets_whose_source_is_missing_are_said_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(work: Path, name: str, sources: object) -> None:
        raise HeadstartError("no source")

    monkeypatch.setattr(grid, "prepare_set", missing)
    monkeypatch.setattr(grid, "run_cell", lambda *_, **__: pytest.fail("there is nothing to run"))
    grid.prepare_sets(tmp_path, grid.Sources(tmp_path, tmp_path))
    assert capsys.readouterr().out.count("is left out: no source") == len(SETS)
    grid.work_through(tmp_path, tmp_path)


def write_pictures(root: Path) -> Path:
    """24 to learn from, 12 to choose by and 12 to judge by: dark and bright ones, with noise."""
    rng = np.random.default_rng(0)
    rows = ["path,label,split"]
    for i in range(48):
        split = "train" if i < 24 else "validation" if i < 36 else "test"
        pixels = rng.normal(90 + 70 * (i % 2), 60, (8, 8, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(root / f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]},{split}")
    (root / "labels.csv").write_text("\n".join(rows))
    return root / "labels.csv"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Question, Path, Cell]:
    root = tmp_path_factory.mktemp("grid")
    asked = Question(
        data=str(write_pictures(root)),
        strategies=["linear", "fine-tune", "scratch"],
        steps=3,
        seeds=1,
        image_size=32,
        seed=PLACE.seed,
        race=False,
    )
    return asked, root / "study", run_cell(PLACE, asked, root / "study")


def test_every_evaluation_keeps_its_answers(ran: tuple[Question, Path, Cell]) -> None:
    cell = ran[2]
    assert (cell.training, cell.validation, cell.test) == (24, 12, 12)
    assert [arm.strategy for arm in cell.arms] == ["linear", "fine-tune", "scratch"]
    for arm in cell.arms:
        assert arm.answers.shape == (len(arm.curve), 12)
        kept, measured = arm.answers.mean(axis=1), [point.accuracy for point in arm.curve]
        assert np.allclose(kept, measured, atol=1e-6)
        assert arm.test.shape == (12,)
    assert len(cell.arm("fine-tune").curve) > 2
    assert cell.probe is not None


def test_costs_stand_beside_the_answers(ran: tuple[Question, Path, Cell]) -> None:
    linear, tuned, scratch = ran[2].arms
    assert linear.planned_flops == pytest.approx(linear.ledger.flops)  # rounded to seven digits
    assert not linear.sweeps
    assert [len(arm.sweeps) for arm in (tuned, scratch)] == [3, 3]
    assert (tuned.steps, scratch.steps) == (3, 9)
    assert (tuned.scratch, scratch.scratch) == (False, True)
    factors = {sweep.rate_factor for sweep in tuned.sweeps}
    assert tuned.rate_factor in factors
    # The head that fine-tuning begins with was solved on codes, as linear's was.
    assert tuned.ledger.flops == pytest.approx(tuned.curve[-1].flops + linear.ledger.flops)


def test_a_cell_is_run_with_its_own_seed(ran: tuple[Question, Path, Cell]) -> None:
    records = [json.loads(p.read_text()) for p in ran[1].glob("trials/*/trial.json")]
    assert {record["seed"] for record in records} == {PLACE.seed}


def test_a_cell_that_is_taken_up_again_gives_the_same(ran: tuple[Question, Path, Cell]) -> None:
    """Also where a kill came after an evaluation was written: its steps are taken again."""
    asked, study, cell = ran
    for path in study.glob(f"trials/*/{ANSWERS}"):
        first = path.read_text().splitlines()[0]
        wrong = {**json.loads(first), "right": "0000"}
        path.write_text(json.dumps(wrong) + "\n" + path.read_text())
    assert run_cell(PLACE, asked, study).model_dump_json() == cell.model_dump_json()


def test_a_grid_goes_on_from_the_committed_table(tmp_path: Path) -> None:
    cells = [simulated(data=name) for name in ("digits", "shapes", "coco")]
    table, work = tmp_path / "table.xz", tmp_path / "work"
    write_table(cells, table)
    own = cells[0].model_copy(update={"commonest": 0.125})
    write_cell(work / "cells" / f"{own.place.name}.json", own)
    assert grid.lay_out(work, table) == 2
    assert [cell.place for cell in read_work(work)] == sorted(cell.place for cell in cells)
    kept = next(cell for cell in read_work(work) if cell.place == own.place)
    assert kept.commonest == 0.125
    assert grid.lay_out(work, table) == 0
    assert grid.lay_out(tmp_path / "other", tmp_path / "no-table.xz") == 0
