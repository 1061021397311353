"""The small study, judged as if a catch-up had been foretold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_study import Finished

from headstart.evidence.forecast import Forecast
from headstart.evidence.outlook import Outlook
from headstart.report import page
from headstart.study import conduct, judge
from headstart.study.question import StudyFile

MEDIAN = 14  # beyond the 8 steps that the small study's scratch runs at full rate
AHEAD = Outlook(
    "scratch",
    "linear",
    Forecast("forecast", 13.2, 9.0, 30.0, 8, 32, 0.1, None, 0.2),
    None,
    None,
)
FACTS = ("forecast.json", "study.json", "test.json", "test")


def copied(finished: Finished, folder: Path, *left_out: str) -> Path:
    return Path(shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns(*left_out)))


def judged_again(folder: Path, ahead: Outlook | None = AHEAD) -> None:
    """Judge a study whose arms were run, as if `ahead` had been foretold."""
    asked = StudyFile.read(folder)
    assert asked is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "outlook", lambda *_, **__: ahead)
        patch.setattr(page, "write", lambda _: None)  # it takes as long as all the rest
        conduct(asked.asked, folder)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def foretold(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study with a catch-up that was foretold: do not change it."""
    folder = copied(finished, tmp_path_factory.mktemp("foretold") / "study", *FACTS)
    judged_again(folder)
    return folder
