"""The JSON Schema of study.json, shipped beside this file as study.schema.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headstart import records
from headstart.verdict.answer import StudyAnswer

PATH = Path(__file__).with_name("study.schema.json")


def schema() -> dict[str, Any]:
    """The schema as the models in `headstart.verdict.answer` define it."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    title = {"title": "The answer to a headstart study (study.json)"}
    return dialect | StudyAnswer.model_json_schema(by_alias=True) | title


def write(path: Path = PATH) -> None:
    """Write the schema; run ``python -m headstart.report.schema`` after the models change."""
    records.write_text(path, json.dumps(schema(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write()
