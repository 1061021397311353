"""A head on codes that lie in files, from the question to the file of the head."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from headstart.errors import HeadstartError
from headstart.features.cluster import Cluster
from headstart.features.head_file import write_head
from headstart.features.heads import LinearHead
from headstart.features.ridge import RIDGE_GRID
from headstart.features.solvers_selection import best_of
from headstart.features.streamed import CodeFiles, LocalSums, RaySums, Summing
from headstart.features.streamed_moments import Moments, moments_of
from headstart.features.streamed_ridge import solve_ridge
from headstart.features.streamed_softmax import solve_softmax

Kind = Literal["ridge", "softmax"]


@dataclass(frozen=True)
class SolvedHead:
    """A head, and how well it does on images that it has not seen.

    `accuracy` is exact leave-one-out over all images for ridge regression; for softmax that of a
    head fitted on nine tenths of the images, on the tenth that a hash of the id holds out. None
    where there was no image to hold out.
    """

    head: LinearHead
    kind: Kind
    classes: tuple[str, ...]  # the rows of its weights
    penalty: float  # alpha of ridge regression, C of softmax
    accuracy: float | None
    judged: Literal["leave-one-out", "held out"]
    tried: list[dict[str, float]]  # penalties, and how each did
    images: int
    code: str
    file: Path


def solve_head(
    codes: str | Path,
    to: str | Path,
    *,
    head: Kind = "softmax",
    code: str | None = None,
    label: str = "label",
    penalty: float | None = None,
    on: Literal["local", "ray"] = "local",
    address: str | None = None,
) -> SolvedHead:
    """Solve a head on codes in Parquet files, and write it to `to` (``.safetensors``).

    It is the head that `fit_ridge` and `fit_logistic` give in memory; here memory does not grow
    with the number of images. Without a `penalty` it is chosen: for ridge regression by
    leave-one-out, for softmax by the tenth of the images that a hash of the id holds out.

    The file is that of a trial (``weight``, ``bias``, ``unit_norm``), with ``classes`` and what
    made the codes in its metadata.

    Args:
        codes: what `extract` wrote, a folder of Parquet files or one; a path or an address.
        to: the head's file.
        head: ridge regression or (multinomial) logistic regression.
        code: the column of codes; by default the only one.
        label: the column of labels; images without one are left out.
        penalty: alpha of ridge regression, C of softmax; by default chosen.
        on: this machine or Ray, with the same bits.
        address: of the Ray cluster, as in `extract`.

    Returns:
        `SolvedHead`: ``.head``, ``.classes``, ``.accuracy`` and how it was ``.judged``.

    Raises:
        HeadstartError: for missing files, columns and labels, and codes that are not finite.
    """
    target = Path(to)
    if target.suffix != ".safetensors":
        raise HeadstartError(f"--to {target}: give a name that ends in .safetensors.")
    if penalty is not None and not penalty > 0:
        raise HeadstartError(f"--penalty {penalty:g}: give a number above 0, or auto.")
    files = CodeFiles.opened(str(codes), code, label)
    with ExitStack() as stack:
        summing: Summing
        if on == "ray":
            cluster = stack.enter_context(Cluster.reached(address))
            summing = RaySums(files, min(cluster.cpus, len(files.groups)))
            stack.callback(summing.close)
        else:
            summing = LocalSums(files)
        moments = moments_of(summing)
        solved, chosen, tried, accuracy = (_ridge if head == "ridge" else _softmax)(
            summing, moments, penalty
        )
    found = SolvedHead(
        solved, head, moments["all"].classes, chosen, accuracy,
        "leave-one-out" if head == "ridge" else "held out",
        tried, moments["all"].count, files.code, target,
    )  # fmt: skip
    write_head(target, solved, _told(found, files))
    return found


Found = tuple[LinearHead, float, list[dict[str, float]], float | None]


def _ridge(summing: Summing, moments: dict[str, Moments], penalty: float | None) -> Found:
    grid = RIDGE_GRID if penalty is None else (penalty,)
    head, chosen, rows = solve_ridge(summing, moments["all"], grid)
    return head, chosen, rows, next(r["accuracy"] for r in rows if r["penalty"] == chosen)


def _softmax(summing: Summing, moments: dict[str, Moments], penalty: float | None) -> Found:
    head, chosen, tried = solve_softmax(summing, moments, penalty)
    rows = [{"penalty": c.penalty, "accuracy": c.accuracy, "loss": c.loss} for c in tried]
    return head, chosen, rows, best_of(tried).accuracy if tried else None


def _told(found: SolvedHead, files: CodeFiles) -> dict[str, object]:
    kept = asdict(found)
    for name in ("head", "file"):
        del kept[name]
    return kept | {"codes": files.about}
