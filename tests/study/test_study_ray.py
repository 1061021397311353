"""On Ray a study gives the records of one machine, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_ray import kill_workers, records
from small_study import PATIENCE, Finished, run, running, wait_until, without_times

from headstart.execution import trial_folder, turns
from headstart.execution.cluster import Ray
from headstart.execution.worker import work
from headstart.places import Place
from headstart.records import read_trial, read_trials
from headstart.study.listener import Listener
from headstart.study.plan import Study, prepare
from headstart.study.question import StudyFile
from headstart.study.run import run_arms
from s3_server import S3

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")
DONE = {"linear": "done", "fine-tune": "done", "scratch": "done"}


def _begun(finished: Finished, folder: Path, *, without: tuple[str, ...] = ()) -> Study:
    """The finished study's question in a new folder, whose arms `without` these have run."""
    file = StudyFile.read(finished.folder)
    assert file is not None
    folder.mkdir()
    file.write(folder)
    for record in finished.records():
        if without and record["strategy"] not in without:
            place = trial_folder(folder, record["key"])
            shutil.copytree(trial_folder(finished.folder, record["key"]), place)
    return prepare(file.asked, folder)


def _when(happened: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Do something as soon as something happened."""

    def wait() -> None:
        until = time.monotonic() + PATIENCE
        while not happened() and time.monotonic() < until:
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def _checkpoint(folder: Path, finished: Finished) -> Callable[[], bool]:
    """Whether scratch has been measured twice and has a checkpoint."""
    trial = folder / "trials" / finished.key("scratch")

    def happened() -> bool:
        saved = (trial / "checkpoint" / "state.pt").exists()
        return saved and (trial / "curve.jsonl").read_bytes().count(b"\n") >= 2

    return happened


def _assert_same(folder: Path, finished: Finished) -> None:
    assert records(folder) == records(finished.folder)
    for record in read_trials(folder):
        mine, other = (trial_folder(f, record.key) for f in (folder, finished.folder))
        assert {p.name for p in mine.iterdir()} == {p.name for p in other.iterdir()}
        for path in mine.glob("*.[ns][pa]*"):  # predictions.npz, weights.safetensors
            if path.name != "head.safetensors" or (other / path.name).exists():
                assert path.read_bytes() == (other / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_ray_and_one_machine_give_the_same_records(
    finished: Finished, executor: Ray, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    run_arms(_begun(finished, folder), Listener(), executor)
    _assert_same(folder, finished)


@pytest.mark.slow
def test_trials_that_make_room_for_others_give_the_same_records(
    finished: Finished, ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.execution.cluster.handed_over", lambda at_once: 1)
    monkeypatch.setattr("headstart.execution.cluster.TURN", 0.0)

    def impatient(task: Any) -> Any:  # sent by value: it changes the turns of the worker
        turns.LASTS = 0.0
        return work(task)

    monkeypatch.setattr("headstart.execution.cluster.work", impatient)
    begun: list[str] = []
    plain = Ray._result

    def counting(self: Ray, task: Any, watch: Any) -> Any:
        begun.append(task.key)
        return plain(self, task, watch)

    monkeypatch.setattr(Ray, "_result", counting)
    folder = tmp_path / "study"
    run_arms(_begun(finished, folder), Listener(), Ray())
    _assert_same(folder, finished)
    assert len(begun) > len(set(begun))


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(
    finished: Finished, executor: Ray, ray_cluster: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    study = _begun(finished, folder, without=("scratch",))
    killed: list[bool] = []

    def kill() -> None:
        killed.append(True)
        kill_workers(ray_cluster)

    _when(_checkpoint(folder, finished), kill)
    run_arms(study, Listener(), executor)
    assert killed
    _assert_same(folder, finished)


@pytest.mark.slow
def test_a_trial_whose_workers_always_die_is_recorded_and_the_rest_goes_on(
    finished: Finished, ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.execution.cluster.DEATHS", 1)
    folder = tmp_path / "study"
    study = _begun(finished, folder, without=("linear", "scratch"))
    trial = folder / "trials" / finished.key("scratch")
    stop = threading.Event()

    def kill_again_and_again() -> None:
        while not stop.is_set():
            if '"running"' in _text(trial / "trial.json"):
                kill_workers(ray_cluster)
            time.sleep(0.05)

    thread = threading.Thread(target=kill_again_and_again)
    thread.start()
    run_arms(study, Listener(), Ray())
    stop.set()
    thread.join()
    failed = read_trial(trial)
    assert failed is not None
    assert failed.state == "failed"
    assert "worker died 2 times" in str(failed.note)
    [linear] = [r for r in read_trials(folder) if r.strategy == "linear"]
    assert linear.state == "done"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
def test_stopping_cancels_the_tasks_and_the_same_command_continues(
    finished: Finished, executor: Ray, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    study = _begun(finished, folder, without=("scratch",))
    under_way = _checkpoint(folder, finished)
    run_arms(study, Listener(stop_requested=under_way), executor)
    record = read_trial(folder / "trials" / finished.key("scratch"))
    assert record is not None
    assert record.state == "unfinished"
    run_arms(study, Listener(), Ray())
    _assert_same(folder, finished)


@pytest.mark.slow
def test_a_command_that_is_killed_continues_and_gives_the_same_study(
    finished: Finished, tmp_path: Path, ray_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("RAY_TMPDIR", str(ray_folder))
    folder = tmp_path / "study"
    _begun(finished, folder, without=("scratch",))
    command = (*finished.command, "--out", folder, "--on", "ray")
    with running(*command) as process:
        wait_until(_checkpoint(folder, finished), process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    ended = run(*command)
    assert ended.returncode == 0, ended.stderr
    _assert_same(folder, finished)
    answer = json.loads((folder / "study.json").read_text())
    assert without_times(answer) == without_times(finished.answer)


@pytest.mark.slow
def test_a_node_that_disappears_loses_nothing(
    finished: Finished, tmp_path: Path, ray_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: this one may be connected to another cluster."""
    pytest.importorskip("ray", reason="Ray is not installed")
    # Ray's Cluster also writes its address below the folder that is its own by default.
    monkeypatch.setenv("RAY_TMPDIR", str(ray_folder))
    folder = tmp_path / "study"
    _begun(finished, folder, without=("scratch",))
    checkpoint = folder / "trials" / finished.key("scratch") / "checkpoint" / "state.pt"
    ended = subprocess.run(
        [sys.executable, "-c", NODES, str(folder), str(checkpoint), str(ray_folder / "ray")],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "a node was taken away" in ended.stdout
    _assert_same(folder, finished)


NODES = """
import sys, threading, time
from pathlib import Path
from ray.cluster_utils import Cluster
from headstart.execution.cluster import Ray
from headstart.study.listener import Listener
from headstart.study.plan import prepare
from headstart.study.question import StudyFile
from headstart.study.run import run_arms

folder, checkpoint = Path(sys.argv[1]), Path(sys.argv[2])
small = {"object_store_memory": 100_000_000}
head = {"num_cpus": 0, "temp_dir": sys.argv[3], **small}
cluster = Cluster(initialize_head=True, head_node_args=head)
executor = Ray(address=cluster.address)  # on the head, which is not the one to go
first = cluster.add_node(num_cpus=1, **small)
study = prepare(StudyFile.read(folder).asked, folder)
ran = threading.Thread(target=run_arms, args=(study, Listener(), executor))
ran.start()
while not checkpoint.exists():
    time.sleep(0.005)
cluster.add_node(num_cpus=1, **small)
cluster.remove_node(first, allow_graceful=False)
print("a node was taken away", flush=True)
ran.join()
executor.close()
cluster.shutdown()
"""


@pytest.mark.slow
def test_records_in_another_place_come_home(
    finished: Finished, ray_cluster: Any, tmp_path: Path
) -> None:
    folder, place = tmp_path / "study", tmp_path / "place"
    study = _begun(finished, folder)
    run_arms(study, Listener(), Ray(place=Place(place.as_uri())))
    _assert_same(folder, finished)
    assert records(place) == records(finished.folder)
    assert {r.strategy: r.state for r in read_trials(place)} == DONE


@pytest.mark.slow
def test_records_in_an_object_store_come_home(finished: Finished, s3: S3, tmp_path: Path) -> None:
    folder, on_ray = tmp_path / "study", ("--on", "ray", "--records", "s3://bucket/study")
    ended = run(*finished.command, "--out", folder, *on_ray)
    assert ended.returncode == 0, ended.stderr
    _assert_same(folder, finished)
    answer = json.loads((folder / "study.json").read_text())
    assert without_times(answer) == without_times(finished.answer)
    kept = {key for key in s3.names() if key.endswith("/trial.json")}
    assert kept == {f"study/trials/{record['key']}/trial.json" for record in finished.records()}
    assert not any("checkpoint" in key or key.endswith(".lock") for key in s3.names())

    wrong = run(*finished.command, "--out", folder, "--on", "ray", "--records", "s3://buckte/study")
    assert wrong.returncode == 2
    assert "s3://buckte/study cannot be written to" in wrong.stderr
    assert s3.buckets() == ["bucket"]
