"""Many trials: what a second Ray worker brings, and what the driver's memory does meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from bench.pairs import Mark, Skipped
from headstart.execution import Trial
from headstart.execution.executor import Job, Watch
from headstart.execution.setting import Setting
from headstart.records import Ledger, TrialRecord, write_trial
from headstart.strategies import named
from headstart.study import Question
from headstart.study.plan import prepare

TRIALS, STEPS, SIZE, ROUNDS = 16, 12, 64, 5
FEW, MANY = 10_000, 1_000_000
RECORDS = 100  # folders that the records are links to: a million of their own fill a disk
RATE = f"{TRIALS} equal trials of one thread: rate of 2 Ray workers / of 1"
MEMORY = f"the driver's peak memory with {MANY:,} records / with {FEW:,}"


def marks(work: Path) -> Iterator[Mark | Skipped]:
    """Both, in rows of the table."""
    yield ray_rate(work)
    yield driver_memory(work)


def ray_rate(work: Path, rounds: int = ROUNDS) -> Mark | Skipped:
    """Seconds of 1 worker / of 2, the start of Ray and the first look at the images not counted.

    The two take turns, since the machine may do other things meanwhile.
    """
    if find_spec("ray") is None:
        return Skipped(RATE, "Ray is not installed")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if (cores or 1) < 2:
        return Skipped(RATE, "this machine has one core")
    asked = Question(data="digits", steps=STEPS, seeds=1, image_size=SIZE, strategies=["linear"])
    setting = prepare(asked, work / "study").setting
    times = [
        {
            workers: _seconds(setting, work / f"ray-{turn}-{workers}", workers)
            for workers in ((1, 2) if turn % 2 == 0 else (2, 1))
        }
        for turn in range(rounds)
    ]
    each = sorted(one[1] / one[2] for one in times)
    one, two = (sorted(t[workers] for t in times)[rounds // 2] for workers in (1, 2))
    detail = f"{one:.1f} s and {two:.1f} s, {STEPS} steps of fine-tuning at {SIZE} px each"
    return Mark(RATE, each[rounds // 2], each[0], each[-1], at_least=1.7, detail=detail)


def _seconds(setting: Setting, folder: Path, workers: int) -> float:
    """Of the trials, by so many workers that have run one before."""
    import ray

    from headstart.execution.cluster import Ray

    ray.init(
        "local",
        num_cpus=workers,
        include_dashboard=False,
        object_store_memory=200_000_000,
        log_to_driver=False,
        logging_level="ERROR",
    )
    executor, strategy = Ray(), named("fine-tune", setting.stages)

    def run(seed: int) -> None:
        job = Job(Trial(strategy, seed, STEPS, 1.0))
        record = executor.run(job, setting, folder, Watch())
        assert record.state == "done", record.note

    try:
        executor.each(run, range(1000, 1000 + workers))
        begun = time.perf_counter()
        executor.each(run, range(TRIALS))
        return time.perf_counter() - begun
    finally:
        executor.close()
        ray.shutdown()


def driver_memory(work: Path, few: int = FEW, many: int = MANY) -> Mark:
    """Peak resident memory of counting what was spent and of gathering what to judge."""
    peaks = {count: _peak(_records(work / f"records-{count}", count)) for count in (few, many)}
    ratio = peaks[many] / peaks[few]
    detail = f"{peaks[many] / 2**20:.0f} MiB and {peaks[few] / 2**20:.0f} MiB"
    return Mark(MEMORY, ratio, ratio, ratio, at_most=1.1, detail=detail)


def _records(study: Path, count: int) -> Path:
    """A study's folder with so many trials; none is of the one seed that is judged below."""
    for number in range(RECORDS):
        record = TrialRecord(
            key=f"{number:016x}",
            protocol="own" if number < 3 else f"size {number}",
            strategy="fine-tune",
            table={"rows": [{"stage": str(stage), "share": 1.0} for stage in range(8)]},
            seed=number,
            train_images=1000,
            planned_steps=100,
            state="done",
            ledger=Ledger(steps=100, seconds=10.0),
            wall_seconds=10.0,
        )
        write_trial(study / "kept" / record.key, record)
    (study / "trials").mkdir()
    for number in range(count):
        link = study / "trials" / f"{number:016x}"
        link.symlink_to(study / "kept" / f"{number % RECORDS:016x}", target_is_directory=True)
    return study


_DRIVE = """
import resource, sys
from pathlib import Path
from headstart.evidence.arms import PlannedArm, gather
from headstart.evidence.ledger import PretrainingCost
from headstart.study.tally import Tally

study = Path(sys.argv[1])
tally = Tally(study)
for number in range(100):
    with tally.running(study / "trials" / f"new-{number}", 1.0) as others:
        assert others > 0
planned = [PlannedArm("fine-tune", (1000,), True, None, None)]
gather(study, "own", planned, pretraining=PretrainingCost(forward_flops=1.0))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak(study: Path) -> int:
    """Bytes."""
    ended = subprocess.run(
        [sys.executable, "-c", _DRIVE, str(study)], capture_output=True, text=True, check=True
    )
    return int(ended.stdout.split()[-1]) * (1 if sys.platform == "darwin" else 1024)
