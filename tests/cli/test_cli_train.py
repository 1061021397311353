"""One arm alone: by a plain process, and by two that torchrun starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from drawn_objects import draw
from safetensors.torch import load_file
from small_study import PATIENCE, Ended, Finished, draw_folder, environment

import headstart
from headstart.errors import HeadstartError
from headstart.records import TrialRecord, read_curve, read_predictions, read_trials

Call = Callable[..., Ended]
BACKBONE = ("--backbone", "timm/mobilenetv3_small_050", "--weights", "random")
ARM = ("--strategy", "scratch-gn", *BACKBONE, "--image-size", "32", "--batch-size", "8")


def torchrun(*options: str) -> list[str]:
    """Two processes of a command."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", *options]
    return [*launcher, "--nproc-per-node", "2", "-m", "headstart"]


def together(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same, to its end."""
    return subprocess.run(
        [*torchrun(), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextmanager
def running(log: Path, *arguments: str | Path, restarts: int = 0) -> Iterator[Any]:
    """The same, while the block lasts; what it says goes to `log`."""
    command = [*torchrun("--max-restarts", str(restarts)), *map(str, arguments)]
    with log.open("w") as said:
        process = subprocess.Popen(
            command, env=environment(), stdout=said, stderr=said, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def only(folder: Path) -> tuple[TrialRecord, Path]:
    [record] = read_trials(folder)
    return record, folder / "trials" / record.key


def curve(folder: Path) -> list[dict[str, Any]]:
    return [p.model_dump(exclude={"seconds"}) for p in read_curve(only(folder)[1])]


def rank_of(process: int) -> str | None:
    found = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    ranks = [one.decode() for one in found if one.startswith(b"RANK=")]
    return ranks[0].removeprefix("RANK=") if ranks else None


def kill_rank(rank: int, launcher: int, folder: Path, points: int) -> None:
    """SIGKILL for one rank, once so many evaluations are on disk."""
    begun = time.monotonic()
    while not any(len(read_curve(p)) >= points for p in (folder / "trials").glob("*")):
        assert time.monotonic() - begun < PATIENCE, "the moment did not come"
        time.sleep(0.01)
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    [victim] = [int(child) for child in children if rank_of(int(child)) == str(rank)]
    os.kill(victim, signal.SIGKILL)


# One process.


def test_it_is_the_trial_that_a_study_runs(finished: Finished, call: Call, tmp_path: Path) -> None:
    """The same key, the same numbers; no sweep, no other arm, no probe."""
    theirs = finished.folder / "trials" / finished.key("fine-tune")
    known = json.loads((theirs / "trial.json").read_text())
    factor = str(known["rate_factor"])
    options = ("--steps", "4", "--image-size", "32", "--rate-factor", factor, "--json")
    out = tmp_path / "alone"
    ended = call("train", finished.pictures, "--strategy", "fine-tune", *options, "--out", out)
    assert ended.code == 0, ended.err
    record, ours = only(out)
    if (
        yaml.safe_load((finished.folder / "study.yaml").read_text())["resolved"]["engine"]
        == (yaml.safe_load((out / "study.yaml").read_text())["resolved"]["engine"])
    ):
        assert record.key == known["key"]
        assert [p.loss for p in read_curve(ours)] == [p.loss for p in read_curve(theirs)]
    assert (record.state, record.role, record.machine["processes"]) == ("done", "trial", [1])
    answer = json.loads(ended.out)
    assert [arm["strategy"] for arm in answer["arms"]] == ["fine-tune"]
    assert {"study.yaml", "study.json", "report.html", "best"} <= {p.name for p in out.iterdir()}
    assert not (out / "probe").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--batch-size", "9", "--accumulate", "2"), "--batch-size 8 or 10"),
        (("--batch-size", "1", "--accumulate", "3"), "--batch-size 3"),
        (("--rate-factor", "0"), "--rate-factor 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    finished: Finished, call: Call, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    out = tmp_path / "out"
    arm = ("--strategy", "fine-tune", "--image-size", "32", "--out", out)
    ended = call("train", finished.pictures, *arm, *options)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())
    assert not out.exists()


def test_several_processes_train_and_do_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Pair:
        world_size, global_rank = 2, 0

    monkeypatch.setattr(import_module("headstart.study.conduct"), "fabric", Pair)
    with pytest.raises(HeadstartError, match="Say headstart train"):
        headstart.compare("digits", out=tmp_path / "out", steps=2)
    assert not (tmp_path / "out").exists()


# Two processes.


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("two") / "pictures")


@pytest.mark.slow
def test_two_processes_answer_as_one_and_the_first_alone_speaks(
    pictures: Path, call: Call, tmp_path: Path
) -> None:
    """Parts of a batch are computed by the same kernels as shares, so the curves agree closely."""
    arm = ("train", pictures, *ARM, "--steps", "6", "--json")
    ended = together(*arm, "--out", tmp_path / "two")
    assert ended.returncode == 0, ended.stderr
    assert call(*arm, "--accumulate", "2", "--out", tmp_path / "one").code == 0
    assert json.loads(ended.stdout)["arms"][0]["state"] == "done"
    one, two = only(tmp_path / "one"), only(tmp_path / "two")
    assert one[0].key == two[0].key
    assert two[0].machine["processes"] == [2]
    assert "shares of batches were computed in 2 parts" in one[0].events
    np.testing.assert_allclose(
        *([p["loss"] for p in curve(tmp_path / name)] for name in ("one", "two")), atol=1e-4
    )
    answers = [read_predictions(folder) for _, folder in (one, two)]
    assert answers[0] is not None
    assert answers[1] is not None
    assert answers[0].indices.tolist() == answers[1].indices.tolist()
    np.testing.assert_allclose(answers[0].scores, answers[1].scores, atol=1e-3)
    assert not [p for p in (tmp_path / "two").rglob("*") if p.name.endswith(".tmp")]


@pytest.mark.slow
def test_two_processes_find_objects(tmp_path: Path) -> None:
    objects = draw(tmp_path / "objects")
    options = ("--strategy", "scratch", "--backbone", "timm/resnet10t.c3_in1k", "--task", "boxes")
    shape = ("--weights", "random", "--normalization", "group", "--image-size", "64")
    ended = together(
        *("train", objects, *options, *shape, "--batch-size", "4", "--steps", "1"),
        *("--out", tmp_path / "out"),
    )
    assert ended.returncode == 0, ended.stderr
    record, folder = only(tmp_path / "out")
    assert record.state == "done"
    assert (folder / "detections.npz").exists()
    assert (tmp_path / "out" / "best" / "model.json").exists()


@pytest.mark.slow
def test_a_killed_rank_ends_the_trial_with_its_checkpoint_and_another_number_goes_on(
    pictures: Path, call: Call, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    arm = ("train", pictures, *ARM, "--steps", "30", "--out", out)
    with running(log, *arm) as process:
        kill_rank(1, process.pid, out, points=3)
        assert process.wait(PATIENCE) != 0
    said = " ".join(log.read_text().split())
    assert "Rank 0 of 2 cannot go on" in said
    assert "checkpoint/state.pt: the same command goes on" in said
    assert "headstart/training" not in said  # no traceback of ours
    record, folder = only(out)
    assert (record.state, record.note) == ("unfinished", None)
    assert record.ledger.steps == read_curve(folder)[-1].step > 0
    before = curve(out)
    assert call(*arm).code == 0
    after, _ = only(out)
    assert (after.state, after.machine["processes"]) == ("done", [2, 1])
    assert curve(out)[: len(before)] == before


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_the_elastic_launcher_restarts_it_and_nothing_is_lost(
    pictures: Path, tmp_path: Path, rank: int
) -> None:
    arm = ("train", pictures, *ARM, "--steps", "20", "--out")
    with running(tmp_path / "log", *arm, tmp_path / "killed", restarts=2) as process:
        kill_rank(rank, process.pid, tmp_path / "killed", points=3)
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    assert together(*arm, tmp_path / "whole").returncode == 0
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
    ours, theirs = (load_file(only(tmp_path / n)[1] / WEIGHTS) for n in ("killed", "whole"))
    assert all(bool((ours[name] == theirs[name]).all()) for name in theirs)


WEIGHTS = "weights.safetensors"


@pytest.mark.slow
def test_batchnorm_that_learns_is_refused_on_several_cpus(pictures: Path, tmp_path: Path) -> None:
    arm = ("--strategy", "scratch", *BACKBONE, "--image-size", "32", "--batch-size", "8")
    ended = together("train", pictures, *arm, "--steps", "1", "--out", tmp_path / "out")
    assert ended.returncode != 0
    assert "BatchNorm learns" in ended.stderr
    assert "scratch-gn" in ended.stderr
    assert not (tmp_path / "out").exists()
