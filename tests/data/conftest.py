from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from data_pictures import picture

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of pictures from paths; the n-th path gets the n-th picture."""

    def make(*paths: str, name: str = "images") -> Path:
        root = tmp_path / name
        for number, path in enumerate(paths):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            picture(number).save(root / path)
        return root

    return make


@pytest.fixture
def two_classes(make_folder: Callable[..., Path]) -> Path:
    """Twenty cats and twenty dogs: one file more or less is 2.5%."""
    return make_folder(*(f"{name}/{i:02d}.png" for name in ("cat", "dog") for i in range(20)))


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the folder of real images, ../shared/data, is missing")
    return SHARED
