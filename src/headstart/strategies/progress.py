"""Whether a validation curve still rises: the loop extends or stops by it, judging believes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MINIMUM_POINTS = 4  # fewer say nothing about a trend
PATIENCE = 5  # evaluations without a better loss or accuracy end the hold
SIGNIFICANT = 1.5  # standard errors of the slope


def rises(losses: Sequence[float], accuracies: Sequence[float]) -> bool:
    """Whether the later half of a curve (validation, constant rate) still improves.

    True when the straight line through the last half of the points falls in loss, or climbs in
    accuracy, by over 1.5 of its own standard errors and by a noticeable amount (1% of the loss,
    half a point). With fewer than four points a trend cannot be told; the curve is then taken to
    rise if its last point is its best in loss, so that a short run is never called finished.
    """
    if len(losses) < MINIMUM_POINTS:
        return len(losses) > 1 and losses[-1] <= min(losses)
    window = max(MINIMUM_POINTS, (len(losses) + 1) // 2)
    late_losses, late_accuracies = np.array(losses[-window:]), np.array(accuracies[-window:])
    falls, fall_error = _change(late_losses)
    climbs, climb_error = _change(late_accuracies)
    level = float(np.abs(late_losses).mean())
    lower = -falls > SIGNIFICANT * fall_error and -falls > 0.01 * level
    higher = climbs > SIGNIFICANT * climb_error and climbs > 0.005
    return bool(lower or higher)


def levelled_off(losses: Sequence[float], accuracies: Sequence[float]) -> bool:
    """Whether the last five evaluations brought neither a better loss nor a better accuracy."""
    if len(losses) < 2 * PATIENCE:
        return False
    better_loss = min(losses[-PATIENCE:]) < min(losses[:-PATIENCE]) * 0.998
    better_accuracy = max(accuracies[-PATIENCE:]) > max(accuracies[:-PATIENCE])
    return not (better_loss or better_accuracy)


def _change(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The fitted line's change over the window, and its standard error."""
    x = np.linspace(-0.5, 0.5, len(values))
    slope = float((x * values).sum() / (x**2).sum())
    rest = values - values.mean() - slope * x
    error = float(np.sqrt((rest**2).sum() / max(1, len(values) - 2) / (x**2).sum()))
    return slope, error
