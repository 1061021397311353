"""forecast.json: what a study foretells, on record before anything can be known of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from headstart.errors import HeadstartError
from headstart.evidence.arms import ArmEvidence
from headstart.evidence.outlook import Outlook
from headstart.execution import sha256_of
from headstart.records import write_json
from headstart.study.plan import Study
from headstart.study.race import all_left_out
from headstart.verdict.answer_forecast import ForecastContent, forecast_answer
from headstart.verdict.answer_parts import Strict
from headstart.verdict.decide import Verdict

FILE = "forecast.json"
VERIFICATION = "verification"  # folder that is there once a verification was begun


class OnRecord(Strict):
    """The content of forecast.json. `hash` is the SHA-256 of the rest, as `sha256_of` has it."""

    schema_version: Literal[1] = Field(1, alias="schema")
    written: str  # ISO 8601, UTC
    hash: str
    protocol: str
    forecast: ForecastContent


def put_on_record(
    study: Study, arms: Sequence[ArmEvidence], verdict: Verdict, ahead: Outlook | None
) -> None:
    """Write forecast.json, unless it says the same already or facts are known by now."""
    content = forecast_answer(
        arms,
        verdict,
        ahead,
        delta=study.asked.delta,
        test_images=len(study.splits.test),
        left_out=all_left_out(study.folder),
        seed=study.asked.seed,
        metric=study.subject.metric,
    )
    path = study.folder / FILE
    protocol, forecast = study.resolved.protocol, content.model_dump(mode="json")
    if any((study.folder / fact).exists() for fact in ("test.json", VERIFICATION)):
        return
    if _says(path, protocol, forecast):
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    rest = {"schema": 1, "written": now, "protocol": protocol, "forecast": forecast}
    write_json(path, {"schema": 1, "written": now, "hash": sha256_of(rest), **rest})


def read_forecast(folder: Path) -> OnRecord:
    """The forecast of the study in `folder`.

    Raises HeadstartError where there is none, and where it is not as it was written.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise HeadstartError(
            f"{folder} has no forecast on record ({FILE}): none was written before its test split "
            "was opened. Ask the same question with another --out, and verify that study."
        ) from error
    try:
        content = json.loads(text)
        rest = {name: value for name, value in content.items() if name != "hash"}
        if content["hash"] != sha256_of(rest):
            raise ValueError("its hash does not fit")
        return OnRecord.model_validate(content)
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        why = "" if isinstance(error, ValidationError) else f" ({error})"
        raise HeadstartError(
            f"{path} is not as it was written{why}, so nothing can be verified by it. "
            "Put the original back, or ask the same question with another --out."
        ) from error


def _says(path: Path, protocol: str, forecast: object) -> bool:
    """Whether the file holds this forecast, whenever it was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return bool(content["protocol"] == protocol and content["forecast"] == forecast)
    except (OSError, ValueError, LookupError, TypeError):
        return False
