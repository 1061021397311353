"""Packages that only some commands need."""

from __future__ import annotations

import importlib
from typing import Any

from headstart.errors import HeadstartError

EXTRAS = {"ray": "headstart[ray]", "fsspec": "headstart[ray]", "pyarrow": "headstart[tables]"}


def needed(module: str) -> Any:
    """The module, such as ``ray.data``; HeadstartError that says what to install without it.

    Its types are not known to the checker here: Ray and fsspec need not be installed.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise HeadstartError(
            f"This needs the package {error.name or package}, which is not installed: "
            f"pip install {EXTRAS.get(package, package)}."
        ) from error
