"""A small study's finished trials, and the models taken from them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "execution"))

from drawn_objects import draw
from finished_detectors import FinishedDetector, train
from finished_trials import BACKBONE, SIZE, Finished
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from headstart.backbones import load
from headstart.data import ImageStore, make_splits, open_dataset
from headstart.data.objects import open_objects
from headstart.execution import ClassificationSetting, Trial, fabric, run
from headstart.metrics import Kind
from headstart.records import read_predictions
from headstart.strategies import named
from headstart.tasks import Data
from headstart.training import Hooks


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 digits of three classes, as PNG files: narrow, wide and square ones."""
    root, digits = tmp_path_factory.mktemp("digits"), load_digits()
    for label in range(3):
        (root / f"digit {label}").mkdir()
        for number, position in enumerate(np.flatnonzero(digits.target == label)[:12]):
            grey = np.rint(digits.images[position] * 15.9).astype(np.uint8)
            size = (20 + number, 31 - number)
            Image.fromarray(grey).resize(size).save(root / f"digit {label}" / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Finished]:
    """The finished trial of an arm, run when it is first asked for."""
    folder = tmp_path_factory.mktemp("study")
    weights = folder / "start.safetensors"
    save_file(load(BACKBONE, "random", seed=5).network.state_dict(), weights)
    dataset = open_dataset(images)
    splits = make_splits(dataset, validation=0.3)
    chain = load(BACKBONE, weights)
    setting = ClassificationSetting(
        data=Data(
            dataset, splits, ImageStore(dataset, chain.preprocessing.at(SIZE)), SIZE, splits.train
        ),
        backbone=BACKBONE,
        weights=str(weights),
        batch=8,
        seed=0,
        schedule="trapezoid",
        extension_limit=1.0,
        fabric=fabric(),
        duplicates=np.arange(len(dataset)),
    )
    done: dict[str, Finished] = {}

    def of(arm: str) -> Finished:
        if arm not in done:
            strategy = named(arm, setting.stages)
            trial = Trial(strategy, seed=3, unit=2 if strategy.trains else 0)
            record = run(trial, setting, folder, Hooks())
            predictions = read_predictions(folder / "trials" / record.key)
            assert predictions is not None
            paths = [images / dataset.ids[i] for i in splits.validation]
            done[arm] = Finished(record, predictions, paths, setting, folder)
        return done[arm]

    return of


@pytest.fixture
def best(finished: Callable[[str], Finished], tmp_path: Path) -> Path:
    """A folder with a model whose head was solved."""
    return finished("linear").save(tmp_path / "best")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pictures with annotated objects, as COCO has them."""
    return draw(tmp_path_factory.mktemp("drawn") / "objects", images=12)


@pytest.fixture(scope="session")
def detector(
    drawn: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Kind], FinishedDetector]:
    """The finished trial of a detector, run when it is first asked for."""
    dataset = open_objects(drawn)
    done: dict[Kind, FinishedDetector] = {}

    def of(kind: Kind) -> FinishedDetector:
        if kind not in done:
            done[kind] = train(dataset, tmp_path_factory.mktemp(kind), kind)
        return done[kind]

    return of


@pytest.fixture
def best_detector(detector: Callable[[Kind], FinishedDetector], tmp_path: Path) -> Path:
    """A folder with a model that finds boxes."""
    return detector("boxes").save(tmp_path / "best")
