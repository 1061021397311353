"""Training by a recipe of detectors: SGD, its schedule, nothing clipped, nothing averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_training_resume import curve_of, result_of, run_stopping_at
from torch import nn
from training_tiny import CLASSES, FakeTask, recipe, run, same, state_of, tiny_chain

from headstart.records import read_curve
from headstart.strategies import Phase
from headstart.strategies.detection_recipes import DetectionRecipe
from headstart.training import Hooks, Recipe
from headstart.training.groups import optimizer_for

OWN = DetectionRecipe(rate=0.4, decay=0.05, normalization_decay=0.01, momentum=0.8)


def plan(asked: DetectionRecipe = OWN, times: float = 2.0, **numbers: Any) -> Recipe:
    own = {"schedule": asked, "optimizer": asked.optimizer, "rates": (asked.peak(4),)}
    return recipe(Phase(steps=times), **{**own, **numbers})


def test_steps_are_those_of_plain_sgd_at_the_rates_of_the_schedule(tmp_path: Path) -> None:
    _, chain = run(tmp_path, plan(), chain=tiny_chain(norm=False))
    twin = tiny_chain(norm=False)
    schedule = OWN.schedule_of(2.0, 12, 4)
    velocity = {name: torch.zeros_like(p) for name, p in twin.network.named_parameters()}
    batches = FakeTask().batches(0)
    for step in range(24):
        _, images, labels = next(batches)
        twin.network.zero_grad()
        nn.functional.cross_entropy(twin.network(images), labels).backward()
        with torch.no_grad():
            for name, p in twin.network.named_parameters():
                decayed = p.grad + (0.05 * p if p.ndim > 1 else 0)
                velocity[name] = 0.8 * velocity[name] + decayed if step else decayed
                p -= schedule.rate_at(step) * velocity[name]
    for ours, theirs in zip(chain.network.parameters(), twin.network.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    rates = [point.rate for point in read_curve(tmp_path)][1:]
    assert rates == pytest.approx([schedule.rate_at(s) for s in (3, 7, 11, 15, 19, 23)])
    assert rates[-1] == pytest.approx(0.1 * 0.01)


def test_normalization_has_a_decay_of_its_own_and_biases_none() -> None:
    chain = tiny_chain()
    optimizer = optimizer_for(chain, plan().table, OWN.optimizer)
    decays = {p: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    network = chain.network
    assert decays[network.stem.weight] == decays[network.fc.weight] == 0.05
    assert decays[network.layers[0].norm.weight] == decays[network.layers[0].norm.bias] == 0.01
    assert decays[network.stem.bias] == decays[network.fc.bias] == 0.0


def test_the_last_weights_are_measured_and_gradients_are_not_clipped(tmp_path: Path) -> None:
    class Watched(FakeTask):
        def evaluate(self, model: nn.Module) -> tuple[float, float]:
            measured.append(flat(model))
            return super().evaluate(model)

    def flat(network: nn.Module) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    measured: list[torch.Tensor] = []
    reached: list[torch.Tensor] = []
    large = Watched(spoil=lambda step, loss: loss * 100)  # a gradient far over the bound of AdamW
    slow = DetectionRecipe(rate=0.001, momentum=0.0, decay=0.0)
    chain = tiny_chain(norm=False)
    hooks = Hooks(on_step=lambda step, total: reached.append(flat(chain.network)))
    run(tmp_path, plan(slow, 1.0), chain=chain, task=large, hooks=hooks)
    assert len(measured) == 4
    assert all(
        torch.equal(ours, reached[step])
        for ours, step in zip(measured[1:], (3, 7, 11), strict=True)
    )
    moved = (measured[1] - measured[0]).norm()
    assert moved > 5 * sum(slow.schedule_of(1.0, 12, 4).rate_at(step) for step in range(4))


@pytest.mark.parametrize("steps", [{0}, {1, 5}, {8, 9, 21}])
def test_stopping_anywhere_changes_nothing(tmp_path: Path, steps: set[int]) -> None:
    outcome, chain = run(tmp_path / "whole", plan())
    stopped, twin = run_stopping_at(tmp_path / "stopped", plan(), steps)
    assert same(state_of(chain), state_of(twin))
    assert curve_of(tmp_path / "whole") == curve_of(tmp_path / "stopped")
    assert result_of(outcome) == result_of(stopped)


def test_a_tensor_without_gradient_does_not_drift(tmp_path: Path) -> None:
    """Weights of a cascade that is not on yet: no decay, and no momentum of earlier steps."""
    for kind in ("sgd", "adamw"):
        chain = tiny_chain()
        optimizer = optimizer_for(
            chain, plan().table, OWN.optimizer if kind == "sgd" else recipe().optimizer
        )
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        images = torch.randn(4, 3, 8, 8)
        chain(images).sum().backward()
        optimizer.step()  # with momentum from now on
        before = state_of(chain)
        optimizer.zero_grad(set_to_none=True)
        features = torch.randn(4, 8)
        nn.functional.cross_entropy(
            chain.network.fc(features), torch.arange(4) % CLASSES
        ).backward()
        optimizer.step()
        after = state_of(chain)
        moved = {name for name in after if not torch.equal(before[name], after[name])}
        assert moved == {"fc.weight", "fc.bias"}
