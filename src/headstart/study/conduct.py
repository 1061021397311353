"""A study from its question to its answer."""

from __future__ import annotations

from pathlib import Path

from headstart.study.judge import judge
from headstart.study.listener import Listener
from headstart.study.plan import prepare
from headstart.study.question import Question
from headstart.study.result import Result
from headstart.study.run import run_arms


def conduct(asked: Question, folder: Path, listener: Listener | None = None) -> Result:
    """Answer `asked` in `folder`; the same question there continues where it stopped.

    A study that the user stops is judged by what there is. Raises HeadstartError for bad input
    before anything is written.
    """
    from headstart.report import page  # Altair loads slowly, and only here is it needed

    listener = listener or Listener()
    listener.on_stage("reading the images")
    study = prepare(asked, folder, listener)
    listener.on_metric(study.subject.metric)
    listener.on_plan(study.resolved.arms)
    ran = run_arms(study, listener)
    listener.on_stage("judging")
    judge(study, ran)
    listener.on_stage("drawing the report")
    page.write(folder)
    return Result.read(folder)
