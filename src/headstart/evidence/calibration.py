"""Numbers that were fitted to measured studies, where no theory gives them.

They lie in ``calibration.json`` beside this file, with the data sets and the versions that they
were fitted to. What backtest/RESULTS.md says of their worth was measured with each data set left
out of the fit in turn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.evidence.ends import Ends, Shrinkage
from headstart.evidence.reach import OutOfReach

FILE = Path(__file__).with_name("calibration.json")


@dataclass(frozen=True)
class Calibration:
    """What was fitted."""

    catch_up_widening: float  # of the 80% intervals of catch-up: see `forecast.widened`
    data_worth_widening: float  # likewise, of how many images match
    spread: float  # standard deviation of true differences in accuracy: see `verdict.decide`
    ends: Ends  # where runs end that are part of the way
    out_of_reach: OutOfReach  # how likely scratch does not catch up at all


def read_calibration(path: Path = FILE) -> tuple[Calibration, dict[str, Any]]:
    """The numbers, and what they were fitted to."""
    content = json.loads(path.read_text(encoding="utf-8"))
    fitted = dict(content["fitted"])
    ends = Ends(**{kind: Shrinkage(**numbers) for kind, numbers in fitted.pop("ends").items()})
    out_of_reach = OutOfReach(**fitted.pop("out_of_reach"))
    return Calibration(**fitted, ends=ends, out_of_reach=out_of_reach), content["fitted_to"]


CALIBRATION, FITTED_TO = read_calibration()
