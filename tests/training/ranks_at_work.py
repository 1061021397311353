"""What two ranks do together, run by torchrun: see test_training_ranks.

Each has a folder of its own, so that it would be seen if another than the first wrote or read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

from training_tiny import IMAGES, FakeTask, recipe, state_of, tiny_chain

from headstart.backbones import Chain, batchnorm_to_groupnorm
from headstart.execution import fabric
from headstart.seeds import seed_for
from headstart.strategies import Phase
from headstart.strategies.optimizing import Optimizer
from headstart.training import Hooks, Outcome, Ranks, Recipe, StoppedError, train

SGD = Optimizer(kind="sgd", moments=(0.9,), decay=1e-4, normalization_decay=0.0, averaged=False)
TWO = (Phase(learn="head", steps=0.5), Phase())


@dataclass
class Shared(FakeTask):
    """The same images; of several ranks each takes its share and judges its share."""

    ranks: Ranks = field(default_factory=Ranks)
    judged: list[int] = field(default_factory=list)  # of this rank, at the last evaluation

    def batches(self, start: int) -> Iterator[Any]:
        own = self.ranks.part(self.batch)
        for step, images, labels in super().batches(start):
            yield step, images[own], labels[own]

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> tuple[float, float]:
        own = self.ranks.part(IMAGES)  # 23 images: shares of 11 and 12
        self.judged = list(range(IMAGES))[own]
        scores = torch.cat(self.ranks.gathered(model(self.images[own])))
        loss = nn.functional.cross_entropy(scores, self.labels)
        return float(loss), float((scores.argmax(1) == self.labels).float().mean())


def grouped() -> Chain:
    """The tiny chain with GroupNorm, and without dropout."""
    chain = tiny_chain()
    batchnorm_to_groupnorm(chain.network, 2)
    for module in chain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return chain


def long_plan() -> Recipe:
    """50 steps."""
    return recipe(Phase(), chain=grouped(), unit=50, batch=8, evaluate_every=5)


def phased_plan(accumulate: int = 1) -> Recipe:
    """The head alone, then everything; by SGD, in parts."""
    return recipe(*TWO, chain=grouped(), batch=8, accumulate=accumulate, optimizer=SGD)


def trained(
    folder: Path, plan: Recipe, hooks: Hooks | None = None, **options: Any
) -> tuple[Outcome, Chain, Shared]:
    """A run on as many ranks as there are."""
    chain, device = grouped(), fabric()
    task = Shared(batch=plan.batch, ranks=Ranks.of(device), **options)
    return train(chain, task, plan, folder, device, hooks or Hooks()), chain, task


def spoiling(step: int, what: Callable[[Tensor], Tensor]) -> Callable[[int, Tensor], Tensor]:
    """Do something to one step's loss, once."""
    left = [step]

    def spoil(now: int, loss: Tensor) -> Tensor:
        if left and now == step:
            left.clear()
            return what(loss)
        return loss

    return spoil


def draws(folder: Path) -> list[float]:
    """The first number that each step's loss would draw."""
    drawn: list[float] = []

    def look(step: int, loss: Tensor) -> Tensor:
        drawn.append(float(torch.rand(())))
        return loss

    trained(folder, long_plan(), spoil=look)
    return drawn


def main(root: Path) -> None:
    """Every scene, and what this rank saw of it."""
    ranks = Ranks.of(fabric())
    own = root / f"rank-{ranks.own}"
    own.mkdir(parents=True)
    seen: dict[str, Any] = {"count": ranks.count}

    _, chain, task = trained(own / "long", long_plan())
    seen["judged"] = task.judged
    torch.save(state_of(chain), own / "long.pt")
    _, chain, _ = trained(own / "phased", phased_plan(accumulate=2))
    torch.save(state_of(chain), own / "phased.pt")

    steps: list[int] = []
    asking = Hooks(
        on_step=lambda step, total: steps.append(step),
        stop_requested=lambda: ranks.own == 1 and len(steps) == 23,
    )
    with suppress(StoppedError):
        trained(own / "stopped", long_plan(), asking)
    seen["stopped_at"] = len(steps)
    nan = spoiling(7, lambda loss: loss * (float("nan") if ranks.own == 1 else 1.0))
    outcome, _, _ = trained(own / "nan", long_plan(), spoil=nan)
    seen["events"] = outcome.events
    seen["draws"] = draws(own / "draws")
    seen["first_seed"] = seed_for(0, "dropout", 0)
    seen["written"] = sorted({p.name for p in own.rglob("*") if p.is_file()} - {"long.pt"})
    (own / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
