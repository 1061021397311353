"""Where a study's trials run and their records are kept: no part of what it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch

from headstart.errors import HeadstartError
from headstart.execution import Executor, Local
from headstart.execution.machine import threads
from headstart.places import Place

ONLY_ON_RAY = ("address", "gpus_per_trial", "records")


@dataclass(frozen=True)
class Where:
    """The same study may be begun at one place and continued at another.

    Raises HeadstartError for options that do not go together, and for packages that are missing.
    """

    on: Literal["local", "ray"] = "local"
    address: str | None = None  # of a Ray cluster; None: one of its own on this machine
    cpus_per_trial: int | None = None  # and threads; None: all of this machine, on Ray 1
    gpus_per_trial: float | None = None  # None: 1 where there is a GPU
    records: str | None = None  # a path or a URL of fsspec; None: the study's own folder

    def __post_init__(self) -> None:
        if self.on not in ("local", "ray"):
            raise HeadstartError(f"--on {self.on} is neither local nor ray.")
        for name in ONLY_ON_RAY:
            if self.on == "local" and getattr(self, name) is not None:
                option = name.replace("_", "-")
                raise HeadstartError(f"--{option} is for --on ray. Say that too, or leave it out.")
        if self.on == "ray" and find_spec("ray") is None:
            raise HeadstartError(
                "--on ray needs Ray, which is not installed: pip install headstart[ray]."
            )
        if self.records is not None:
            self._place()
        if self.cpus_per_trial is not None and self.cpus_per_trial < 1:
            raise HeadstartError(f"--cpus-per-trial {self.cpus_per_trial} is less than 1.")
        gpus = self.gpus_per_trial
        if gpus is not None and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
            raise HeadstartError(
                f"--gpus-per-trial {gpus:g} is neither a share of one GPU nor a whole number."
            )

    def _place(self) -> Place:
        try:
            return Place.of(self.records or "")
        except HeadstartError as error:
            raise HeadstartError(f"--records {error}") from error

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """What runs the trials, until the block ends.

        Raises HeadstartError where Ray is not installed or not reached.
        """
        if self.on == "local":
            with threads(self.cpus_per_trial or torch.get_num_threads()):
                yield Local()
            return
        from headstart.execution.cluster import Ray  # nobody else needs it

        gpus = self.gpus_per_trial
        if gpus is None:
            gpus = 1.0 if torch.cuda.is_available() else 0.0
        place = None if self.records is None else self._place()
        cpus = self.cpus_per_trial or 1
        cluster = Ray(self.address, cpus, gpus, place)
        try:
            with threads(cpus):  # what is measured here, beside the trials, is measured alike
                yield cluster
        finally:
            cluster.close()
