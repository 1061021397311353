"""A tiny network and a tiny task that train in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from headstart.backbones import Chain, Origin
from headstart.data import Preprocessing
from headstart.strategies import Phase, Strategy, resolve
from headstart.training import Hooks, Outcome, Recipe, train
from headstart.training.batches import Order

SIZE, CLASSES, IMAGES = 8, 3, 23


class Block(nn.Module):
    def __init__(self, into: int, out: int, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out) if norm else nn.Identity()
        self.drop = nn.Dropout(0.2) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(torch.relu(self.norm(self.conv(x))))


class TinyNetwork(nn.Module):
    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.Sequential(Block(4, 6, norm), Block(6, 8, norm))
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(self.stem(x)).mean((2, 3)))


def tiny_chain(*, seed: int = 0, norm: bool = True) -> Chain:
    """Stages stem, layers.0 and layers.1; with `norm`, BatchNorm and dropout too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TinyNetwork(norm).eval()
    return Chain(network, "fc", Preprocessing(SIZE), Origin("tiny", "random", "", "", 0))


@dataclass
class FakeTask:
    """Random images whose labels a colour gives away; `spoil` may break or watch a loss."""

    batch: int = 4
    seed: int = 0
    spoil: Callable[[int, Tensor], Tensor] = lambda step, loss: loss
    measured: Callable[[int], tuple[float, float]] | None = None
    evaluations: int = 0
    losses: list[tuple[int, int]] = field(default_factory=list)  # step, images

    def __post_init__(self) -> None:
        draw = torch.Generator().manual_seed(7)
        self.labels = torch.randint(CLASSES, (IMAGES,), generator=draw)
        self.images = torch.randn(IMAGES, 3, SIZE, SIZE, generator=draw)
        self.images[torch.arange(IMAGES), self.labels] += 1

    def batches(self, start: int) -> Iterator[Any]:
        step = start
        while True:
            where = torch.from_numpy(Order(IMAGES, self.batch, self.seed).at(step).rows)
            yield step, self.images[where], self.labels[where]
            step += 1

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        step, images, labels = batch
        self.losses.append((step, len(images)))
        return self.spoil(step, nn.functional.cross_entropy(model(images), labels))

    def split(self, batch: Any, parts: int) -> list[tuple[Any, float]]:
        step, images, labels = batch
        pairs = zip(images.chunk(parts), labels.chunk(parts), strict=True)
        return [((step, i, y), len(y) / len(labels)) for i, y in pairs]

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> tuple[float, float]:
        assert not any(m.training for m in model.modules() if isinstance(m, nn.Dropout))
        self.evaluations += 1
        assert self.evaluations < 300, "the run does not end"
        if self.measured is not None:
            return self.measured(self.evaluations - 1)
        scores = model(self.images)
        loss = nn.functional.cross_entropy(scores, self.labels)
        return float(loss), float((scores.argmax(1) == self.labels).float().mean())

    def statistics(self) -> Iterable[Tensor]:
        return self.images.split(8)


def recipe(
    *phases: Phase,
    chain: Chain | None = None,
    batchnorm: str = "live",
    early_stop: bool = False,
    **numbers: Any,
) -> Recipe:
    """A recipe for the tiny chain: one phase of 12 steps, evaluated every 4."""
    chain = chain or tiny_chain()
    phases = phases or (Phase(),)
    if not early_stop:
        phases = tuple(p.model_copy(update={"exact": not p.extend}) for p in phases)
    strategy = Strategy.model_validate({"name": "tiny", "phases": phases, "batchnorm": batchnorm})
    return Recipe(
        **{
            "table": tuple(resolve(strategy, chain.stage_names)),
            "phases": phases,
            "unit": 12,
            "rates": (0.01,) * len(phases),
            "batch": 4,
            "seed": 0,
            "pixels_per_image": SIZE**2,
            "flops": (100.0, 200.0, 300.0, 10.0),
            "evaluate_every": 4,
            "images": IMAGES,
            "freeze_batchnorm": batchnorm == "frozen",
            **numbers,
        }
    )


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def run(
    folder: Path,
    plan: Recipe,
    *,
    chain: Chain | None = None,
    task: FakeTask | None = None,
    hooks: Hooks | None = None,
) -> tuple[Outcome, Chain]:
    """Train the tiny chain (the same one each time) and return what came of it."""
    chain = chain or tiny_chain()
    task = task or FakeTask(batch=plan.batch)
    return train(chain, task, plan, folder, fabric(), hooks or Hooks()), chain


def state_of(chain: Chain) -> dict[str, Tensor]:
    """A copy of everything in the network."""
    return {name: value.clone() for name, value in chain.network.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two states are equal to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
