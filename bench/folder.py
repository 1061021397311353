"""From a folder of images to the best model: `headstart probe` beside fastai's `fine_tune(3)`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from bench.pairs import Mark, Skipped, interleaved, median_text, ratios

SIZE, ROUNDS = 128, 3

FASTAI = """
    import sys
    from fastai.vision.all import *
    from headstart.backbones import load  # timm's network, the weights come with the package

    folder, size = Path(sys.argv[1]), int(sys.argv[2])
    network = load().network
    body = nn.Sequential(
        network.conv_stem, network.bn1, *network.blocks, network.conv_head, network.bn2
    )
    mean = torch.tensor([127 / 255] * 3).view(1, 3, 1, 1)
    std = torch.tensor([128 / 255] * 3).view(1, 3, 1, 1)
    loaders = ImageDataLoaders.from_folder(
        folder, valid="val", item_tfms=Resize(size), bs=32, num_workers=2,
        batch_tfms=[*aug_transforms(size=size), Normalize(mean, std)],
    )
    model = nn.Sequential(body, create_head(1280, loaders.c))
    learner = Learner(loaders, model, splitter=default_split, metrics=accuracy)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(3)
    learner.export(Path(sys.argv[3]))
    print("accuracy", float(learner.validate()[1]))
"""


def marks(work: Path, data: Path | None) -> Iterator[Mark | Skipped]:
    """Time and accuracy, each from the shell: start-up, reading and saving the model included."""
    what = "folder to best model"
    if data is None or not (data / "val").is_dir():
        yield Skipped(what, "no folder with train/ and val/ was given: --data FOLDER")
        return
    if find_spec("fastai") is None:
        yield Skipped(what, "fastai is not installed")
        return
    script = work / "with_fastai.py"
    script.write_text(textwrap.dedent(FASTAI))
    accuracies: dict[str, list[float]] = {"ours": [], "fastai": []}

    def ours() -> float:
        out = work / "folder-study"
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "headstart", "probe", str(data), "--json"]
        begun = time.perf_counter()
        answer = json.loads(_run([*command, "--image-size", str(SIZE), "--out", str(out)]))
        seconds = time.perf_counter() - begun
        chosen = [a for a in answer["arms"] if a["strategy"] == answer["verdict"]["choice"]]
        accuracies["ours"].append(chosen[0]["metric"]["value"])
        return seconds

    def fastai() -> float:
        begun = time.perf_counter()
        said = _run([sys.executable, str(script), str(data), str(SIZE), str(work / "export.pkl")])
        accuracies["fastai"].append(float(said.split()[-1]))
        return time.perf_counter() - begun

    seconds = interleaved({"ours": ours, "fastai": fastai}, ROUNDS)
    best, peer = min(accuracies["ours"]), max(accuracies["fastai"])
    yield Mark(
        f"{what}: time / fastai's fine_tune(3)",
        *ratios(seconds["ours"], seconds["fastai"]),
        at_most=1 / 3,
        detail=f"{median_text(seconds['ours'])} and {median_text(seconds['fastai'])}, {SIZE} px",
    )
    yield Mark(
        f"{what}: accuracy less fastai's (ours at its least, fastai's at its best)",
        best - peer,
        best - peer,
        best - peer,
        at_least=0.0,
        detail=f"{best:.3f} and {peer:.3f}",
    )


def _run(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])} failed:\n{ended.stderr[-2000:]}")
    return ended.stdout
