"""What was spent is known without reading every record before each trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart import records
from headstart.execution import trial_folder
from headstart.records import TrialRecord, write_trial
from headstart.study import tally
from headstart.study.tally import Tally


def _write(study: Path, key: str, seconds: float) -> Path:
    folder = trial_folder(study, key)
    record = TrialRecord(
        key=key, protocol="p", strategy="s", table={}, seed=0, train_images=1, planned_steps=1
    )
    write_trial(folder, record.model_copy(update={"wall_seconds": seconds}))
    return folder


def test_it_is_the_sum_of_all_others_whatever_was_run_before(tmp_path: Path) -> None:
    paused = _write(tmp_path, "a", 2.0)
    _write(tmp_path, "b", 3.0)
    spent = Tally(tmp_path)
    with spent.running(paused, 10.0) as others:
        assert others == 3.0
        with spent.running(trial_folder(tmp_path, "c"), 7.0) as beside:
            assert beside == 5.0 + 8.0  # of the ten planned, two were spent before
            _write(tmp_path, "c", 6.0)
        _write(tmp_path, "a", 9.0)
    assert spent.seconds == 9.0 + 3.0 + 6.0 == Tally(tmp_path).seconds


def test_records_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        _write(tmp_path, f"{number:02d}", 1.0)
    read: list[Path] = []

    def counted(folder: Path) -> TrialRecord | None:
        read.append(folder)
        return known(folder)

    known = records.read_trial
    monkeypatch.setattr(records, "read_trial", counted)
    monkeypatch.setattr(tally, "read_trial", counted)
    spent = Tally(tmp_path)
    for number in range(10):
        with spent.running(trial_folder(tmp_path, f"new{number}"), 1.0) as others:
            assert others == 20.0
    assert len(read) == 20 + 2 * 10
