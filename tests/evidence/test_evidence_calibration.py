"""Numbers that were fitted to measured studies, as the package reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.evidence import outlook
from headstart.evidence.calibration import CALIBRATION, FILE, read_calibration


def test_what_was_fitted_is_what_is_used() -> None:
    assert outlook.CALIBRATION is CALIBRATION


def test_every_number_lies_where_it_makes_sense() -> None:
    assert 0 < CALIBRATION.spread < 0.5
    assert CALIBRATION.catch_up_widening >= 1
    assert CALIBRATION.data_worth_widening >= 1
    assert CALIBRATION.out_of_reach.slope > 0


def test_a_file_with_a_number_too_many_or_too_few_is_refused(tmp_path: Path) -> None:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    path = tmp_path / "calibration.json"
    for change in ({"other": 1.0}, {"spread": None}):
        fitted = {**content["fitted"], **change}
        fitted = {name: value for name, value in fitted.items() if value is not None}
        path.write_text(json.dumps({**content, "fitted": fitted}), encoding="utf-8")
        with pytest.raises(TypeError):
            read_calibration(path)
