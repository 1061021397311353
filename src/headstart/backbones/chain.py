"""The chain: a network as ordered, named stages that can be cut anywhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones.tracing import Segment, run, trace
from headstart.data.preprocessing import Preprocessing
from headstart.errors import HeadstartError
from headstart.seeds import seed_for

HEAD = "head"  # the row of the strategy table that stands for the classifier
LAST = "last"  # the code that the network's own classifier reads


@dataclass(frozen=True)
class Origin:
    """Where a chain's network and weights come from."""

    name: str  # as given to `load`: "efficientnet_lite0", "timm/resnet50"
    weights: str  # "pretrained", "random" or a file's name
    digest: str  # of all weights, before anything was changed; "" for random ones
    licence: str  # of the weights, as their publisher states it
    loaded: int  # tensors that were loaded


class Chain(nn.Module):
    """A view of a classification network as a chain of stages.

    The network keeps its own modules and parameter names: ``chain.network.state_dict()`` goes to
    and comes from timm and torchvision unchanged, and ``chain(images)`` is ``network(images)`` in
    training as in inference. Rows of a strategy table are ``stage_names`` and ``"head"``; weights
    between the last stage and the classifier (a last norm) belong to the last stage.
    """

    def __init__(
        self, network: nn.Module, classifier: str, preprocessing: Preprocessing, origin: Origin
    ) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        self.origin = origin
        self._classifier = classifier
        self._trace = trace(network, classifier)
        self.training = network.training

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages, first to last."""
        return tuple(stage.name for stage in self._trace.stages)

    @property
    def classifier(self) -> nn.Linear:
        """The network's last linear layer: the head."""
        module = self.network.get_submodule(self._classifier)
        if not isinstance(module, nn.Linear):
            raise HeadstartError(f"The classifier of {self.origin.name} is not a linear layer.")
        return module

    def forward(self, images: Tensor) -> Tensor:
        """Scores [B, classes] for normalized images [B, 3, S, S]."""
        return self.head_of(self.run(images))

    def run(self, value: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Run stages ``start`` to ``stop`` (exclusive) on the value at the cut before `start`."""
        stages = self._trace.stages
        for index in range(len(stages))[start:stop]:
            value = run(self.network, stages[index].nodes, self._entering(index), value)
        return value

    def last_code(self, value: Tensor) -> Tensor:
        """The classifier's input [B, D] from the value after the last stage."""
        if not self._trace.neck.nodes:
            return value
        return run(
            self.network, self._trace.neck.nodes, self._entering(len(self._trace.stages)), value
        )

    def head_of(self, value: Tensor) -> Tensor:
        """Scores [B, classes] from the value after the last stage."""
        code = self.last_code(value)
        neck = self._trace.neck.nodes
        entering = neck[-1] if neck else self._entering(len(self._trace.stages))
        return run(self.network, self._trace.classifier.nodes, entering, code)

    def codes(self, images: Tensor, stages: Sequence[str]) -> dict[str, Tensor]:
        """Codes [B, D] of the named stages, in one pass; ``"last"`` is the classifier's input.

        A stage's code is the mean over positions of its map or tokens.
        """
        wanted, found, value = set(stages), {}, images
        for index, name in enumerate(self.stage_names):
            value = self.run(value, index, index + 1)
            if name in wanted:
                found[name] = pooled(value)
        if LAST in wanted:
            found[LAST] = self.last_code(value).flatten(1)
        return {name: found[name] for name in stages}

    def replace_classifier(self, classes: int, seed: int) -> None:
        """Put a new linear layer for `classes` answers in the classifier's place.

        Its weights are normal with standard deviation 0.01, its bias zero, from a generator of
        its own: the rest of the network does not change what they are.
        """
        old = self.classifier
        new = nn.Linear(old.in_features, classes, device=old.weight.device, dtype=old.weight.dtype)
        generator = torch.Generator().manual_seed(seed_for(seed, "head"))
        with torch.no_grad():
            new.weight.copy_(torch.randn(new.weight.shape, generator=generator) * 0.01)
            new.bias.zero_()
        owner, _, name = self._classifier.rpartition(".")
        setattr(self.network.get_submodule(owner), name, new)
        if hasattr(self.network, "num_classes"):
            setattr(self.network, "num_classes", classes)  # noqa: B010 (a plain int, not a tensor)

    def state_names(self) -> dict[str, tuple[str, ...]]:
        """Which tensors of the network's state belong to which row (stages and ``"head"``)."""
        rows = self._rows()
        owned: dict[str, list[str]] = {name: [] for name in rows}
        for key in self.network.state_dict():
            owned[_owner(key, rows)].append(key)
        return {name: tuple(keys) for name, keys in owned.items()}

    def parameters_of(self, row: str) -> list[tuple[str, nn.Parameter]]:
        """Named parameters of a stage, or of ``"head"``."""
        rows = self._rows()
        if row not in rows:
            raise HeadstartError(f"There is no stage '{row}'; the stages are: {', '.join(rows)}.")
        return [(n, p) for n, p in self.network.named_parameters() if _owner(n, rows) == row]

    def learn(self, rows: Collection[str], *, freeze_batchnorm: bool = False) -> None:
        """Let exactly these rows learn: the others need no gradient and stay in inference mode.

        So a frozen BatchNorm's running statistics do not move (rule 7). With `freeze_batchnorm`
        the BatchNorm layers of learning stages keep their statistics too (small batches).
        """
        owners = self._rows()
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(_owner(name, owners) in rows)
        self.network.eval()
        for name, module in reversed(list(self.network.named_modules())):
            children = list(module.children())
            if freeze_batchnorm and isinstance(module, _BatchNorm):
                continue
            # A container acts as its parts do: attention reads its own mode.
            learns = _owner(name, owners) in rows if name else False
            module.training = any(c.training for c in children) if children else learns
        self.training = self.network.training

    def _entering(self, index: int) -> torch.fx.Node:
        return self._trace.stages[index - 1].nodes[-1] if index else self._trace.input

    def _rows(self) -> dict[str, tuple[str, ...]]:
        rows = {stage.name: _roots(stage) for stage in self._trace.stages}
        last = self._trace.stages[-1].name
        rows[last] += _roots(self._trace.neck)
        rows[HEAD] = (self._classifier,)
        return rows


def _roots(segment: Segment) -> tuple[str, ...]:
    return tuple(dict.fromkeys(segment.paths))


def _owner(name: str, rows: dict[str, tuple[str, ...]]) -> str:
    """The row whose modules hold `name`; unused tensors go with the last stage."""
    for row, roots in rows.items():
        if any(name == root or name.startswith(f"{root}.") for root in roots):
            return row
    return list(rows)[-2]


def pooled(value: Tensor) -> Tensor:
    """A code [B, D] from a map [B, D, H, W], tokens [B, T, D] or a vector [B, D]."""
    if value.ndim == 4:
        return value.mean((2, 3))
    return value.mean(1) if value.ndim == 3 else value
