"""The chain: a network as ordered, named stages that can be cut anywhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones.head import Head, last_layer, new_layer, pooled, put
from headstart.backbones.interpret import gather, run
from headstart.backbones.learner import Learner
from headstart.backbones.stages import HEAD, Segment
from headstart.backbones.tracing import Trace, trace
from headstart.backbones.weights import digest
from headstart.data.preprocessing import Preprocessing
from headstart.errors import HeadstartError
from headstart.seeds import seed_for

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


@dataclass(frozen=True)
class Parts:
    """A network's steps in the order they run, from its images to its scores."""

    input: fx.Node
    nodes: tuple[fx.Node, ...]
    output: fx.Node


class Chain(Learner):
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
        self._named = tuple(stages)
        self._trace = self._follow()
        self.training = network.training

    def _follow(self) -> Trace:
        size = self.preprocessing.image_size
        image = (self.channels, size, size)
        return trace(self.network, self._classifiers, image, self._named)

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        stages: Sequence[str] = (),
        *,
        classifier: str | None = None,
        preprocessing: Preprocessing | None = None,
        name: str | None = None,
    ) -> Chain:
        """Your own network as a chain.

        Args:
            module: takes images [B, C, H, W], gives scores [B, classes].
            stages: dotted names of the modules that end a stage each, in the order they run, like
                ``["layer1", "layer2"]``; what runs before the first belongs to the first stage.
                None: stages are found, as for every other network.
            classifier: dotted name of the last linear layer or 1x1 convolution; found if None.
            preprocessing: what the network was trained on; ImageNet's at 224 px if None.
            name: what to call it in reports; its class if None.

        Raises:
            HeadstartError: there is no cut behind a named stage, and what stands in its way; the
                forward cannot be followed, and how to name stages.
        """
        origin = Origin(
            name or type(module).__name__, "own", digest(module), "", len(module.state_dict())
        )
        own = preprocessing or Preprocessing(224)
        return cls(module, classifier or last_layer(module), own, origin, stages)

    def copied(self) -> Chain:
        """The same network with tensors of its own, as after loading: contiguous, for inference."""
        copy = deepcopy(self, {id(self._trace): self._trace})
        return copy.to(memory_format=torch.contiguous_format).eval()

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

    def replace_classifier(self, classes: int, seed: int, *, auxiliary: bool = False) -> None:
        """Put a new linear layer for `classes` answers in the classifier's place.

        Its weights are normal with standard deviation 0.01, its bias zero, from a generator of
        its own: the rest of the network does not change what they are. Networks published without
        a classifier get one. With `auxiliary` the auxiliary classifiers get new last layers too;
        else they go, for their answers are the old ones.
        """
        changes = self.head.replace(classes, seed)
        if len(self._classifiers) > 1 and not self.head.is_linear:
            changes += self._keep_one_classifier()
        self._say_classes(classes)
        if auxiliary:
            for name in self.auxiliary:
                self._replace_auxiliary(name, classes, seed)
                changes.append(f"The auxiliary classifier {name} got a new last layer.")
        else:
            changes += self._remove_auxiliary()
        self.note(*changes)

    def remove_classifier(self) -> None:
        """Take the classifier away: ``chain(images)`` then gives the last codes [B, D]."""
        self.head.remove()
        self._say_classes(0)
        self.note("The classifier was removed.", *self._remove_auxiliary())

    def _say_classes(self, classes: int) -> None:
        if hasattr(self.network, "num_classes"):
            setattr(self.network, "num_classes", classes)  # noqa: B010 (a plain int, not a tensor)

    def _keep_one_classifier(self) -> list[str]:
        """Where the scores are no mean of several (VOLO adds a maximum over tokens)."""
        first, *others = self._classifiers
        for name in others:
            put(self.network, name, None)
        self._classifiers = (first,)
        self._trace = self._follow()
        return [f"The classifier {name} beside {first} was removed." for name in others]

    def _replace_auxiliary(self, name: str, classes: int, seed: int) -> None:
        module = self.network.get_submodule(name)
        place = last_layer(module)
        old = module.get_submodule(place)
        assert isinstance(old, nn.Linear | nn.Conv2d)
        generator = torch.Generator().manual_seed(seed_for(seed, "head", name))
        width = int(old.weight.shape[1])
        put(module, place, new_layer(old, width, classes, generator, self.network))

    def _remove_auxiliary(self) -> list[str]:
        names = self.auxiliary
        for name in names:
            put(self.network, name, None)
        if names:
            setattr(self.network, "aux_logits", False)  # noqa: B010 (a plain bool)
        return [f"The auxiliary classifier {name} was removed." for name in names]

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

    def parts(self) -> Parts:
        """The steps of the whole network, for those who run them in another way."""
        trace = self._trace
        segments = (*trace.stages, trace.neck, trace.classifier)
        nodes = tuple(node for segment in segments for node in segment.nodes)
        return Parts(trace.input, nodes, trace.output)

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

    def _entering(self, index: int) -> fx.Node:
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
