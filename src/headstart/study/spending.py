"""What a whole study costs: its arms, their sizes, and what is run to see what tuning is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from headstart.execution import Costs
from headstart.strategies import Strategy
from headstart.strategies.tuning import other_ways
from headstart.study.question import Question
from headstart.study.subsets import image_counts, unit_on


@dataclass(frozen=True)
class Spending:
    """Seconds for everything that was asked, from what a step and a forward pass take."""

    costs: Costs
    asked: Question
    natural: Callable[[int], int]  # steps, by training images: `Setting.natural_steps`

    def total(self, strategies: Sequence[Strategy], units: Mapping[str, int], seeds: int) -> float:
        """Seconds with these step units, by name, on all training images."""
        seconds = self.costs.total(strategies, units, seeds)
        training = self.costs.train_images
        for images in image_counts(self.asked, training):
            fewer = {
                name: unit_on(self.asked, images, training, self.natural, unit) if unit else 0
                for name, unit in units.items()
            }
            seconds += self._on(images).total(strategies, fewer, seeds)
        if self.asked.tuning_study:
            seconds += sum(self.tuning(s, units[s.name], seeds) for s in strategies)
        return seconds

    def tuning(self, strategy: Strategy, unit: int, seeds: int) -> float:
        """Seconds for an arm at other rates: at most, since its own may be among them."""
        runs = self.costs.arm(strategy, unit, seeds) - self.costs.arm(strategy, unit, 0)
        return len(other_ways(strategy)) * runs

    def _on(self, images: int) -> Costs:
        """As measured, on fewer images; heads in proportion, which is a little too much."""
        share = images / self.costs.train_images
        solve = {name: seconds * share for name, seconds in self.costs.solve.items()}
        return replace(self.costs, train_images=images, solve=solve)
