"""The chain: a network as ordered, named stages that can be cut anywhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones.head import Head, put
from headstart.backbones.interpret import gather, run
from headstart.backbones.stages import Segment
from headstart.backbones.tracing import trace
from headstart.data.preprocessing import Preprocessing
from headstart.errors import HeadstartError

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
    changes: tuple[str, ...] = ()  # what is not as its publisher made it, a sentence each


class Chain(nn.Module):
    """A view of a classification network as a chain of stages.

    The network keeps its own modules and parameter names: ``chain.network.state_dict()`` goes to
    and comes from timm and torchvision unchanged, and ``chain(images)`` is ``network(images)`` in
    training as in inference. Rows of a strategy table are ``stage_names`` and ``"head"``; weights
    between the last stage and the classifier (a last norm) belong to the last stage.
    """

    def __init__(
        self,
        network: nn.Module,
        classifier: str | Sequence[str],
        preprocessing: Preprocessing,
        origin: Origin,
        stages: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        self.origin = origin
        self._classifiers = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        size = preprocessing.image_size
        image = (self.channels, size, size)
        self._trace = trace(network, self._classifiers, image, stages)
        self.training = network.training

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages, first to last."""
        return tuple(stage.name for stage in self._trace.stages)

    @property
    def channels(self) -> int:
        """How many channels its images have."""
        return len(self.preprocessing.mean)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.network.parameters()).device

    @property
    def head(self) -> Head:
        """The classifier as one linear layer, whatever form it has in the network."""
        return Head(self.network, self._classifiers, self._trace)

    @property
    def classifier(self) -> nn.Linear | nn.Conv2d:
        """The network's own last layer; HeadstartError where it is not one: see `head`."""
        layers = self.head.layers
        if len(layers) > 1:
            raise HeadstartError(
                f"{self.origin.name} averages {len(layers)} classifiers, so it has no single one."
            )
        return layers[0]

    def forward(self, images: Tensor) -> Tensor:
        """Scores [B, classes] for normalized images [B, 3, S, S]."""
        return self.head_of(self.run(images))

    def run(self, value: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Run stages ``start`` to ``stop`` (exclusive) on the value at the cut before `start`."""
        chosen = range(len(self._trace.stages))[start:stop]
        nodes = [node for index in chosen for node in self._trace.stages[index].nodes]
        return run(self.network, nodes, self._entering(chosen.start), value)

    def last_code(self, value: Tensor) -> Tensor:
        """The code [B, D] that the classifier reads, from the value after the last stage.

        Where the classifier is a 1x1 convolution on a map, the map's mean over positions; where
        several classifiers read different codes, these side by side (see `Head`).
        """
        given = {self._entering(len(self._trace.stages)): value}
        read = gather(self.network, self._trace.neck.nodes, given, self._trace.codes)
        codes = [pooled(code) for code in read]
        return codes[0] if len(codes) == 1 else torch.cat(codes, 1)

    def head_of(self, value: Tensor) -> Tensor:
        """Scores [B, classes] from the value after the last stage."""
        nodes = (*self._trace.neck.nodes, *self._trace.classifier.nodes)
        given = {self._entering(len(self._trace.stages)): value}
        return gather(self.network, nodes, given, [self._trace.output])[0]

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
            found[LAST] = self.last_code(value)
        return {name: found[name] for name in stages}

    def replace_classifier(self, classes: int, seed: int) -> None:
        """Put a new linear layer for `classes` answers in the classifier's place.

        Its weights are normal with standard deviation 0.01, its bias zero, from a generator of
        its own: the rest of the network does not change what they are. Networks published without
        a classifier get one. Auxiliary classifiers go: their answers are the old ones.
        """
        changes = self.head.replace(classes, seed)
        if hasattr(self.network, "num_classes"):
            setattr(self.network, "num_classes", classes)  # noqa: B010 (a plain int, not a tensor)
        for name in self.auxiliary:
            put(self.network, name, None)
            changes.append(f"The auxiliary classifier {name} was removed with the old classes.")
        if hasattr(self.network, "aux_logits"):
            setattr(self.network, "aux_logits", False)  # noqa: B010 (a plain bool)
        self.note(*changes)

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """Classifiers that the network has for training alone (GoogLeNet, Inception).

        They are no part of the chain, whose answer is the main one; in training
        ``chain.network(images)`` still returns theirs too.
        """
        if not getattr(self.network, "aux_logits", False):
            return ()
        used = [path for roots in self._rows().values() for path in roots]
        return tuple(
            name
            for name, child in self.network.named_children()
            if any(True for _ in child.parameters())
            and not any(path == name or path.startswith(f"{name}.") for path in used)
        )

    def note(self, *changes: str) -> None:
        """Write into `origin` what was changed, a sentence each."""
        if changes:
            self.origin = replace(self.origin, changes=(*self.origin.changes, *changes))

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
        rows[HEAD] = self._classifiers
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
