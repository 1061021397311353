"""Engines: equal to torch or not used, the same bits in any company, and the quicker one chosen."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from features_small import SIZE, chain_from, draw, store_of

from headstart.backbones import LAST, Chain
from headstart.features import engine as engines
from headstart.features import engine_choice
from headstart.features.cache import Cache
from headstart.features.engine import HalfEngine, OpenVinoEngine, Parts, TorchEngine
from headstart.features.engine_choice import choose_engine, open_engine, worst_difference
from headstart.features.extraction import Extraction, average_names
from headstart.features.pooling import CodesOfPixels, code_names

PIXELS = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (11, 3, SIZE, SIZE), np.uint8))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    loaded = chain_from(tmp_path_factory.mktemp("weights"))
    loaded.learn(set())
    return loaded


@pytest.fixture(scope="module")
def module(chain: Chain) -> CodesOfPixels:
    return CodesOfPixels(chain, code_names(chain, ("layer1", "layer3", LAST), ("avg", "max"), SIZE))


@pytest.fixture(scope="module")
def openvino(module: CodesOfPixels) -> OpenVinoEngine:
    return OpenVinoEngine(module, PIXELS.shape[1:])


def joined(batches: Iterable[Parts]) -> Parts:
    return [np.concatenate(part) for part in zip(*batches, strict=True)]


def test_openvinos_codes_are_torchs(module: CodesOfPixels, openvino: OpenVinoEngine) -> None:
    theirs = joined(openvino.run(PIXELS.split(openvino.batch)))
    ours = joined(TorchEngine(module).run([PIXELS]))
    assert [part.shape for part in theirs] == [part.shape for part in ours]
    assert worst_difference(theirs, ours) < 1e-5


@pytest.mark.parametrize("name", ["torch", "openvino", "half"])
def test_an_images_code_has_the_same_bits_in_any_batch(
    module: CodesOfPixels, openvino: OpenVinoEngine, name: str
) -> None:
    engine = {"torch": TorchEngine, "half": HalfEngine}.get(name, lambda _: openvino)(module)
    engine.batch = min(engine.batch, 4)
    whole = joined(engine.run(PIXELS.split(4)))
    for order in ([5], [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0], [3, 3, 7]):
        parts = joined(engine.run(PIXELS[order].split(3)))
        for part, all_of_it in zip(parts, whole, strict=True):
            np.testing.assert_array_equal(part, all_of_it[order])


def test_half_is_near_and_computes_again_what_overflows(
    module: CodesOfPixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = HalfEngine(module)
    ours = joined(TorchEngine(module).run([PIXELS]))
    assert 0 < worst_difference(joined(engine.run([PIXELS])), ours) < engines.TOLERANCE["half"]
    monkeypatch.setattr(engine, "_state", {n: t * 1e4 for n, t in engine._state.items()})
    again = joined(engine.run([PIXELS]))
    assert worst_difference(again, ours) < 1e-6


class Crooked(OpenVinoEngine):
    """Wrong in one image of a batch."""

    def __init__(self, module: CodesOfPixels, shape: object) -> None:
        self.plain, self.batch = TorchEngine(module), 4

    def run(self, batches: Iterable[torch.Tensor]) -> Iterator[Parts]:
        for parts in self.plain.run(batches):
            parts[1][-1, 0] += 1.0
            yield parts


class Unable(OpenVinoEngine):
    """Cannot be made."""

    def __init__(self, module: CodesOfPixels, shape: object) -> None:
        raise RuntimeError("no rule for aten::something\nand a long trace")


@pytest.mark.parametrize(("kind", "said"), [(Crooked, "differ from torch's"), (Unable, "no rule")])
def test_an_engine_that_is_wrong_is_not_used(
    chain: Chain,
    kind: type[OpenVinoEngine],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(engine_choice, "OpenVinoEngine", kind)
    names = code_names(chain, ("layer1", LAST), ("avg",), SIZE)
    with caplog.at_level(logging.WARNING):
        assert open_engine("openvino", chain, names, PIXELS).name == "torch"
    assert said in caplog.text
    assert "long trace" not in caplog.text
    dataset, cache = draw(tmp_path / "pictures", 6), Cache(tmp_path / "cache")
    store, positions = store_of(dataset, chain), np.arange(6)
    asked = Extraction(chain, dataset, store, names, SIZE, engine="openvino", cache=cache)
    found = asked.all(positions)
    assert asked.engine == "torch"
    plain = Extraction(chain, dataset, store, names, SIZE, cache=cache)
    for name, codes in plain.all(positions).items():
        np.testing.assert_array_equal(found[name], codes)
    assert plain.reused == 6  # they lie in the cache as what they are


def test_a_network_is_converted_once_for_the_choice_and_the_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again where its weights have changed meanwhile."""
    converted: list[object] = []
    convert = engines._compile

    def counted(*asked: object) -> object:
        converted.append(asked)
        return convert(*asked)

    monkeypatch.setattr(engines, "_compile", counted)
    monkeypatch.setattr(engine_choice, "_rate", lambda engine, *_: 1.0 + (engine.name != "torch"))
    chain, dataset = chain_from(tmp_path / "weights", seed=2), draw(tmp_path / "pictures", 6)
    names, store, positions = average_names((LAST,)), store_of(dataset, chain), np.arange(6)
    for change in (0.5, 0.0):
        converted.clear()
        assert choose_engine(chain, names, SIZE, 1000) == ("openvino", 2.0)
        with torch.no_grad():
            next(chain.network.parameters()).mul_(1 + change)
        reading = Extraction(chain, dataset, store, names, SIZE, engine="openvino")
        codes = reading.all(positions)[names[0]]
        assert reading.engine == "openvino"
        assert len(converted) == (2 if change else 1)
        crops = next(store.crops([positions], SIZE))[1]
        own = joined(TorchEngine(CodesOfPixels(chain, names)).run([crops]))
        assert worst_difference([codes], own) < 1e-5


@pytest.mark.parametrize(("rates", "quicker"), [((2.0, 9.0), "openvino"), ((2.0, 2.1), "torch")])
def test_the_quicker_engine_is_chosen_once(
    chain: Chain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rates: tuple[float, float],
    quicker: str,
) -> None:
    timed: list[str] = []

    def rate(engine: engines.Engine, *_: object) -> float:
        timed.append(engine.name)
        return rates[engine.name == "openvino"]

    class Quick(Unable):
        def __init__(self, module: CodesOfPixels, shape: object) -> None:
            self.plain, self.batch = TorchEngine(module), 4

        def run(self, batches: Iterable[torch.Tensor]) -> Iterator[Parts]:
            return self.plain.run(batches)

    monkeypatch.setattr(engine_choice, "_rate", rate)
    monkeypatch.setattr(engine_choice, "OpenVinoEngine", Quick)
    names, cache = average_names((LAST,)), Cache(tmp_path)
    assert choose_engine(chain, names, SIZE, 10, cache).name == "torch"  # too few to be worth it
    assert timed == ["torch"]
    for _ in range(2):
        assert choose_engine(chain, names, SIZE, 1000, cache).name == quicker
        assert timed == ["torch", "openvino"]  # what was timed is remembered
