"""The public verbs: a few lines each, everything else has its room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError
from headstart.features.many import extract_many
from headstart.features.streamed_solving import solve_head
from headstart.models import DetectorModel, Model
from headstart.models import load as load_model
from headstart.strategies import SOLVED
from headstart.study import (
    Inspection,
    Listener,
    Reproduced,
    Result,
    Verification,
    Where,
    conduct,
    parse_budget,
    parse_sizes,
    question_from,
    reproduce_study,
)
from headstart.study import inspect as inspect_images
from headstart.study import verify as verify_study

Data = str | Path

# Many images: what is to be said of these verbs stands with them.
extract = extract_many
solve = solve_head


def compare(
    data: Data,
    *,
    task: str | None = None,
    backbone: str = "efficientnet_lite0",
    weights: str | Path = "pretrained",
    strategies: Sequence[str] | None = None,
    budget: str | float | None = None,
    steps: int | None = None,
    seeds: int | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
    schedule: str = "trapezoid",
    delta: float = 0.01,
    race: bool | None = None,
    sizes: str | Sequence[str | float] | None = None,
    tuning_study: bool = False,
    detector: str | None = None,
    normalization: str | None = None,
    cascade: bool = False,
    allow_small_batches: bool = False,
    seed: int = 0,
    out: str | Path | None = None,
    on: str = "local",
    address: str | None = None,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | None = None,
    records: str | Path | None = None,
    listener: Listener | None = None,
) -> Result:
    """Measure which strategy to use on your own images, and train the model.

    Args:
        data: a folder, a manifest (CSV or Parquet), ``digits``, ``shapes``, ``torchvision:NAME``
            or ``hf:NAME``; for objects a folder of annotated images (see
            `headstart.data.objects.open_objects`) or ``shapes``.
        task: ``"classes"``, ``"boxes"``, ``"masks"`` or ``"keypoints"``; by default what the
            annotations are, and classes where there are none of objects.
        backbone: ``efficientnet_lite0``, ``timm/NAME`` or ``torchvision/NAME``.
        weights: what "pretrained" means: the published weights, or a local file.
        strategies: names (see `headstart.strategies.NAMES`, for objects `OBJECT_NAMES`) or YAML
            files of your own.
        budget: wall clock for everything: ``"10m"``, or seconds. Ten minutes where neither
            `budget` nor `steps` is given.
        steps: fine-tuning steps instead of a budget; scratch takes at least 3 x as many.
        seeds: repetitions of every arm with something random in it.
        image_size: pixels; by default the network's own, less for small images. Of objects the
            shorter side.
        batch_size: images a step.
        schedule: ``"trapezoid"`` or ``"fixed-tail"`` (He et al. 2018).
        delta: differences in accuracy, or average precision, below it do not matter to you.
        race: leave arms out that cannot matter any more, with the reason; by default where there
            is a budget. Never for objects.
        sizes: shares of the training images, such as ``"1/16,1/4,1"``: every arm is run on nested
            subsets too, for accuracy over labelled images and the numbers at which arms break even.
        tuning_study: run fine-tune's chosen rate factor from scratch too, and the default one in
            every arm that learns, and show what tuning was worth (He et al. 2018, section 5.2).
        detector: for objects ``"faster-rcnn"``, ``"mask-rcnn"``, ``"keypoint-rcnn"``,
            ``"retinanet"`` or ``"fcos"``; by default the R-CNN of the task.
        normalization: of the whole detector, ``"group"``, ``"batch"``, ``"sync-batch"``,
            ``"frozen-batch"`` or ``"none"``; by default what the weights were learned with.
        cascade: three box heads, one behind the other (Cascade R-CNN).
        allow_small_batches: let BatchNorm learn from batches of fewer than 16 images.
        seed: of the splits and of everything that is drawn.
        out: the study's folder; the same call with the same folder continues it, wherever trials
            ran before.
        on: where trials run: ``"local"``, here and one after the other, or ``"ray"``, side by side
            on the machines of a Ray cluster (``pip install headstart[ray]``).
        address: of the cluster; ``"auto"`` is the one that runs. By default one of its own, on
            this machine.
        cpus_per_trial: threads of a trial, and on Ray its cores; by default all of this machine, on
            Ray 1. Another number gives results that differ as another seed's would.
        gpus_per_trial: GPUs of a trial on Ray, or the share of one; by default 1, if there is any.
        records: where workers keep their records, a path or a URL (``s3://bucket/name``): any place
            that fsspec knows. By default `out`, which every machine must then see.
        listener: told what happens meanwhile.

    Returns:
        The `Result`: ``.sentence``, ``.table()``, ``.model()``, ``.answer`` (study.json).

    Raises:
        HeadstartError: for bad input, before anything is written; where another command is at
            work on the same study.
    """
    where = Where(
        on=on,  # type: ignore[arg-type]  # another word is refused there
        address=address,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        records=None if records is None else str(records),
    )
    seconds = parse_budget(budget) if isinstance(budget, str) else budget
    if seconds is None and steps is None:
        seconds = 600.0
    asked = question_from(
        data=str(data),
        task=task,
        backbone=backbone,
        weights=str(weights),
        strategies=None if strategies is None else list(strategies),
        budget_seconds=seconds,
        steps=steps,
        seeds=seeds,
        image_size=image_size,
        batch_size=batch_size,
        schedule=schedule,
        delta=delta,
        race=race,
        sizes=None if sizes is None else parse_sizes(sizes),
        tuning_study=tuning_study,
        detector=detector,
        normalization=normalization,
        cascade=cascade,
        allow_small_batches=allow_small_batches,
        seed=seed,
    )
    return conduct(asked, default_out(data) if out is None else Path(out), listener, where)


def probe(data: Data, *, out: str | Path | None = None, **options: Any) -> Result:
    """Only what needs no training steps: heads solved on frozen features. See `compare`."""
    # No budget is to be shared out where no arm takes steps.
    own = {"strategies": SOLVED, "steps": 1, "seeds": 1, **options}
    return compare(data, out=out or default_out(data, "probe"), **own)


def fine_tune(data: Data, *, out: str | Path | None = None, **options: Any) -> Result:
    """Fine-tune everything: the head solved first, then all stages. See `compare`."""
    out = out or default_out(data, "fine-tune")
    return compare(data, strategies=["fine-tune"], out=out, **options)


def train_from_scratch(data: Data, *, out: str | Path | None = None, **options: Any) -> Result:
    """Train from random weights, for as long as the curve rises. See `compare`."""
    out = out or default_out(data, "scratch")
    return compare(data, strategies=["scratch"], out=out, **options)


def train(
    data: Data,
    *,
    strategy: str,
    task: str | None = None,
    backbone: str = "efficientnet_lite0",
    weights: str | Path = "pretrained",
    steps: int | None = None,
    rate_factor: float = 1.0,
    image_size: int | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    schedule: str = "trapezoid",
    detector: str | None = None,
    normalization: str | None = None,
    cascade: bool = False,
    allow_small_batches: bool = False,
    seed: int = 0,
    out: str | Path | None = None,
    listener: Listener | None = None,
) -> Result:
    """Train one strategy alone, once: by one process, or by all that torchrun started.

    Its rate is not tuned, nothing is timed or compared, and the study's folder is what `compare`
    would leave of this arm. Several processes train it together, data parallel: each takes its
    share of every batch, and the rate goes by the whole batch, so a trial begun on N goes on
    on M. BatchNorm that learns is synchronized on GPUs, and refused on several CPUs. The first
    process reads and writes `out`; on each machine the data must lie at the same place.

    Args:
        data: see `compare`, as for all arguments that are not named here.
        strategy: a name (see `compare`), or a YAML file of your own.
        steps: fine-tuning steps; scratch takes at least 3 x as many. By default about as many as
            fine-tuning needs for so many images.
        rate_factor: times the default learning rate.
        batch_size: images a step, of all processes together.
        accumulate: parts that each process computes its share of a batch in, one by one, for
            less memory. It may be another one when the same call goes on.

    Returns:
        The `Result`, on every process.

    Raises:
        HeadstartError: for bad input, before anything is written.
        UnfinishedError: a `HeadstartError` where another process has ended, or memory has; what
            was last saved is kept, and the same call goes on from it.
    """
    if accumulate < 1:
        raise HeadstartError(f"--accumulate {accumulate} is no number of parts; say 1 or more.")
    asked = question_from(
        data=str(data),
        task=task,
        backbone=backbone,
        weights=str(weights),
        strategies=[strategy],
        steps=steps,
        seeds=1,
        rate_factor=rate_factor,
        image_size=image_size,
        batch_size=batch_size,
        schedule=schedule,
        race=False,
        detector=detector,
        normalization=normalization,
        cascade=cascade,
        allow_small_batches=allow_small_batches,
        seed=seed,
    )
    folder = default_out(data, Path(strategy).stem) if out is None else Path(out)
    return conduct(asked, folder, listener, accumulate=accumulate)


def inspect(
    data: Data,
    *,
    backbone: str = "efficientnet_lite0",
    weights: str | Path = "pretrained",
    seed: int = 0,
    listener: Listener | None = None,
) -> Inspection:
    """Check images and labels, and compare them with what the network was trained on; in seconds.

    Copies and near-copies, conflicting labels, broken files, sizes, images a class, what the
    validation images can separate; how far the images are from those of pretraining, by the
    network's BatchNorm statistics; and what folklore would do. Nothing is trained or written.
    Arguments and errors are those of `compare`.

    Returns:
        The `Inspection`: ``.similarity``, ``.warnings``, ``.answer``, ``.write("page.html")``.
    """
    return inspect_images(str(data), backbone, weights, seed, listener)


def verify(
    study: str | Path, *, scratch: bool = False, listener: Listener | None = None
) -> Verification:
    """Set what a finished study foretold beside what comes of it.

    What is missing is trained under the study's ``verification`` folder, to be continued where it
    was stopped: the runner-up to its end, where a race left it out. Then the test split is opened
    for it; for the chosen arm the study has done so. A second call reads what the first one found.

    Args:
        study: the folder of a finished study.
        scratch: also train from scratch, at full rate, until the step that was foretold.
        listener: told what happens meanwhile.

    Returns:
        The `Verification`: ``.sentences``, ``.answer`` (verification/verify.json).

    Raises:
        HeadstartError: no finished study, a forecast that was changed, data that were.
        StoppedError: the listener asked to stop; the same call continues.
    """
    return verify_study(study, scratch=scratch, listener=listener)


def reproduce(
    study: str | Path,
    *,
    data: str | Path | None = None,
    small: bool = False,
    backbone: str | None = None,
    weights: Mapping[str, str | Path] | None = None,
    allow_small_batches: bool = False,
    seed: int = 0,
    out: str | Path | None = None,
    listener: Listener | None = None,
) -> Reproduced:
    """Run a study of detectors that a file states, as in studies/rethinking-imagenet-pretraining.

    Each arm is trained at each of its lengths, by the file's recipe and schedule, and judged on
    the validation images. What was published of the same comparison stands beside it.

    Args:
        study: the YAML file.
        data: the folder that the file's `train` and `validation` lie below; with `small`, a folder
            of annotated images in place of the file's own.
        small: the file's version for one small machine.
        backbone: only this one of the file's.
        weights: files of pretrained weights, by the backbone's name.
        allow_small_batches: let BatchNorm learn from batches under 16 images.
        seed: of the splits, the subset of images, and everything that is drawn.
        out: where runs and reproduction.json lie; the same call with the same folder continues.
        listener: told what happens meanwhile.

    Returns:
        `Reproduced`: ``.answer`` (reproduction.json), ``.complete``, ``.folder``.

    Raises:
        HeadstartError: for bad input, before anything is written.
    """
    file = Path(study)
    return reproduce_study(
        file,
        default_out(file, "reproduction") if out is None else Path(out),
        data=None if data is None else Path(data),
        small=small,
        backbone=backbone,
        weights={name: Path(path) for name, path in (weights or {}).items()},
        allow_small_batches=allow_small_batches,
        seed=seed,
        listener=listener,
    )


def load(model: str | Path) -> Model | DetectorModel:
    """A model that a study wrote (its ``best`` folder), ready to predict."""
    folder = Path(model)
    return load_model(folder / "best" if (folder / "best").is_dir() else folder)


def default_out(data: Data, verb: str = "compare") -> Path:
    """``headstart-NAME-VERB`` in the current folder."""
    name = Path(str(data).replace(":", "-")).resolve().stem or "study"
    return Path(f"headstart-{name}-{verb}")
