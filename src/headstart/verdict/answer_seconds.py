"""Wall-clock time in study.json: what was forecast from timed steps, beside what was spent."""

from __future__ import annotations

from headstart.verdict.answer_parts import Strict


class Seconds(Strict):
    """Of an arm's runs, its rate sweep among them; null where no step was timed.

    What arms share is the first one's: a head that is solved once for several. Codes of the
    pretrained network, and their profile, are the study's.
    """

    forecast: float | None  # of all that was planned
    of_what_ran: float | None  # the same for the steps that were taken: a race leaves some out
    spent: float  # here, by the clock


class StudySeconds(Seconds):
    """Of all arms together, with the codes that they share and their profile."""

    reason: str | None  # why nothing was forecast
