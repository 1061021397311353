"""A run that was stopped or killed continues to the same bits (rule 6)."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from training_tiny import FakeTask, fabric, recipe, run, same, state_of, tiny_chain

from headstart.backbones import Chain
from headstart.records import CurvePoint, read_curve
from headstart.strategies import Phase
from headstart.training import Hooks, Outcome, Recipe, StoppedError, checkpoint, train

TWO = (Phase(learn="head", steps=0.5), Phase(first_stage=0.1))


def curve_of(folder: Path) -> list[dict[str, Any]]:
    return [p.model_dump(exclude={"seconds"}) for p in read_curve(folder)]


def result_of(outcome: Outcome) -> dict[str, Any]:
    content = {**vars(outcome), "ledger": outcome.ledger.model_dump(exclude={"seconds"})}
    return content


def run_stopping_at(folder: Path, plan: Recipe, steps: set[int]) -> tuple[Outcome, Chain]:
    """Run to the end, stopped once before each of `steps` and begun again from disk alone."""
    left = set(steps)
    while True:
        at = {"step": -1}

        def asked(at: dict[str, int] = at) -> bool:
            state = at["step"]
            if state in left:
                left.discard(state)
                return True
            return False

        def note(step: int, total: int, at: dict[str, int] = at) -> None:
            at["step"] = step

        if 0 in left:
            at["step"] = 0
        chain = tiny_chain(seed=0 if not (folder / "checkpoint").exists() else 5)
        torch.manual_seed(len(left))  # whatever the process drew before
        try:
            return run(folder, plan, chain=chain, hooks=Hooks(on_step=note, stop_requested=asked))
        except StoppedError:
            continue


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome, Chain]:
    """Two phases, BatchNorm and dropout, without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *run(folder, recipe(*TWO))


@pytest.mark.parametrize("steps", [{0}, {1}, {3}, {4}, {6}, {7}, {12}, {17}, {2, 5, 6, 11, 16}])
def test_stopping_anywhere_changes_nothing(
    tmp_path: Path, whole: tuple[Path, Outcome, Chain], steps: set[int]
) -> None:
    folder, outcome, chain = whole
    stopped, twin = run_stopping_at(tmp_path, recipe(*TWO), steps)
    assert same(state_of(chain), state_of(twin))
    assert curve_of(folder) == curve_of(tmp_path)
    assert result_of(outcome) == result_of(stopped)


def test_what_begins_or_goes_on_says_so_when_its_state_is_loaded(tmp_path: Path) -> None:
    told: list[Any] = []
    more: dict[str, Any] = {
        "on_begin": lambda: told.append("begins"),
        "on_point": lambda point: told.append(("point", point.step)),
        "on_step": lambda step, total: told.append(step),
    }
    stop = Hooks(stop_requested=lambda: told[-1:] == [3], **more)
    with pytest.raises(StoppedError):
        run(tmp_path, recipe(*TWO), hooks=stop)
    assert told == ["begins", ("point", 0), 1, 2, 3]
    told.clear()
    run(tmp_path, recipe(*TWO), chain=tiny_chain(seed=5), hooks=Hooks(**more))
    assert told[:3] == ["begins", 4, ("point", 4)]


def test_a_kill_at_any_evaluation_changes_nothing(
    tmp_path: Path, whole: tuple[Path, Outcome, Chain]
) -> None:
    """The folder is copied just after a point was written, before the state was."""
    folder, outcome, chain = whole
    copies: list[Path] = []

    def copy(point: CurvePoint) -> None:
        copies.append(tmp_path / f"killed-{point.step}")
        shutil.copytree(tmp_path / "first", copies[-1])

    run(tmp_path / "first", recipe(*TWO), hooks=Hooks(on_point=copy))
    assert [p.step for p in read_curve(folder)] == [0, 4, 8, 12, 14, 16, 18]  # 14: the hold ends
    assert len(copies) == 7
    for killed in copies[::2]:
        with (killed / "curve.jsonl").open("a") as file:
            file.write('{"step": 99, "im')  # and a line cut short
        again, twin = run(killed, recipe(*TWO))
        assert same(state_of(chain), state_of(twin))
        assert curve_of(folder) == curve_of(killed)
        assert result_of(outcome) == result_of(again)


def test_a_kill_after_the_last_evaluation_changes_nothing(
    tmp_path: Path, whole: tuple[Path, Outcome, Chain]
) -> None:
    """All steps are taken; only BatchNorm's statistics are still to be estimated."""
    folder, outcome, chain = whole
    shutil.copytree(folder, tmp_path / "killed")
    again, twin = run(tmp_path / "killed", recipe(*TWO), chain=tiny_chain(seed=5))
    assert same(state_of(chain), state_of(twin))
    assert result_of(outcome) == result_of(again)


@pytest.mark.parametrize("schedule", ["trapezoid", "fixed-tail"])
@pytest.mark.parametrize("share", [0.4, 1.5])
def test_both_schedules_keep_their_length(tmp_path: Path, schedule: str, share: float) -> None:
    plan = recipe(Phase(steps=share), schedule=schedule)
    outcome, chain = run(tmp_path / "whole", plan)
    stopped, twin = run_stopping_at(tmp_path / "stopped", plan, {3})
    assert outcome.ledger.steps == stopped.ledger.steps == round(12 * share)
    assert same(state_of(chain), state_of(twin))


def test_an_extended_run_stays_extended(tmp_path: Path) -> None:
    plan = recipe(Phase(extend=True), unit=20, evaluate_every=2, extension_limit=2.0)

    def start(folder: Path, **more: Any) -> Outcome:
        task = FakeTask(measured=lambda n: (10 - chain_steps(folder) * 0.1, 0.5))
        return train(tiny_chain(), task, plan, folder, fabric(), Hooks(**more))

    def chain_steps(folder: Path) -> int:
        points = read_curve(folder)
        return points[-1].step if points else 0

    whole = start(tmp_path / "whole")
    seen: list[int] = []
    with pytest.raises(StoppedError):
        start(
            tmp_path / "stopped",
            on_step=lambda step, total: seen.append(step),
            stop_requested=lambda: bool(seen) and seen[-1] == 17,
        )
    stopped = start(tmp_path / "stopped")
    assert whole.planned_steps == 40
    assert result_of(whole) == result_of(stopped)
    assert curve_of(tmp_path / "whole") == curve_of(tmp_path / "stopped")


def test_what_may_learn_and_the_batchnorm_modes_come_back(tmp_path: Path) -> None:
    plan = recipe(Phase(learn="head", steps=0.5), Phase(learn="last 1"))

    def modes_at_nine(folder: Path, chain: Chain, stop_after: int = 99) -> list[Any]:
        noted: list[Any] = []
        steps: list[int] = []

        def note(step: int, total: int) -> None:
            steps.append(step)
            if step == 9:
                norms = [m.training for m in chain.modules() if isinstance(m, _BatchNorm)]
                noted.extend([norms, [p.requires_grad for p in chain.network.parameters()]])

        hooks = Hooks(on_step=note, stop_requested=lambda: stop_after in steps)
        with suppress(StoppedError):
            run(folder, plan, chain=chain, hooks=hooks)
        return noted

    whole = modes_at_nine(tmp_path / "whole", tiny_chain())
    assert modes_at_nine(tmp_path / "stopped", tiny_chain(), stop_after=8) == []
    assert modes_at_nine(tmp_path / "stopped", tiny_chain(seed=5)) == whole
    assert whole == [[False, True], [False] * 6 + [True] * 6]


def test_a_checkpoint_is_whole_or_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, {"step": 1})

    def break_off(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", break_off)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, {"step": 2})
    assert checkpoint.load(tmp_path) == {"step": 1}
    assert [p.name for p in (tmp_path / "checkpoint").iterdir()] == ["state.pt"]
    checkpoint.remove(tmp_path)
    assert checkpoint.load(tmp_path) is None
    checkpoint.remove(tmp_path)
