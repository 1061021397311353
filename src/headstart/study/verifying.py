"""`headstart verify`: what a study foretold is run, and set beside what comes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headstart.errors import HeadstartError
from headstart.evidence.verification import Facts, Role
from headstart.execution import trial_folder
from headstart.records import read_trial, write_json
from headstart.study.foretold import VERIFICATION, OnRecord, read_forecast
from headstart.study.holding import Hold
from headstart.study.listener import Listener
from headstart.study.plan import Study, prepare
from headstart.study.question import StudyFile
from headstart.study.reruns import Left, Reruns, require_weights
from headstart.study.result import Result
from headstart.verdict.answer_verification import VerificationAnswer, Verified
from headstart.verdict.verified import notes, rows, steps_to_run

FILE = "verify.json"


class Verification:
    """Forecast beside fact. `answer` is the content of verification/verify.json."""

    def __init__(self, answer: dict[str, Any], folder: Path) -> None:
        self.answer = answer
        self.folder = folder  # the study's

    @property
    def sentences(self) -> list[str]:
        """Each forecast and what came of it; then what was not verified."""
        return [row["sentence"] for row in self.answer["rows"]] + list(self.answer["notes"])

    def __repr__(self) -> str:
        return f"Verification({str(self.folder)!r}: {' '.join(self.sentences)})"


def verify(
    folder: str | Path, *, scratch: bool = False, listener: Listener | None = None
) -> Verification:
    """Run what the finished study in `folder` foretold, and write down what came of it.

    See `headstart.verify`. A verification that was made is read; what is begun is continued.

    Raises HeadstartError for a study that cannot be verified or that another command is at work
    on, and StoppedError where the listener asks to stop: the same call continues.
    """
    folder, listener = Path(folder), listener or Listener()
    judged = _finished(folder)
    forecast = read_forecast(folder)
    known = _read(folder, forecast)
    if known is None or (scratch and not known.scratch):
        with Hold() as hold:
            hold.take(folder)
            known = _verify(folder, judged, forecast, scratch=scratch, listener=listener)
    return Verification(known.model_dump(mode="json", by_alias=True), folder)


def _verify(
    folder: Path,
    judged: dict[str, Any],
    forecast: OnRecord,
    *,
    scratch: bool,
    listener: Listener,
) -> VerificationAnswer:
    from headstart.report import page  # as in `conduct`

    asked = StudyFile.read(folder)
    if asked is None:
        raise HeadstartError(f"{folder} holds no study.yaml: what it asked is not known.")
    listener.on_stage("reading the images")
    study = prepare(asked.asked, folder, listener)
    listener.on_metric(study.subject.metric)
    if forecast.protocol != study.resolved.protocol:
        raise HeadstartError(
            f"The forecast in {folder} was made under another protocol than the study's: it "
            "belongs to another study. Put the study's own forecast.json back."
        )
    opened = _read(folder, forecast) is not None
    found = _compare(Reruns(study, listener), judged, forecast, scratch=scratch, opened=opened)
    write_json(folder / VERIFICATION / FILE, found.model_dump(mode="json", by_alias=True))
    listener.on_stage("drawing the report")
    page.write(folder)
    return found


def _finished(folder: Path) -> dict[str, Any]:
    """study.json; HeadstartError unless it is of a study with a choice and nothing left to run."""
    judged = Result.read(folder).answer
    for arm in judged["arms"]:
        if arm["state"] == "unfinished":
            why = f" ({arm['note']})" if arm["note"] else ""
            raise HeadstartError(
                f"The study in {folder} is not finished: {arm['strategy']} is unfinished{why}. "
                "Run it to its end with the same command; a budget that is spent asks for a new "
                "study with more."
            )
    if judged["verdict"]["choice"] is None:
        raise HeadstartError(
            f"The study in {folder} chose no arm, so it foretold nothing. See its report for why."
        )
    return judged


def _read(folder: Path, forecast: OnRecord) -> VerificationAnswer | None:
    """What was verified before; HeadstartError where that was another forecast."""
    path = folder / VERIFICATION / FILE
    if not path.exists():
        return None
    try:
        known = VerificationAnswer.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise HeadstartError(
            f"{path} is damaged ({error.errors()[0]['msg']}). Delete it and verify again."
        ) from error
    if known.forecast.hash != forecast.hash:
        raise HeadstartError(
            f"{folder / 'forecast.json'} is not the forecast that was verified (that of "
            f"{known.forecast.written}). Put the original back."
        )
    return known


def _compare(
    runs: Reruns, judged: dict[str, Any], forecast: OnRecord, *, scratch: bool, opened: bool
) -> VerificationAnswer:
    """Train what is missing, then open the test split, then compare.

    `opened`: it was, for a verification before this one.
    """
    runs.folder.mkdir(exist_ok=True)  # from here on the forecast is never written again
    content, study = forecast.forecast, runs.study
    left: dict[Role, Left] = {"choice": _left(study, judged, content.choice)}
    ended = approached = untuned = None
    if content.runner_up is not None:
        second = _left(study, judged, content.runner_up)
        if second.record.state != "done":
            untuned = second.record.rate_factor if not runs.was_swept(second.record) else None
            second = runs.to_its_end(second.record)
            ended = second.record.accuracy
        elif not opened and len(study.splits.test):
            require_weights(second)
        left["runner-up"] = second
    steps = steps_to_run(content.catch_up) if scratch else None
    if content.catch_up is not None and steps is not None:
        found = content.catch_up
        left["scratch"], approached = runs.to_step(
            _left(study, judged, found.scratch).record, steps, found.goal
        )
    failed = [one.record for one in left.values() if one.record.state != "done"]
    done = {role: one for role, one in left.items() if one.record.state == "done"}
    facts = Facts(runs.test_answers(done, opened=opened), ended, approached)
    return VerificationAnswer(
        schema=1,
        metric=content.metric,
        forecast=Verified(written=forecast.written, hash=forecast.hash),
        verified=datetime.now(UTC).isoformat(timespec="seconds"),
        choice=content.choice,
        runner_up=content.runner_up,
        test_images=content.test_images,
        scratch=scratch,
        rows=rows(content, facts, study.asked.seed),
        notes=[
            *(f"{one.strategy} failed when it was run: {one.note}" for one in failed),
            *notes(content, scratch=scratch, untuned=untuned),
        ],
    )


def _left(study: Study, judged: dict[str, Any], strategy: str) -> Left:
    """What the first seed of an arm has left, whose model is kept."""
    [arm] = [arm for arm in judged["arms"] if arm["strategy"] == strategy]
    record = read_trial(trial_folder(study.folder, arm["trials"][0]))
    if record is None:
        raise HeadstartError(
            f"The records of {strategy} in {study.folder / 'trials'} are gone. Run the study "
            "again: it makes them anew."
        )
    return Left(record, study.folder)
