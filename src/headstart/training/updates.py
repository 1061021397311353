"""One step: the gradients of a batch, in as many parts and on as many ranks as it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from headstart.backbones import Learner
from headstart.seeds import seed_for
from headstart.training.activations import above
from headstart.training.groups import optimizer_for, set_rate
from headstart.training.ranks import Ranks, UnfinishedError
from headstart.training.recipe import Recipe, Task


class Updates:
    """The network and its optimizer as Fabric runs them, and the steps that they take.

    `note` is told, in a sentence, when batches are cut in more parts.
    """

    def __init__(
        self,
        learner: Learner,
        task: Task,
        recipe: Recipe,
        fabric: Fabric,
        note: Callable[[str], None],
    ) -> None:
        self._learner, self._task, self._recipe = learner, task, recipe
        self._fabric, self._ranks, self._note = fabric, Ranks.of(fabric), note
        self.parts = recipe.accumulate  # more after running out of memory
        self.above = above(learner, recipe.cut)
        self.model: Any = None  # what learns is known in `learn`
        optimizer = optimizer_for(learner, recipe.table, recipe.optimizer)
        self.optimizer: Any = fabric.setup_optimizers(optimizer)

    def learn(self, rows: Collection[str]) -> None:
        """Let exactly these rows learn from now on, on every rank."""
        self._learner.learn(rows, freeze_batchnorm=self._recipe.freeze_batchnorm)
        if self._ranks.several:
            # Ranks share the gradients of what needs one when the network is wrapped, and wait
            # for all of these: tensors of no row (stages that a detector does not read) get none.
            owned = {id(p) for row in rows for _, p in self._learner.parameters_of(row)}
            for parameter in self._learner.parameters():
                parameter.requires_grad_(id(parameter) in owned)
        if self._ranks.several or self.model is None:
            self.model = self._fabric.setup_module(self.above)

    def take(self, batch: Any, step: int, rate: float, phase: int) -> Tensor:
        """Move the weights by this rank's share of a batch; its mean loss."""
        recipe = self._recipe
        self._learner.run_all(step >= recipe.whole_from)
        set_rate(self.optimizer, rate, phase)
        while True:
            # Dropout draws anew from the seed and the step: resuming changes nothing.
            _seed(self._fabric.device, seed_for(recipe.seed, "dropout", step, *self._ranks.mark))
            self.optimizer.zero_grad(set_to_none=True)
            try:
                loss = self._accumulate(batch)
                break
            except RuntimeError as error:
                self._halve(error, step)
        if recipe.optimizer.clip is not None:
            self._fabric.clip_gradients(
                self.model,
                self.optimizer,
                max_norm=recipe.optimizer.clip,
                error_if_nonfinite=False,
            )
        self.optimizer.step()
        return loss

    def _accumulate(self, batch: Any) -> Tensor:
        total = torch.zeros((), device=self._fabric.device)
        parts = self._task.split(batch, self.parts)
        for number, (part, share) in enumerate(parts, start=1):
            with self._alone(number < len(parts)):
                loss = self._task.loss(self.model, part) * share
                self._fabric.backward(loss)
            total += loss.detach()
        return total

    def _alone(self, alone: bool) -> AbstractContextManager[None]:
        """Gradients go between ranks once a step, with those of a batch's last part."""
        if not (alone and self._ranks.several):
            return nullcontext()
        return self._fabric.no_backward_sync(self.model)

    def _halve(self, error: RuntimeError, step: int) -> None:
        """Cut batches in twice as many parts after running out of memory, or pass the error on."""
        if not _is_out_of_memory(error) or self.parts * 2 > self._recipe.batch:
            raise error
        if self._ranks.several:
            # The others wait for this rank's gradients: it cannot begin the step again alone.
            raise UnfinishedError(
                f"Rank {self._ranks.own} of {self._ranks.count} ran out of memory at step {step}. "
                f"Say --accumulate {self.parts * 2}: shares of batches are then computed in more "
                "parts."
            ) from error
        self.parts *= 2
        self._note(
            f"step {step}: out of memory; each batch of {self._recipe.batch} is now "
            f"accumulated from {self.parts} parts (BatchNorm sees the parts)"
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _seed(device: torch.device, seed: int) -> None:
    """Seed the device's generator alone; `torch.manual_seed` notes every call for later GPUs."""
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text
