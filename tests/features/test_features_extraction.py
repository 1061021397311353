"""Codes: the network's own, whichever way, order and company they are extracted in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from features_small import SIZE, chain_from, draw, store_of

from headstart.backbones import LAST, Chain, load
from headstart.data import Dataset, center_crop, normalize
from headstart.errors import HeadstartError
from headstart.features.cache import Cache
from headstart.features.engine import TorchEngine
from headstart.features.extraction import Extraction, average_names, extract
from headstart.features.pooling import CodeName, code_names


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return draw(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def everything(dataset: Dataset) -> np.ndarray:
    return np.arange(len(dataset))


def images(chain: Chain, dataset: Dataset, positions: np.ndarray) -> torch.Tensor:
    raw = next(iter(store_of(dataset, chain).batches([positions])))
    return normalize(center_crop(raw, SIZE), chain.preprocessing)


def computing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each batch had that was computed from now on."""
    seen: list[int] = []
    plain = TorchEngine.run

    def run(self: TorchEngine, batches: Any) -> Any:
        def counted() -> Any:
            for pixels in batches:
                seen.append(len(pixels))
                yield pixels

        return plain(self, counted())

    monkeypatch.setattr(TorchEngine, "run", run)
    return seen


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_vit"])
def test_codes_of_all_stages_and_poolings_are_the_chains(
    dataset: Dataset, folder: Path, name: str
) -> None:
    chain = chain_from(folder, name)
    size = chain.preprocessing.image_size if "vit" in name else SIZE
    names = code_names(chain, (*chain.stage_names, LAST), ("avg", "max"), size)
    positions = everything(dataset)[:9]
    store = store_of(dataset, chain, size)
    codes = Extraction(chain, dataset, store, names, size).all(positions)
    raw = next(iter(store.batches([positions])))
    value = normalize(center_crop(raw, size), chain.preprocessing)
    with torch.inference_mode():
        averages = chain.codes(value, (*chain.stage_names, LAST))
        for stage in chain.stage_names:
            index = chain.stage_names.index(stage)
            value = chain.run(value, index, index + 1)
            torch.testing.assert_close(
                torch.from_numpy(codes[CodeName(stage, "avg")]), averages[stage]
            )
            highest = value.flatten(2).amax(2) if value.ndim == 4 else value.amax(1)
            torch.testing.assert_close(torch.from_numpy(codes[CodeName(stage, "max")]), highest)
        own = torch.from_numpy(codes[CodeName(LAST, "own")])
        torch.testing.assert_close(own, averages[LAST])


def test_the_class_token_is_a_pooling_where_there_is_one(dataset: Dataset, folder: Path) -> None:
    vit, resnet = chain_from(folder, "timm/test_vit"), chain_from(folder)
    names = code_names(vit, ("blocks.5", LAST), ("avg", "cls"), 160)
    assert [str(name) for name in names] == ["blocks.5/avg", "blocks.5/cls", "last"]
    positions = np.arange(5)
    store = store_of(dataset, vit, 160)
    codes = Extraction(vit, dataset, store, names, 160).all(positions)
    raw = next(iter(store.batches([positions])))
    with torch.inference_mode():
        tokens = vit.run(normalize(center_crop(raw, 160), vit.preprocessing))
    found = torch.from_numpy(codes[CodeName("blocks.5", "cls")])
    torch.testing.assert_close(found, tokens[:, 0])
    with pytest.raises(HeadstartError, match="pooling 'cls'"):
        code_names(resnet, resnet.stage_names, ("avg", "cls"), SIZE)
    with pytest.raises(HeadstartError, match="stage 'layer9'"):
        code_names(resnet, ["layer9"], ("avg",), SIZE)


def test_a_code_does_not_depend_on_what_it_is_extracted_with(
    dataset: Dataset, folder: Path
) -> None:
    chain = chain_from(folder)
    names = average_names(("layer2", LAST))
    whole = Extraction(chain, dataset, store_of(dataset, chain), names, SIZE)
    together = whole.all(everything(dataset))
    for positions in ([17], [39, 0, 0, 5], list(range(35, 1, -1))):
        other = Extraction(chain, dataset, store_of(dataset, chain), names, SIZE)
        codes = other.all(np.array(positions))
        for name in names:
            np.testing.assert_array_equal(codes[name], together[name][positions])


def test_the_second_time_codes_come_from_the_cache(
    dataset: Dataset, folder: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, names = chain_from(folder), average_names(("layer1", LAST))
    seen = computing(monkeypatch)

    def run(positions: np.ndarray) -> tuple[Extraction, dict[CodeName, np.ndarray]]:
        seen.clear()
        reading = Extraction(chain, dataset, store_of(dataset, chain), names, SIZE, cache=cache)
        return reading, reading.all(positions)

    first, some = run(np.arange(3, 11))
    assert (first.reused, sum(seen)) == (0, 8)
    second, every = run(everything(dataset))
    assert (second.reused, sum(seen)) == (8, 32)
    third, again = run(everything(dataset)[::-1])
    assert (third.reused, sum(seen)) == (40, 0)
    assert third.seconds == pytest.approx(second.seconds, rel=1e-3)  # what they once took
    plain = Extraction(chain, dataset, store_of(dataset, chain), names, SIZE)
    clean = plain.all(everything(dataset))
    for name in names:
        np.testing.assert_array_equal(every[name], clean[name])
        np.testing.assert_array_equal(again[name][::-1], clean[name])
        np.testing.assert_array_equal(some[name], clean[name][3:11])


Change = Callable[[Chain, dict[str, Any]], Chain]


def other_weights(chain: Chain, asked: dict[str, Any]) -> Chain:
    with torch.no_grad():  # the name and the file stay what they were
        next(chain.network.parameters()).add_(0.01)
    return chain


def other_layer(chain: Chain, asked: dict[str, Any]) -> Chain:
    for module in chain.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.1
    return chain


def other_normalization(chain: Chain, asked: dict[str, Any]) -> Chain:
    object.__setattr__(chain.preprocessing, "mean", (0.1, 0.2, 0.3))
    return chain


def other_size(chain: Chain, asked: dict[str, Any]) -> Chain:
    asked["size"] = 40
    return chain


def other_stage(chain: Chain, asked: dict[str, Any]) -> Chain:
    asked["stages"] = ("layer1", "layer2")
    return chain


@pytest.mark.parametrize(
    "change",
    [other_weights, other_layer, other_normalization, other_size, other_stage],
)
def test_codes_are_not_taken_for_those_of_something_else(
    dataset: Dataset, folder: Path, cache: Cache, change: Change
) -> None:
    asked: dict[str, Any] = {"stages": ("layer1",), "size": SIZE}

    def run(chain: Chain) -> Extraction:
        reading = Extraction(
            chain,
            dataset,
            store_of(dataset, chain_from(folder), asked["size"]),
            average_names(asked["stages"]),
            asked["size"],
            cache=cache,
        )
        reading.all(everything(dataset))
        return reading

    run(chain_from(folder))
    assert run(chain_from(folder)).reused == len(dataset)
    assert run(change(chain_from(folder), asked)).reused == 0


def test_the_same_bytes_under_another_name_are_known(
    dataset: Dataset, folder: Path, cache: Cache, tmp_path: Path
) -> None:
    chain, names = chain_from(folder), average_names((LAST,))
    Extraction(chain, dataset, store_of(dataset, chain), names, SIZE, cache=cache).all(
        everything(dataset)
    )
    moved = draw(tmp_path / "elsewhere")
    again = Extraction(chain, moved, store_of(moved, chain), names, SIZE, cache=cache)
    again.all(everything(moved))
    assert again.reused == len(dataset)


def test_codes_of_random_weights_are_not_kept(dataset: Dataset, cache: Cache) -> None:
    chain = load("timm/test_resnet", "random", seed=3)
    reading = Extraction(
        chain, dataset, store_of(dataset, chain), average_names((LAST,)), SIZE, cache=cache
    )
    reading.all(everything(dataset))
    assert cache.usage() == []


def test_an_image_whose_code_is_not_finite_is_named(dataset: Dataset, folder: Path) -> None:
    chain = chain_from(folder)
    target = images(chain, dataset, np.array([21]))[0]

    def spoil(_: torch.nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> Any:
        same = (given[0] - target).abs().amax((1, 2, 3)) < 1e-4
        return torch.where(same[:, None, None, None], torch.nan, made)

    first = next(m for m in chain.network.modules() if isinstance(m, torch.nn.Conv2d))
    first.register_forward_hook(spoil)
    with pytest.raises(HeadstartError, match=rf"{dataset.ids[21]} at stage last is not finite"):
        extract(
            chain, dataset, store_of(dataset, chain), everything(dataset), [LAST], image_size=SIZE
        )
