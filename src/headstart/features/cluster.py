"""Ray: the cluster that is asked, what its workers take, and its errors in the user's words."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from headstart.data.many import needed
from headstart.errors import HeadstartError

# Decoding and computing take turns on the same cores, so each claims half of one.
COMPUTING, READING = 0.5, 0.5


def connect(address: str | None, **own: Any) -> bool:
    """Connect this process to the Ray at `address`, or to one of its own; whether it was not yet.

    `own` are options of `ray.init` for a cluster of its own. Whoever connected shuts Ray down.
    Raises HeadstartError where none answers.
    """
    ray = needed("ray")
    if ray.is_initialized():
        return False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # A task without a GPU sees none, as Ray has it; it warns that this may change, unless told.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    # Said once, on the machine that asks; what goes wrong in a worker comes back as a value.
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"include_dashboard": False} | own
    try:
        ray.init(address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise HeadstartError(
            f"--address {address or 'none'}: no Ray answers there ({said[0]}). Start a cluster "
            "with ray start, or leave --address out for one on this machine."
        ) from error
    return True


@dataclass(frozen=True)
class Cluster:
    """A running Ray."""

    cpus: int
    gpus: int

    @classmethod
    @contextmanager
    def reached(cls, address: str | None) -> Iterator[Cluster]:
        """The cluster at `address`, or one of this machine's own, which ends with the block.

        Where the process is connected already, that connection is used and kept.
        """
        ray, own = needed("ray"), connect(address)
        try:
            there = ray.cluster_resources()
            yield cls(int(there.get("CPU", 1)), int(there.get("GPU", 0)))
        finally:
            if own:
                ray.shutdown()


@dataclass(frozen=True)
class Workers:
    """The processes that compute codes, and what one of them takes.

    `gpus` may be a fraction: several workers then share one. By default there is a worker for
    each GPU, or for each core where there are none.
    """

    count: int | None = None
    gpus: float | None = None  # each
    threads: int = 1  # each, of the CPU

    def on(self, cluster: Cluster) -> Workers:
        """The same with every number filled in; HeadstartError for more than the cluster has."""
        gpus = (1.0 if cluster.gpus else 0.0) if self.gpus is None else self.gpus
        most = int(cluster.gpus / gpus) if gpus else cluster.cpus // self.threads
        count = max(1, most) if self.count is None else self.count
        if count < 1 or self.threads < 1 or gpus < 0:
            raise HeadstartError(
                "--workers and --threads are 1 or more, --gpus-per-worker 0 or more."
            )
        if gpus and count > most:
            raise HeadstartError(
                f"--workers {count} with {gpus:g} GPUs each: the cluster has {cluster.gpus}."
            )
        if COMPUTING * self.threads * count > cluster.cpus - READING:
            raise HeadstartError(
                f"--workers {count}: too many for the {cluster.cpus} cores of the cluster, which "
                "also read the images."
            )
        return replace(self, count=count, gpus=gpus)

    @property
    def reading(self) -> dict[str, Any]:
        """Of the tasks that read and decode."""
        return {"num_cpus": READING}

    @property
    def computing(self) -> dict[str, Any]:
        """Of the actors."""
        taken: dict[str, Any] = {"num_cpus": COMPUTING * self.threads}
        return taken | ({"num_gpus": self.gpus} if self.gpus else {})


@contextmanager
def told_to_the_user() -> Iterator[None]:
    """Raise a `HeadstartError` of another process as such, without Ray's account of its way."""
    try:
        yield
    except Exception as error:
        found = _cause(error)
        if found is not None and found is not error:
            raise HeadstartError(str(found)) from error
        raise


def _cause(error: BaseException | None) -> HeadstartError | None:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, HeadstartError):
            return error
        seen.add(id(error))
        error = getattr(error, "cause", None) or error.__cause__ or error.__context__
    return None
