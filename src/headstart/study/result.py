"""The answer as an object: the content of study.json, with its table and its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError
from headstart.models import DetectorModel, Model
from headstart.models import load as load_model
from headstart.report import terminal


class Result:
    """What a study found. `answer` is the content of study.json; `folder` holds the rest."""

    def __init__(self, answer: dict[str, Any], folder: Path) -> None:
        self.answer = answer
        self.folder = folder

    @classmethod
    def read(cls, folder: str | Path) -> Result:
        """The result that lies in a study's folder; HeadstartError where there is none."""
        path = Path(folder) / "study.json"
        if not path.exists():
            raise HeadstartError(f"There is no study in {folder} (no study.json).")
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")), Path(folder))
        except json.JSONDecodeError as error:
            raise HeadstartError(
                f"{path} is damaged ({error.msg}). Run the same study again to write it anew."
            ) from error

    @property
    def choice(self) -> str | None:
        """The strategy to use; None where nothing could be judged."""
        choice: str | None = self.answer["verdict"]["choice"]
        return choice

    @property
    def sentence(self) -> str:
        """The answer in one sentence or a few."""
        return str(self.answer["verdict"]["sentence"])

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"

    def model(self) -> Model | DetectorModel:
        """The chosen model, ready to predict; HeadstartError where there is none."""
        return load_model(self.folder / "best")

    def table(self) -> Any:
        """One row an arm: a pandas DataFrame where pandas is installed, else a list of dicts."""
        rows = terminal.table(self.answer)
        try:
            import pandas as pd
        except ImportError:
            return rows
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return f"Result({str(self.folder)!r}: {self.sentence})"

    def _repr_html_(self) -> str:
        return terminal.to_html(self.answer)
