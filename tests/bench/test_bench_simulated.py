"""The simulated cluster: the study's own decisions, recorded times, and the same answer always."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from backtest.packing import read_table
from bench.recorded import without_sleep
from bench.scale_simulated import Asked, Recorded, on, prepared, recorded_cells
from bench.virtual import RESTART, Cluster, Ran, Source

from headstart.execution.executor import Job, Watch
from headstart.execution.turns import handed_over
from headstart.records import Ledger, TrialRecord, read_trials, write_trial
from headstart.study.listener import Listener
from headstart.study.plan import Study
from headstart.study.run import run_trials
from headstart.study.runs import Runs
from headstart.training import StoppedError

SMALL = Asked("small", 2, 3, ("linear", "fine-tune", "scratch"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Recorded]:
    return prepared(SMALL, recorded_cells()["digits"], tmp_path_factory.mktemp("small"))


class _Given(Source):
    """Trials that are numbers: of their own seconds."""

    def seconds(self, job: Any, setting: Any) -> float:
        return float(job.trial.seed)

    def paused(self, job: Any, setting: Any, after: float) -> tuple[float, float]:
        whole = self.seconds(job, setting)  # an evaluation each ten seconds
        point = 10.0 * (after // 10 + 1)
        return (point, point / whole) if point < whole else (whole, 1.0)

    def leave(self, job: Any, setting: Any, folder: Path) -> TrialRecord:
        record = TrialRecord(
            key=folder.name, protocol="p", strategy="s", table={}, seed=job.trial.seed,
            train_images=1, planned_steps=1, state="done", ledger=Ledger(),
        )  # fmt: skip
        write_trial(folder, record)
        return record


class _Trial:
    def __init__(self, seed: int, role: str = "trial") -> None:
        self.seed, self.role = seed, role

    def key(self, protocol: str) -> str:
        return f"{self.role}-{self.seed}"


class _Setting:
    protocol = "p"


def _asker(cluster: Cluster, folder: Path, *, costly: bool = False) -> Any:
    """Asks for trials of so many seconds, which are their cost too where they are `costly`."""

    def run(seconds: int, role: str = "trial") -> TrialRecord:
        cost = float(seconds) if costly else 0.0
        job: Any = Job(_Trial(seconds, role), cost=cost)  # type: ignore[arg-type]
        return cluster.run(job, _Setting(), folder, Watch())  # type: ignore[arg-type]

    return run


def test_the_longest_come_first_and_workers_never_idle_beside_work(tmp_path: Path) -> None:
    cluster = Cluster(2, _Given())
    cluster.each(_asker(cluster, tmp_path), [1, 2, 3, 4, 5, 6], cost=float)
    begun = {one.trial.seed: one.begun for one in cluster.ran}
    # 6 and 5 at once; 4 after 5, 3 after 6; 2 and 1 after both: 21 s of work in 11.
    assert begun == {6: 0, 5: 0, 4: 5, 3: 6, 2: 9, 1: 9}
    assert (cluster.now, cluster.busy) == (11, 21)
    assert cluster.efficiency == pytest.approx(21 / 22)


def test_of_those_that_wait_the_one_with_the_most_to_do_is_handed_over(tmp_path: Path) -> None:
    cluster = Cluster(1, _Given())

    cluster.each(_asker(cluster, tmp_path, costly=True), range(1, 13))
    # Five are handed over at once, the most costly first; then, with each that ends, the next.
    assert [one.trial.seed for one in cluster.ran] == list(range(12, 0, -1))


def test_a_long_trial_makes_room_for_those_that_have_more_left(tmp_path: Path) -> None:
    cluster = Cluster(2, _Given())

    cluster.each(_asker(cluster, tmp_path, costly=True), [300, 150, 140, 90, 5, 4, 3, 2])
    ran = [(one.trial.seed, one.ended - one.begun) for one in cluster.ran]
    # Six are handed over while two wait, so those stop at the evaluation after ten seconds.
    assert sorted(ran[:4]) == [(90, 20), (140, 20), (150, 20), (300, 20)]
    # What is taken up again loses time, and is not work; what has most left comes first.
    again = sorted((one.begun, one.trial.seed) for one in cluster.ran if one.lost)
    assert [seed for _, seed in again][:4] == [300, 150, 140, 90]
    pieces = len(ran) - 8
    assert cluster.busy == 300 + 150 + 140 + 90 + 5 + 4 + 3 + 2
    assert sum(seconds for _, seconds in ran) == cluster.busy + pieces * RESTART


def test_few_are_begun_and_wait(tmp_path: Path) -> None:
    cluster = Cluster(2, _Given())
    cluster.each(_asker(cluster, tmp_path, costly=True), range(100, 140))
    begun: dict[int, list[Ran]] = {}
    for one in cluster.ran:
        begun.setdefault(one.trial.seed, []).append(one)
    moments = sorted({one.ended for one in cluster.ran})
    waiting = [sum(of[0].begun < now < of[-1].ended for of in begun.values()) for now in moments]
    # One may wait when each that was handed over was told to make room.
    assert 4 < max(waiting) <= 1 + handed_over(2)


def test_alone_a_long_trial_runs_to_its_end(tmp_path: Path) -> None:
    cluster = Cluster(2, _Given())
    cluster.each(_asker(cluster, tmp_path), [500, 400])
    assert [(one.trial.seed, one.ended) for one in cluster.ran] == [(400, 400), (500, 500)]


def test_what_comes_after_another_waits_for_it_and_nested_work_too(tmp_path: Path) -> None:
    cluster = Cluster(8, _Given())
    run = _asker(cluster, tmp_path)

    def arm(base: int) -> None:
        cluster.each(lambda extra: run(base + extra, "sweep"), [1, 2])
        run(base)

    cluster.each(arm, [10, 20, 40], after=lambda item: [10] if item == 40 else [])
    ended = {(one.trial.role, one.trial.seed): one.ended for one in cluster.ran}
    assert ended["trial", 10] == 22  # its sweep of 12, then itself
    assert ended["trial", 20] == 42
    assert ended["trial", 40] == 22 + 42 + 40  # the arm that it begins with, its sweep, itself


def test_more_items_than_threads_all_run(tmp_path: Path) -> None:
    cluster = Cluster(1, _Given())
    cluster.each(_asker(cluster, tmp_path), range(1, 200))
    assert cluster.now == sum(range(1, 200))


def test_an_error_ends_those_who_wait(tmp_path: Path) -> None:
    cluster = Cluster(1, _Given())
    run = _asker(cluster, tmp_path)

    def one(seconds: int) -> None:
        run(seconds)
        if seconds == 3:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        cluster.each(one, [3, 2, 1], cost=float)
    with pytest.raises(StoppedError):
        run(9)
    assert threading.active_count() < 20


def test_a_study_runs_every_trial_with_its_recorded_time(
    small: tuple[Study, Recorded], tmp_path: Path
) -> None:
    found = on(small, 1, tmp_path / "one")
    records = read_trials(tmp_path / "one")
    # Two sizes: one solved head, and for each of two arms three sweeps and three seeds.
    assert found.trials == len(records) == 2 * (1 + 2 * 6)
    assert found.efficiency == 1
    assert found.busy == pytest.approx(sum(record.wall_seconds for record in records))
    cells = {cell.place: cell for cell in read_table()}
    recorded = small[1]
    whole = max(record.train_images for record in records)
    [first] = [r for r in records if (r.train_images, r.strategy) == (whole, "linear")]
    cell = recorded.cell(whole, 0)
    assert cell.size == 1000
    assert first.wall_seconds == cells[cell.place].arm("linear").ledger.seconds
    scratch = [
        r for r in records if (r.strategy, r.role, r.train_images) == ("scratch", "trial", whole)
    ]
    # The sweep chose the rate that it chose when it was recorded.
    assert {r.rate_factor for r in scratch} == {cell.arm("scratch").rate_factor}


def test_more_workers_do_the_same_work_sooner_and_always_alike(
    small: tuple[Study, Recorded], tmp_path: Path
) -> None:
    def ran(workers: int, name: str) -> Cluster:
        planned, recorded = small
        cluster = Cluster(workers, recorded)
        study = Study(planned.asked, planned.resolved, planned.subject, tmp_path / name)
        run_trials(Runs(study, Listener(), executor=cluster))
        return cluster

    one, four, many = ran(1, "1"), ran(4, "4"), ran(1000, "1000")
    assert one.now > four.now > many.now
    assert one.busy == pytest.approx(four.busy) == pytest.approx(many.busy)
    assert four.now >= max(one.busy / 4, many.now)
    for turn in range(3):
        again = ran(4, f"again-{turn}")
        assert [(r.worker, r.begun, r.ended) for r in again.ran] == [
            (r.worker, r.begun, r.ended) for r in four.ran
        ]


def test_subsets_run_beside_the_whole_and_sweeps_before_what_they_tune(
    small: tuple[Study, Recorded], tmp_path: Path
) -> None:
    planned, recorded = small
    cluster = Cluster(1000, recorded)
    study = Study(planned.asked, planned.resolved, planned.subject, tmp_path / "study")
    run_trials(Runs(study, Listener(), executor=cluster))
    # With a worker for each, every sweep and solved head begins at once, on whole and subset.
    assert sum(one.begun == 0 for one in cluster.ran) == 2 * (1 + 2 * 3)
    for name in ("fine-tune", "scratch"):
        mine = [one for one in cluster.ran if one.trial.strategy.name == name]
        first = min(one.ended for one in mine if one.trial.role == "sweep")
        assert all(one.begun > first for one in mine if one.trial.role == "trial")


def test_subsets_wait_for_the_whole_where_a_budget_may_end_before_them(
    small: tuple[Study, Recorded], tmp_path: Path
) -> None:
    planned, recorded = small
    cluster = Cluster(1000, recorded)
    asked = planned.asked.model_copy(update={"budget_seconds": 1e9})
    study = Study(asked, planned.resolved, planned.subject, tmp_path / "study")
    run_trials(Runs(study, Listener(), executor=cluster))
    half = len(cluster.ran) // 2
    assert max(one.ended for one in cluster.ran[:half]) == min(o.begun for o in cluster.ran[half:])


def test_a_race_is_judged_at_its_rungs(tmp_path: Path) -> None:
    raced = Asked("raced", 1, 2, ("linear", "partial", "fine-tune", "scratch"), race=True)
    planned = prepared(raced, recorded_cells()["digits"], tmp_path / "plan")
    found = on(planned, 4, tmp_path / "raced")
    states = {r.state for r in read_trials(tmp_path / "raced")}
    assert (tmp_path / "raced" / "race.json").exists()
    assert "pruned" in states
    assert "done" in states
    assert found.efficiency < 1


def test_cells_of_a_machine_that_slept_are_left_out() -> None:
    cells = [c for c in read_table() if c.backbone == "lite0" and c.size == 300]
    lost = {c.place for c in cells} - {c.place for c in without_sleep(cells)}
    assert lost == {("omniglot", "lite0", 300, 0)}
