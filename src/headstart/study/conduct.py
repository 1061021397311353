"""A study from its question to its answer."""

from __future__ import annotations

from pathlib import Path

from headstart.errors import HeadstartError
from headstart.execution import fabric
from headstart.study.judge import judge
from headstart.study.listener import Listener
from headstart.study.plan import Study, prepare
from headstart.study.question import Question
from headstart.study.result import Result
from headstart.study.run import run_arms
from headstart.study.runs import Ran
from headstart.training import Ranks


def conduct(
    asked: Question, folder: Path, listener: Listener | None = None, *, accumulate: int = 1
) -> Result:
    """Answer `asked` in `folder`; the same question there continues where it stopped.

    A study that the user stops is judged by what there is. Several processes (torchrun) train one
    arm alone; the first one judges, speaks to the listener, and tells the others the answer.

    Raises:
        HeadstartError: bad input, before anything is written.
        UnfinishedError: another process that trained with this one is gone.
    """
    ranks = Ranks.of(fabric())
    if ranks.several and not asked.alone:
        raise HeadstartError(
            f"torchrun started {ranks.count} processes, and they can only train one arm together. "
            "Say headstart train, or run this command without torchrun."
        )
    listener = listener or Listener()
    if not ranks.writes:
        listener = Listener(stop_requested=listener.stop_requested)
    with ranks.watching():
        listener.on_stage("reading the images")
        study = prepare(asked, folder, listener, accumulate)
        listener.on_metric(study.subject.metric)
        listener.on_plan(study.resolved.arms)
        ran = run_arms(study, listener)
        return ranks.told(lambda: _judged(study, ran, listener))


def _judged(study: Study, ran: Ran, listener: Listener) -> Result:
    from headstart.report import page  # Altair loads slowly, and only here is it needed

    listener.on_stage("judging")
    judge(study, ran)
    listener.on_stage("drawing the report")
    page.write(study.folder)
    return Result.read(study.folder)
