"""How likely scratch is out of reach of what it should reach, besides what its curve says."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.evidence.ends import log_odds
from headstart.evidence.statistics import Correct


@dataclass(frozen=True)
class OutOfReach:
    """The log odds that scratch does not catch up within a forecast's limit.

    odds = intercept + slope (log odds of the best pretrained arm's error). A curve that lies flat
    early looks like one that has ended. Where pretrained weights leave next to no mistakes, any
    features do in the end, and the last points come late; where they leave many, they hold what
    these images do not teach. Fitted by `backtest.reach`.
    """

    intercept: float
    slope: float

    def odds(self, pretrained: Correct) -> float:
        """From the answers [seeds, n] of the best pretrained arm; they add to the curve's own."""
        return self.intercept + self.slope * log_odds_of(pretrained)


def log_odds_of(correct: Correct) -> float:
    """The log odds of the error of answers [seeds, n]."""
    return log_odds(1 - float(correct.mean()), correct.shape[1])
