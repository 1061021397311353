"""A study from its question to its answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headstart.errors import HeadstartError
from headstart.execution import fabric
from headstart.study.holding import Hold
from headstart.study.judge import judge
from headstart.study.listener import Listener
from headstart.study.plan import Study, prepare
from headstart.study.question import Question
from headstart.study.result import Result
from headstart.study.run import run_arms
from headstart.study.runs import Ran
from headstart.study.where import Where
from headstart.training import Ranks


def conduct(
    asked: Question,
    folder: Path,
    listener: Listener | None = None,
    where: Where | None = None,
    *,
    accumulate: int = 1,
) -> Result:
    """Answer `asked` in `folder`; the same question there continues where it stopped.

    A study that the user stops is judged by what there is. `where` trials run changes nothing
    else; here, by default. Several processes (torchrun) train one arm alone; the first one judges,
    speaks to the listener, and tells the others the answer.

    Raises:
        HeadstartError: bad input, before anything is written; another command is at work on the
            same study.
        UnfinishedError: another process that trained with this one is gone.
    """
    ranks = Ranks.of(fabric())
    if ranks.several and not asked.alone:
        raise HeadstartError(
            f"torchrun started {ranks.count} processes, and they can only train one arm together. "
            "Say headstart train, or run this command without torchrun."
        )
    where, listener = where or Where(), listener or Listener()
    if not ranks.writes:
        listener = Listener(stop_requested=listener.stop_requested)
    with ranks.watching(), Hold() as hold:
        listener.on_stage("reading the images")
        study = prepare(asked, folder, listener, hold, accumulate=accumulate)
        listener.on_metric(study.subject.metric)
        listener.on_plan(study.resolved.arms)
        ran = _run(study, listener, where, hold)
        return ranks.told(lambda: _judged(study, ran, listener))


def _judged(study: Study, ran: Ran, listener: Listener) -> Result:
    from headstart.report import page  # Altair loads slowly, and only here is it needed

    listener.on_stage("judging")
    judge(study, ran)
    listener.on_stage("drawing the report")
    page.write(study.folder)
    return Result.read(study.folder)


def _run(study: Study, listener: Listener, where: Where, hold: Hold) -> Ran:
    if where.records is not None:
        listener.on_stage(f"looking whether another command is at work in {where.records}")
        hold.take_place(where.records)
    asked_to_stop = listener.stop_requested
    watching = replace(listener, stop_requested=lambda: hold.lost or asked_to_stop())
    with where.executor() as executor:
        return run_arms(study, watching, executor)
