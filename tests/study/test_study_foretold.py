"""A forecast is on record before the fact, and nobody can change it afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foretold_study import FACTS, copied, judged_again, read
from small_study import Ended, Finished, state_of

from headstart.execution import sha256_of as digest

Call = Callable[..., Ended]


def test_the_forecast_lies_there_before_the_test_split_is_opened(finished: Finished) -> None:
    record, fact = finished.folder / "forecast.json", finished.folder / "test.json"
    assert record.stat().st_mtime_ns < fact.stat().st_mtime_ns
    content = read(record)
    rest = {name: value for name, value in content.items() if name != "hash"}
    assert content["hash"] == digest(rest)
    assert len(content["hash"]) == 64
    assert content["forecast"]["choice"] == finished.answer["verdict"]["choice"]
    assert content["protocol"] == finished.answer["question"]["protocol"]


def test_a_forecast_is_written_anew_until_facts_are_known_and_never_after(
    finished: Finished, tmp_path: Path
) -> None:
    folder = copied(finished, tmp_path / "study", *FACTS)
    judged_again(folder)
    first = (folder / "forecast.json").read_bytes()
    shutil.rmtree(folder / "test")
    (folder / "test.json").unlink()
    judged_again(folder)
    assert (folder / "forecast.json").read_bytes() == first  # the same was foretold
    assert (folder / "test.json").exists()
    judged_again(folder, None)
    assert (folder / "forecast.json").read_bytes() == first  # the test split is known
    (folder / "test.json").unlink()
    judged_again(folder, None)
    assert read(folder / "forecast.json")["forecast"]["catch_up"] is None
    (folder / "test.json").unlink()
    (folder / "verification").mkdir()
    before = (folder / "forecast.json").read_bytes()
    judged_again(folder)
    assert (folder / "forecast.json").read_bytes() == before


def _value(content: dict[str, Any]) -> None:
    content["forecast"]["arms"][0]["accuracy"]["value"] += 0.001


def _time(content: dict[str, Any]) -> None:
    content["written"] = "2020-01-01T00:00:00+00:00"


def _hash(content: dict[str, Any]) -> None:
    content["hash"] = "0" * 64


def _no_hash(content: dict[str, Any]) -> None:
    del content["hash"]


def _fields(content: dict[str, Any]) -> None:
    del content["forecast"]["choice"]
    content["hash"] = digest({name: value for name, value in content.items() if name != "hash"})


@pytest.mark.parametrize("change", [_value, _time, _hash, _no_hash, _fields])
def test_a_forecast_that_was_changed_is_refused(
    foretold: Path, call: Call, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    path = tmp_path / "forecast.json"
    for name in ("study.json", "forecast.json"):
        shutil.copy(foretold / name, tmp_path / name)
    content = read(path)
    change(content)
    path.write_text(json.dumps(content))
    before = state_of(tmp_path)
    ended = call("verify", tmp_path, "--json")
    assert (ended.code, ended.out) == (2, "")
    assert "is not as it was written" in ended.err
    assert len(ended.err.splitlines()) <= 2
    assert state_of(tmp_path) == before
