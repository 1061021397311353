"""What a trial is, its key, and the numbers it trains with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from headstart.detectors.coco import START as COCO
from headstart.errors import HeadstartError
from headstart.execution.setting import Setting, digest_of
from headstart.records import Role
from headstart.strategies import Strategy, defaults, resolve
from headstart.training import Recipe


@dataclass(frozen=True)
class Trial:
    """One arm with one seed, one schedule and one learning rate."""

    strategy: Strategy
    seed: int
    unit: int = 0  # steps of a phase of steps: 1; 0 where no step is taken
    rate_factor: float | None = None  # x the default rate
    role: Role = "trial"
    hold_until: int = 0  # the rate falls no earlier than after this step, whatever was planned
    whole_from: int = 0  # the step from which a detector's cascade runs, where it has one

    def key(self, protocol: str) -> str:
        """Hash of everything that can change the outcome."""
        content = {
            "protocol": protocol,
            "strategy": self.strategy.model_dump(mode="json"),
            "files": _file_digests(self.strategy),
            "seed": self.seed,
            "unit": self.unit,
            "rate_factor": self.rate_factor,
            "role": self.role,
        }
        later = {"hold_until": self.hold_until, "whole_from": self.whole_from}
        return digest_of(content | {name: step for name, step in later.items() if step})


def recipe(trial: Trial, setting: Setting) -> Recipe:
    """The numbers that a trial trains with."""
    strategy = trial.strategy
    factor = trial.rate_factor or 1.0
    pretrained = strategy.head != "new"  # a head that begins at random asks for the higher rate
    default = setting.rate(pretrained=pretrained)
    sweep = trial.role == "sweep"
    every = defaults.evaluate_every(
        trial.unit, setting.batch, setting.evaluated, setting.judged_per_learned
    )
    return Recipe(
        table=tuple(resolve(strategy, setting.stages)),
        phases=strategy.phases,
        unit=trial.unit,
        rates=tuple((phase.rate or default) * factor for phase in strategy.phases),
        batch=setting.batch,
        seed=trial.seed,
        pixels_per_image=setting.pixels,
        flops=tuple(setting.flops),
        evaluate_every=every,
        images=len(setting.training),
        accumulate=setting.accumulate,
        curve=not sweep,
        schedule=setting.shape,
        optimizer=setting.optimizer,
        freeze_batchnorm=strategy.batchnorm == "frozen",
        extension_limit=1.0 if sweep else setting.extension_limit,
        hold_until=trial.hold_until,
        whole_from=trial.whole_from,
    )


def planned_flops(trial: Trial, setting: Setting) -> float:
    """FLOPs of all steps of a trial, every image computed: what an arm will cost at most."""
    plan = recipe(trial, setting)
    return sum(
        plan.step_flops(number, 0) * round(phase.steps * trial.unit)
        for number, phase in enumerate(plan.phases)
    )


def _file_digests(strategy: Strategy) -> list[str]:
    """SHA-256 of each weights file that the strategy starts from (rule 11).

    Names of published weights stand for what is in them.
    """
    digests = []
    for name in sorted(strategy.starts - {"pretrained", "random"}):
        if name.startswith(COCO):
            continue
        if not Path(name).is_file():
            raise HeadstartError(f"Strategy '{strategy.name}' starts from {name}: no such file.")
        with Path(name).open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests
