"""Transplants in a study: they begin with what it trained itself, and survive what befalls it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from small_study import draw_folder, running, state_of, wait_until, without_times
from small_study import run as run_command

import headstart
from headstart.backbones import load
from headstart.errors import HeadstartError
from headstart.execution import Costs, Trial, executor
from headstart.records import TrialRecord, read_trials
from headstart.strategies import choose, named
from headstart.study import Listener, Question, plan, question_from
from headstart.study.run import run_arms

BACKBONE, CUT = "timm/test_resnet", 2
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
ARMS = ("baseB", "B2B", "B2B+", "A2B", "A2B+")


@dataclass(frozen=True)
class Sweep:
    """A study of one cut with two seeds, as it was asked and where it lies."""

    asked: dict[str, Any]
    folder: Path

    @property
    def answer(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "study.json").read_text())
        return content

    def at(self, folder: Path) -> Sweep:
        return Sweep(self.asked, folder)

    def run(self, listener: Listener | None = None) -> None:
        headstart.compare(**self.asked, out=self.folder, listener=listener)

    def trials(self, arm: str, role: str = "trial") -> list[TrialRecord]:
        """By seed."""
        mine = [r for r in read_trials(self.folder) if (r.strategy, r.role) == (arm, role)]
        return sorted(mine, key=lambda record: record.seed)

    def weights(self, arm: str, seed: int = 0) -> dict[str, torch.Tensor]:
        return load_file(self.trial(arm, seed) / "weights.safetensors")

    def trial(self, arm: str, seed: int = 0) -> Path:
        return self.folder / "trials" / self.trials(arm)[seed].key


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that stand for those of A."""
    path = tmp_path_factory.mktemp("source") / "a.safetensors"
    save_file(load(BACKBONE, "random", seed=9).network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def sweep(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Run to its end, with every seed's weights as they lay before it tidied up."""
    root = tmp_path_factory.mktemp("transplants")
    asked = {
        "data": draw_folder(root / "pictures", each=24),
        "backbone": BACKBONE,
        "weights": source,
        "strategies": [f"transplant-{CUT}"],
        "steps": 2,
        "seeds": 2,
        "image_size": 32,
        "batch_size": 16,
    }
    done = Sweep(asked, root / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.study.judge._drop_spare_weights", lambda *_: None)
        done.run()
    return done


def below_the_cut() -> tuple[str, ...]:
    """Names of the tensors of the transplanted stages."""
    owned = load(BACKBONE, "random").state_names()
    return tuple(name for stage in STAGES[:CUT] for name in owned[stage])


# -- what an arm begins with and keeps -----------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_frozen_stages_are_the_sources_to_the_last_bit_statistics_too(
    sweep: Sweep, source: Path, seed: int
) -> None:
    own, theirs = sweep.weights("baseB", seed), load_file(source)
    names = below_the_cut()
    assert any(name.endswith("running_mean") for name in names)
    frozen_b, frozen_a = sweep.weights("B2B", seed), sweep.weights("A2B", seed)
    for name in names:
        assert torch.equal(frozen_b[name], own[name]), name
        assert torch.equal(frozen_a[name], theirs[name]), name
    rest = [n for n in own if n not in names and own[n].ndim > 1]
    assert rest
    assert not any(torch.equal(frozen_b[n], own[n]) for n in rest)


def test_transplants_that_learn_on_begin_at_the_source_and_leave_it(sweep: Sweep) -> None:
    own, later = sweep.weights("baseB"), sweep.weights("B2B+")
    other = sweep.weights("A2B+")
    kernels = [name for name in below_the_cut() if own[name].ndim > 1]
    for name in kernels:
        moved, apart = (later[name] - own[name]).norm(), (other[name] - own[name]).norm()
        assert 0 < moved < apart


def test_seeds_transplant_from_their_own_base(sweep: Sweep) -> None:
    name = below_the_cut()[0]
    assert not torch.equal(sweep.weights("B2B", 0)[name], sweep.weights("B2B", 1)[name])


def test_the_rest_is_drawn_alike_in_all_transplants_and_unlike_the_base(sweep: Sweep) -> None:
    study = plan.prepare(question(sweep), sweep.folder)
    base, key = named("baseB", STAGES), sweep.trials("baseB")[0].key
    begun = [named(n, STAGES).beginning({"arm:baseB": f"trial:{key}"}) for n in ("B2B", "A2B")]
    b, a = (study.setting.begin(one, 0).network.state_dict() for one in begun)
    first = study.setting.begin(base, 0).network.state_dict()
    for name in load(BACKBONE, "random").state_names()["layer3"]:
        assert torch.equal(a[name], b[name])
        assert a[name].ndim < 2 or not torch.equal(a[name], first[name])


def question(sweep: Sweep) -> Question:
    kept = plan.StudyFile.read(sweep.folder)
    assert kept is not None
    return kept.asked


# -- keys ----------------------------------------------------------------------------------------


def test_a_trial_names_the_trial_it_begins_with_and_its_key_depends_on_it(sweep: Sweep) -> None:
    for seed, base in enumerate(sweep.trials("baseB")):
        starts = {row["start"] for row in sweep.trials("B2B")[seed].table["table"][:CUT]}
        assert starts == {f"trial:{base.key}"}
        assert str(sweep.folder) not in (sweep.trial("B2B", seed) / "trial.json").read_text()
    strategy = named("B2B", STAGES)
    keys = {
        Trial(strategy.beginning({"arm:baseB": f"trial:{key}"}), 0, 4, 1.0).key("p")
        for key in ("one", "other")
    }
    assert len(keys) == 2


def test_a_study_that_was_moved_runs_nothing_again(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = sweep.at(Path(shutil.copytree(sweep.folder, tmp_path / "moved")))
    before = state_of(moved.folder / "trials")
    monkeypatch.chdir(tmp_path)
    Sweep(sweep.asked, Path("moved")).run()
    after = state_of(moved.folder / "trials")
    assert all(before[name] == kept for name, kept in after.items())
    gone = before.keys() - after.keys()  # a finished study keeps one set of weights an arm
    assert gone == {f"{sweep.trials(arm)[1].key}/weights.safetensors" for arm in ARMS}
    assert without_times(moved.answer) == without_times(sweep.answer)


def test_weights_that_a_finished_study_let_go_are_trained_again_when_told(
    sweep: Sweep, tmp_path: Path
) -> None:
    copy = sweep.at(Path(shutil.copytree(sweep.folder, tmp_path / "copy")))
    base = copy.trial("baseB", 1)
    (base / "weights.safetensors").unlink()
    shutil.rmtree(copy.trial("B2B", 1))
    with pytest.raises(HeadstartError, match=rf"Delete {base}"):
        copy.run()
    shutil.rmtree(base)
    copy.run()
    assert without_times(copy.answer) == without_times(sweep.answer)


# -- stopped, killed -----------------------------------------------------------------------------


def before_b2b(sweep: Sweep, folder: Path) -> Sweep:
    """The study as it lay on disk when B2B was all that was left to run."""
    later = [record.key for role in ("sweep", "trial") for record in sweep.trials("B2B", role)]
    left_out = (*later, "study.json", "test.json", "report.html", "best", "validation.npz")
    shutil.copytree(sweep.folder, folder, ignore=shutil.ignore_patterns(*left_out))
    return sweep.at(folder)


def assert_same(one: Sweep, other: Sweep) -> None:
    assert without_times(one.answer) == without_times(other.answer)
    for arm in ARMS:  # the first seed's weights are kept
        mine, theirs = one.weights(arm), other.weights(arm)
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_sweep_that_was_stopped_ends_as_if_it_had_not_been(sweep: Sweep, tmp_path: Path) -> None:
    stopped = before_b2b(sweep, tmp_path / "stopped")
    second = stopped.folder / "trials" / sweep.trials("B2B")[1].key / "checkpoint"
    stopped.run(Listener(stop_requested=second.exists))
    states = {arm["strategy"]: arm["state"] for arm in stopped.answer["arms"]}
    assert states == {**dict.fromkeys(ARMS, "done"), "B2B": "unfinished"}
    stopped.run()
    assert_same(stopped, sweep)


@pytest.mark.slow
def test_kill_9_while_a_transplant_learns_loses_nothing(sweep: Sweep, tmp_path: Path) -> None:
    killed = before_b2b(sweep, tmp_path / "killed")
    asked = dict(sweep.asked, strategies=sweep.asked["strategies"][0])
    options = [f"--{k.replace('_', '-')}={v}" for k, v in asked.items() if k != "data"]
    command = ("compare", asked["data"], *options, "--out", killed.folder)
    first = killed.folder / "trials" / sweep.trials("B2B")[0].key / "checkpoint" / "state.pt"
    with running(*command) as process:
        wait_until(first.exists, process)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    ended = run_command(*command)
    assert ended.returncode == 0, ended.stderr
    assert_same(killed, sweep)


# -- the plan ------------------------------------------------------------------------------------


@given(budget=st.floats(10, 20_000), step=st.floats(0.01, 2), seeds=st.none() | st.integers(1, 3))
@settings(max_examples=60)
def test_no_budget_leaves_an_arm_without_the_weights_it_begins_with(
    budget: float, step: float, seeds: int | None
) -> None:
    strategies = choose(["fine-tune", "transplant", "scratch"], STAGES)
    costs = Costs(
        forward=step / 100,
        step={s.name: step for s in strategies},
        train_images=400,
        validation_images=100,
        batch=32,
    )
    asked = Question(data="x", budget_seconds=budget, seeds=seeds)
    setting: Any = SimpleNamespace(training=np.arange(400), natural_steps=lambda images: images)
    arms, _ = plan._plan(asked, setting, strategies, {}, costs, 0.0)
    kept = {arm.strategy.name for arm in arms if arm.state is None}
    for arm in arms:
        assert arm.strategy.name not in kept or set(arm.strategy.sources) <= kept


def test_steps_are_timed_before_there_is_a_base(sweep: Sweep, tmp_path: Path) -> None:
    asked = {
        **sweep.asked,
        "data": str(sweep.asked["data"]),
        "weights": str(sweep.asked["weights"]),
    }
    asked |= {"steps": None, "budget_seconds": 100.0}
    study = plan.prepare(question_from(**asked), tmp_path / "planned")
    arms = {arm.strategy.name: arm for arm in study.resolved.arms}
    assert tuple(arms) == ARMS
    assert all(arm.seconds for arm in arms.values())
    assert len({arm.unit for arm in arms.values()}) == 1


# -- a base that failed --------------------------------------------------------------------------


def failing(names: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the trials of some arms fail; note whose trials were run at all."""
    ran: list[str] = []

    def run(trial: Trial, *_: object) -> TrialRecord:
        ran.append(trial.strategy.name)
        state = "failed" if trial.strategy.name in names else "done"
        return TrialRecord(
            key=f"{trial.strategy.name}-{trial.seed}", protocol="p", strategy=trial.strategy.name,
            table={}, seed=trial.seed, train_images=1, planned_steps=1, role=trial.role,
            rate_factor=trial.rate_factor, state=state, loss=1.0,
        )  # fmt: skip

    monkeypatch.setattr(executor, "run", run)
    return ran


def test_what_begins_with_a_failed_base_is_not_run_and_says_so(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = plan.prepare(question(sweep), sweep.folder)
    ran = failing(["baseB"], monkeypatch)
    notes = run_arms(study, Listener()).notes
    assert set(ran) == {"baseB", "A2B", "A2B+"}
    assert set(notes) == {"B2B", "B2B+"}
    assert "begins with the weights of baseB" in notes["B2B"]


# -- the answer ----------------------------------------------------------------------------------


def test_the_answer_says_what_the_cut_shows_and_bills_what_was_borrowed(sweep: Sweep) -> None:
    found = sweep.answer["transplants"]
    assert [(cut["n"], cut["stage"]) for cut in found["cuts"]] == [(2, "layer1")]
    arms = {arm["strategy"]: arm for arm in sweep.answer["arms"]}
    value = {name: arm["metric"]["value"] for name, arm in arms.items()}
    shown = {name: one["value"] for name, one in found["cuts"][0].items() if type(one) is dict}
    assert shown == pytest.approx(
        {
            "co_adaptation": value["baseB"] - value["B2B"],
            "specificity": value["B2B"] - value["A2B"],
            "gain": value["A2B+"] - value["baseB"],
            "retraining": value["B2B+"] - value["baseB"],
        }
    )
    assert found["transfer"] is None  # of one cut
    flops = {name: arm["cost"]["flops"] for name, arm in arms.items()}
    assert flops["B2B"] == pytest.approx(flops["A2B"] + flops["baseB"])
    assert flops["A2B"] < flops["baseB"]
    assert {arm["cost"]["steps"] for arm in arms.values()} == {6}
