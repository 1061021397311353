"""What the training loop needs of a network: rows that can be let learn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection

from torch import nn


class Learner(nn.Module):
    """A network whose parts are the rows of a strategy table."""

    network: nn.Module  # whose state is saved; it keeps its own modules and parameter names

    @abstractmethod
    def parameters_of(self, row: str) -> list[tuple[str, nn.Parameter]]:
        """Named parameters of a row."""

    @abstractmethod
    def learn(self, rows: Collection[str], *, freeze_batchnorm: bool = False) -> None:
        """Let exactly these rows learn: the others need no gradient and stay in inference mode.

        With `freeze_batchnorm` the BatchNorm layers of learning rows keep their statistics too.
        """

    def run_all(self, on: bool) -> None:
        """Let parts that can be left out run, or not; most networks have none."""
        del on
