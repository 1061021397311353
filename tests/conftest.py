from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from s3_server import _s3_client, s3

__all__ = ["_s3_client", "s3"]

SHARED = Path(__file__).parents[2] / "shared" / "data"

# Small networks wait for threads longer than they work, above all where tests run in parallel.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests neither read nor fill the cache of whoever runs them.
os.environ["HEADSTART_CACHE"] = "off"

# A busy machine is no failure, and the same code gives the same answer.
settings.register_profile("headstart", deadline=None, derandomize=True)
settings.load_profile("headstart")


@pytest.fixture(scope="session")
def imagenet_sample() -> Path:
    """A thousand ImageNet photographs, one of each class."""
    folder = SHARED / "imagenet_sample"
    if not folder.is_dir():
        pytest.skip("the folder of real images, ../shared/data/imagenet_sample, is missing")
    return folder
