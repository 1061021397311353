"""What several processes that train one trial need of it, and which trials they refuse."""

from __future__ import annotations

from collections.abc import Sequence

from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones import Learner, batchnorm_to_syncbatchnorm
from headstart.errors import HeadstartError
from headstart.execution.setting import Setting
from headstart.strategies import Row, Strategy, resolve
from headstart.training import Ranks


def require_shares(setting: Setting, strategies: Sequence[Strategy]) -> None:
    """HeadstartError for batches that cannot be shared out, and for what CPUs cannot do together.

    That is BatchNorm that learns: PyTorch takes its statistics over processes on GPUs alone, and
    those of a share would make another network than one process trains.
    """
    ranks, batch = setting.ranks, setting.batch
    parts = ranks.count * setting.accumulate
    if batch % parts:
        shared = f"{ranks.count} processes" if ranks.several else "one process"
        fitting = [size for size in (batch // parts * parts, -(-batch // parts) * parts) if size]
        raise HeadstartError(
            f"Batches of {batch} images cannot be computed by {shared} in {setting.accumulate} "
            f"equal parts each. Say --batch-size {' or '.join(map(str, fitting))}."
        )
    if not ranks.several or setting.fabric.device.type != "cpu":
        return
    for strategy in strategies:
        if strategy.norm == "own" and batchnorm_learns(
            setting.reference, resolve(strategy, setting.stages), strategy
        ):
            raise HeadstartError(
                f"In '{strategy.name}' BatchNorm learns, and PyTorch takes its statistics over "
                "several processes on GPUs alone. Train it with one process, or take a strategy "
                "or normalization without: fine-tune, scratch-gn, --normalization group."
            )


def batchnorm_learns(learner: Learner, table: Sequence[Row], strategy: Strategy) -> bool:
    """Whether some BatchNorm takes its statistics from batches, in some phase."""
    if strategy.batchnorm == "frozen":
        return False
    learning = {
        id(parameter)
        for row in table
        if any(row.shares)
        for _, parameter in learner.parameters_of(row.stage)
    }
    norms = [module for module in learner.modules() if isinstance(module, _BatchNorm)]
    return any(id(norm.weight) in learning for norm in norms)


def synchronize(learner: Learner, ranks: Ranks) -> None:
    """Let BatchNorm take its batch over all processes; one process stays as it is."""
    if ranks.several:
        batchnorm_to_syncbatchnorm(learner.network)
