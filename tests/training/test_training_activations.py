"""What frozen stages give is computed once, and nothing that is learned depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from training_tiny import IMAGES, FakeTask, fabric, recipe, run, same, state_of, tiny_chain

from headstart.backbones import Chain
from headstart.errors import HeadstartError
from headstart.strategies import Phase, Strategy, resolve
from headstart.training import Activations, Hooks, StoppedError, batches, below
from headstart.training.batches import VIEWS, Batch, Order, Positions
from headstart.training.keeping import CPU, GPU, Keeping, choose, cut_of

CPU_DEVICE = torch.device("cpu")


def keeping(place: Any = "memory", *, half: bool = False, cut: int = 2) -> Keeping:
    return Keeping(place, half, cut, 0, 0, 0.0, 0.0, 0.0)


# What is chosen.


@given(
    images=st.integers(1, 10**6),
    size=st.integers(1, 10**7),
    flops=st.floats(1, 1e12),
    memory=st.floats(0, 1e11),
    disk=st.floats(0, 1e12),
    speeds=st.sampled_from([CPU, GPU]),
    halves=st.booleans(),
)
def test_what_is_kept_fits_and_is_read_quicker_than_computed(
    images: int, size: int, flops: float, memory: float, disk: float, speeds: Any, halves: bool
) -> None:
    room = {"memory": memory, "disk": disk}
    rate = {"memory": speeds.memory, "disk": speeds.disk}

    def possible(place: str, half: bool) -> bool:
        stored = size / (2 if half else 1)
        quick = stored / rate[place] < flops / speeds.flops
        return stored * images <= room[place] and quick and (halves or not half)

    found = choose(3, images, size, flops, speeds=speeds, memory=memory, disk=disk, halves=halves)
    if not found.kept:
        assert not any(possible(place, half) for place in room for half in (False, True))
        return
    assert possible(found.place, found.half)
    assert found.gigabytes * 1e9 <= room[found.place] * (1 + 1e-9)
    if found.half:  # rounding is the last resort: exact values give the same weights
        assert not any(possible(place, False) for place in room)


def test_nothing_is_kept_where_the_first_stage_learns() -> None:
    found = choose(0, 10, 10, 1e9, speeds=CPU, memory=1e12, disk=1e12, halves=True)
    assert not found.kept


@pytest.mark.parametrize(
    ("phases", "cut"),
    [
        ((Phase(),), 0),
        ((Phase(learn="last 1"),), 2),
        ((Phase(learn="head"),), 3),
        ((Phase(learn="head"), Phase(learn="last 2")), 1),  # all phases count
        ((Phase(learn="last 2"), Phase(learn="head")), 1),
        ((Phase(learn=("stem", "head")),), 0),
    ],
)
def test_the_cut_lies_below_the_first_stage_that_ever_learns(
    phases: tuple[Phase, ...], cut: int
) -> None:
    table = resolve(Strategy(name="mine", phases=phases), ("stem", "one", "two"))
    assert cut_of(table) == cut


# What is read is what would have been computed.


class Source:
    """Images that say which view of which row they are, and how often each was asked for."""

    def __init__(self, ahead: int = 0) -> None:
        self.asked: list[tuple[int, int]] = []
        self.ahead = ahead

    def __call__(self, wanted: Iterable[Batch]) -> Iterator[Tensor]:
        source = iter(wanted)
        waiting = list(islice(source, self.ahead))  # as threads do that read ahead
        while True:
            waiting += list(islice(source, 1))
            if not waiting:
                return
            yield self.images(waiting.pop(0))

    def images(self, batch: Batch) -> Tensor:
        pairs = list(zip(batch.rows.tolist(), batch.views.tolist(), strict=True))
        self.asked += pairs
        return torch.tensor([float(1000 * v + r) for r, v in pairs]).view(-1, 1, 1, 1)


def crowd(images: Tensor) -> Tensor:
    """As some kernels do, it rounds otherwise in other company: [B, 3, 2, 2]."""
    return (images + images.mean() * 1e-3).expand(-1, 3, 2, 2).contiguous()


def alone(images: Tensor) -> Tensor:
    return images.expand(-1, 3, 2, 2).contiguous(memory_format=torch.channels_last)


def kept(
    order: Order, folder: Path, prefix: Callable[[Tensor], Tensor] = alone, **how: Any
) -> Activations:
    return Activations(prefix, order, keeping(**how), folder, CPU_DEVICE)


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize(("images", "batch"), [(7, 3), (3, 7), (5, 5), (1, 2)])
def test_every_step_gets_its_own_views(tmp_path: Path, place: str, images: int, batch: int) -> None:
    order, source = Order(images, batch, 0), Source(ahead=2)
    activations = kept(order, tmp_path, place=place)
    steps = order.steps_with_new_views + 3 * images
    for step, value in enumerate(islice(activations.training(0, source), steps)):
        expected = alone(Source().images(order.at(step)))
        assert torch.equal(value, expected)
        assert value.is_contiguous(memory_format=torch.channels_last)
    most = order.steps_with_new_views * batch
    assert len(set(source.asked)) == VIEWS * images
    assert len(source.asked) == most  # once each, but for the company of the last ones


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 60))
@settings(max_examples=25, deadline=None)
def test_whenever_a_run_is_taken_up_it_reads_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, images: int, batch: int, start: int
) -> None:
    order, folder = Order(images, batch, 0), tmp_path_factory.getbasetemp()
    whole = kept(order, folder, crowd).training(0, Source())
    resumed = kept(order, folder, crowd).training(start, Source(ahead=1))
    for expected, value in zip(islice(whole, start, start + 2 * images), resumed, strict=False):
        assert torch.equal(value, expected)


def test_a_run_that_is_taken_up_computes_only_what_it_still_needs(tmp_path: Path) -> None:
    order, source = Order(40, 4, 0), Source()
    late = kept(order, tmp_path).training(VIEWS * 10, source)
    next(late)
    assert len(source.asked) <= 16  # the four steps that showed these views first


def test_another_run_finds_what_the_first_one_kept(tmp_path: Path) -> None:
    order, first, second = Order(8, 4, 0), Source(), Source()
    activations = kept(order, tmp_path)
    list(islice(activations.training(0, first), 6))
    values = list(islice(activations.training(0, second), 8))
    assert second.asked == asked_at(order, 6, 8)
    assert torch.equal(values[0], alone(Source().images(order.at(0))))


def asked_at(order: Order, first: int, last: int) -> list[tuple[int, int]]:
    source = Source()
    for step in range(first, last):
        source.images(order.at(step))
    return source.asked


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_half_precision_is_relative_to_each_image(tmp_path: Path, place: str) -> None:
    scales = torch.tensor([1e-6, 1.0, 7e4, 1e9]).view(-1, 1, 1, 1)  # the last two overflow float16
    values = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * scales
    activations = kept(Order(4, 4, 0), tmp_path, lambda images: values, place=place, half=True)

    def read(order: Sequence[Positions]) -> Iterator[Tensor]:
        yield values

    for _ in range(2):
        [found] = activations.plain([np.arange(4)], read)
        error = (found - values).abs().amax((1, 2, 3)) / values.abs().amax((1, 2, 3))
        assert float(error.max()) <= 2**-11
        assert float(error.min()) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 3, 2, 2), (5, 4, 6), (5, 7)])
def test_values_of_any_form_come_back_as_they_were(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    values = torch.randn(shape).to(dtype)
    for place in ("memory", "disk"):
        activations = kept(Order(5, 5, 0), tmp_path, lambda images: values, place=place)
        [found] = activations.plain([np.arange(5)], lambda order: iter([values]))
        assert found.dtype == dtype
        assert torch.equal(found, values)


def test_plain_images_are_computed_once_and_other_ones_apart(tmp_path: Path) -> None:
    asked: list[list[int]] = []

    def read(order: Sequence[Positions]) -> Iterator[Tensor]:
        for positions in order:
            asked.append(positions.tolist())
            yield torch.from_numpy(positions).float().view(-1, 1, 1, 1)

    activations = kept(Order(5, 5, 0), tmp_path)
    validation, other = [np.array([4, 7]), np.array([9])], [np.array([4, 7, 9])]
    for _ in range(2):
        for order in (validation, other):
            found = torch.cat(list(activations.plain(order, read)))
            assert found[:, 0, 0, 0].tolist() == [4, 7, 9]
    assert asked == [[4, 7], [9], [4, 7, 9]]
    next(activations.plain([np.array([1]), np.array([2])], read))  # given up after one batch
    again = torch.cat(list(activations.plain([np.array([1]), np.array([2])], read)))
    assert again[:, 0, 0, 0].tolist() == [1, 2]


def test_a_full_disk_is_the_users_to_mend(tmp_path: Path, monkeypatch: Any) -> None:
    activations = kept(Order(4, 2, 0), tmp_path, place="disk")
    values = activations.training(0, Source())
    next(values)
    monkeypatch.setattr(activations._views[0]._kept, "_file", Full())
    with pytest.raises(HeadstartError, match=r"No space left.*\n?.*Free some space"):
        next(values)


class Full:
    def seek(self, place: int) -> None:
        pass

    def write(self, content: Any) -> int:
        raise OSError(28, "No space left on device")


# Training with and without.


class KeptTask(FakeTask):
    """The tiny task, its images noisy by view, with activations or without."""

    activations: Activations | None = None

    def values(self, wanted: Iterable[Batch]) -> Iterator[Tensor]:
        for batch in wanted:
            noise = torch.from_numpy(batch.views).float().view(-1, 1, 1, 1)
            yield self.images[torch.from_numpy(batch.rows)] + 0.01 * noise

    def batches(self, start: int) -> Iterator[Any]:
        order = Order(IMAGES, self.batch, self.seed)
        values = (
            self.values(order.since(start))
            if self.activations is None
            else self.activations.training(start, self.values)
        )
        for step, (batch, value) in enumerate(zip(order.since(start), values, strict=False), start):
            yield step, value, self.labels[torch.from_numpy(batch.rows)]

    @torch.no_grad()
    def evaluate(self, model: torch.nn.Module) -> tuple[float, float]:
        value = self.images
        if self.activations is not None:
            read = lambda order: iter([self.images])  # noqa: E731
            [value] = self.activations.plain([np.arange(IMAGES)], read)
        scores = model(value)
        loss = torch.nn.functional.cross_entropy(scores, self.labels)
        return float(loss), float((scores.argmax(1) == self.labels).float().mean())

    def statistics(self) -> Iterable[Tensor]:
        if self.activations is None:
            return [self.images]
        read = lambda order: iter([self.images])  # noqa: E731
        return self.activations.plain([np.arange(IMAGES)], read)


LONG = {"unit": 40, "evaluate_every": 10}


def trained(
    folder: Path,
    place: str | None,
    hooks: Hooks | None = None,
    batchnorm: str = "live",
    **how: Any,
) -> Any:
    """Train the tiny chain's last stage with views that come back, keeping what is below or not."""
    chain, task = tiny_chain(), KeptTask()
    cut = 0 if place is None else 2
    if place is not None:
        prefix, order = below(chain, 2, fabric()), Order(IMAGES, 4, 0)
        task.activations = Activations(
            prefix, order, keeping(place, **how), folder / "checkpoint", CPU_DEVICE
        )
    plan = recipe(Phase(learn="last 1"), cut=cut, batchnorm=batchnorm, **LONG)
    outcome, chain = run(folder, plan, chain=chain, task=task, hooks=hooks)
    return outcome, chain


@pytest.fixture
def two_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that views come back after two passes, which are 12 steps."""
    monkeypatch.setattr(batches, "VIEWS", 2)


def difference(a: Chain, b: Chain) -> float:
    mine, theirs = state_of(a), state_of(b)
    return max(float((mine[n].double() - theirs[n].double()).abs().max()) for n in mine)


@pytest.mark.usefixtures("two_views")
@pytest.mark.parametrize("place", ["memory", "disk"])
def test_the_weights_are_those_of_training_without(tmp_path: Path, place: str) -> None:
    plain, without = trained(tmp_path / "plain", None)
    kept_outcome, with_them = trained(tmp_path / place, place)
    assert difference(without, with_them) < 1e-5
    assert kept_outcome.loss == pytest.approx(plain.loss, abs=1e-5)
    assert difference(without, tiny_chain()) > 1e-3


@pytest.mark.usefixtures("two_views")
def test_rounding_to_half_precision_changes_weights_a_little(tmp_path: Path) -> None:
    # A bias before live BatchNorm has no gradient but rounding, which AdamW makes whole steps of.
    _, without = trained(tmp_path / "plain", None, batchnorm="frozen")
    _, with_them = trained(tmp_path / "half", "memory", batchnorm="frozen", half=True)
    assert 0 < difference(without, with_them) < 1e-2


@pytest.mark.usefixtures("two_views")
def test_the_ledger_says_what_was_computed(tmp_path: Path) -> None:
    outcome, _ = trained(tmp_path, "memory")
    below_cut, above_cut = 100 + 200, 300 + 10
    computed = 12 * 4  # two views of 23 images fill twelve batches
    assert outcome.ledger.steps == 40
    assert outcome.ledger.images == 40 * 4
    assert outcome.ledger.pixels == computed * 64
    assert outcome.ledger.flops == computed * below_cut + 40 * 4 * 3 * above_cut


@pytest.mark.usefixtures("two_views")
@pytest.mark.parametrize("stop", [3, 11, 13, 25, 39])
def test_stopping_anywhere_changes_nothing(tmp_path: Path, stop: int) -> None:
    whole, chain = trained(tmp_path / "whole", "memory")
    seen: list[int] = []
    hooks = Hooks(
        on_step=lambda step, total: seen.append(step),
        stop_requested=lambda: bool(seen) and seen[-1] == stop,
    )
    with pytest.raises(StoppedError):
        trained(tmp_path / "stopped", "memory", hooks)
    outcome, twin = trained(tmp_path / "stopped", "disk")  # what was kept is gone
    assert same(state_of(chain), state_of(twin))
    assert outcome.ledger.model_dump(exclude={"seconds"}) == whole.ledger.model_dump(
        exclude={"seconds"}
    )
