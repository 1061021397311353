"""A model folder needs nothing else, is whole or not there, and what is wrong with it is said."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_trials import BACKBONE, SIZE, Finished
from PIL import Image
from safetensors.torch import load_file, save_file

from headstart import models
from headstart.backbones import load
from headstart.data import normalize
from headstart.errors import HeadstartError
from headstart.models import saving, swapping
from headstart.models.card import Card, read_card
from headstart.models.readme import readme


def change_card(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("arm", ["linear", "fine-tune"])
def test_the_readme_loads_the_weights_without_headstart(
    arm: str, finished: Callable[[str], Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code block runs as it stands and answers as the model does."""
    folder = finished(arm).save(tmp_path / "best")
    block = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(block, names)
    model = models.load(folder)
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 3, SIZE, SIZE)))
    images = normalize(pixels, model.preprocessing)
    with torch.no_grad():
        plain = torch.softmax(names["network"](images), 1)
    torch.testing.assert_close(plain, model.probabilities(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "backbone", ["efficientnet_lite0", "torchvision/shufflenet_v2_x0_5", "timm/test_vit3.r160_in1k"]
)
def test_the_readme_knows_each_librarys_names(
    backbone: str, best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = load(backbone, "random")
    chain.replace_classifier(3, 0)
    save_file(chain.network.state_dict(), tmp_path / "weights.safetensors")
    monkeypatch.chdir(tmp_path)
    text = readme(read_card(best).model_copy(update={"backbone": backbone}))
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[1], names)
    state = names["network"].state_dict()
    assert all(torch.equal(state[k], v) for k, v in chain.network.state_dict().items())


@pytest.mark.parametrize(
    ("arm", "reason"),
    [("svm", "beside the network"), ("linear-all-stages", "beside"), ("scratch-gn", "GroupNorm")],
)
def test_the_readme_says_why_only_headstart_loads_it(
    arm: str, reason: str, finished: Callable[[str], Finished], tmp_path: Path
) -> None:
    text = (finished(arm).save(tmp_path / "best") / "README.md").read_text()
    assert reason in text
    assert "create_model" not in text


def test_the_readme_is_safe_and_says_how_good_the_model_is(
    finished: Callable[[str], Finished], tmp_path: Path
) -> None:
    metrics = {
        "validation": {"value": 0.75, "low": 0.6, "high": 0.85, "accuracy": 0.8},
        "test": {"value": 0.7, "low": 0.5, "high": 0.9},
    }
    names = ["a`b", "two\nlines", "<b>"]
    folder = finished("linear").save(tmp_path / "best", metrics=metrics, classes=names)
    text = (folder / "README.md").read_text()
    assert "| validation | 80.0% (the mean of its seeds: 75.0%) | 60.0% to 85.0% |" in text
    assert "| test | 70.0% | 50.0% to 90.0% |" in text
    assert "0. `a'b`\n1. `two lines`\n2. `<b>`\n" in text
    assert f"the middle {SIZE} x {SIZE} px" in text


def test_the_card_says_where_the_model_comes_from(
    finished: Callable[[str], Finished], tmp_path: Path
) -> None:
    done = finished("svm")
    card = read_card(done.save(tmp_path / "best"))
    assert card.trial == done.record.key
    assert card.provenance.data == "digits"
    assert card.provenance.question == {"delta": 0.01}
    assert card.provenance.train_images == done.record.train_images
    assert card.provenance.pretraining is not None
    assert card.provenance.pretraining.weights == "start.safetensors"
    assert card.provenance.pretraining.digest == done.setting.reference.origin.digest
    assert card.head.unit_norm
    tensors = load_file(tmp_path / "best" / "head.safetensors")
    assert set(tensors) == {"head.weight", "head.bias"}
    random = read_card(finished("scratch-gn").save(tmp_path / "random"))
    assert random.provenance.pretraining is None


def test_solved_arms_keep_the_weights_they_began_with(
    finished: Callable[[str], Finished], tmp_path: Path
) -> None:
    done = finished("linear-all-stages")
    state = load_file(done.save(tmp_path / "best") / "weights.safetensors")
    for name, tensor in load_file(done.setting.weights).items():
        assert torch.equal(tensor, state[name]), name


def test_files_can_be_read_by_whoever_reads_the_folder(best: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in best.iterdir()}
    assert len(set(modes.values())) == 1, modes


def test_a_new_model_takes_the_old_ones_place(
    best: Path, finished: Callable[[str], Finished]
) -> None:
    """Every glance of a reader finds a model, and nothing is left beside it."""
    seen, stop = set[str](), threading.Event()
    missed: list[OSError] = []

    def look() -> None:
        while not stop.is_set():
            try:
                seen.add(json.loads((best / "model.json").read_text())["strategy"])
            except OSError as error:
                missed.append(error)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        finished("svm").save(best)
    finally:
        stop.set()
        reader.join()
    assert seen <= {"linear", "svm"}
    if os.uname().sysname == "Linux":
        assert not missed
    assert models.load(best).card.strategy == "svm"
    assert [path.name for path in best.parent.iterdir()] == ["best"]


def test_two_folders_are_exchanged_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rename that takes the old folder away before the new one is there."""
    for name in ("best", "probe"):
        (tmp_path / name).mkdir()
    if not swapping._exchange(tmp_path / "best", tmp_path / "probe"):
        pytest.skip("this system cannot exchange two names")
    monkeypatch.setattr(Path, "rename", None)
    with swapping.replacing_folder(tmp_path / "best", "mark") as new:
        (new / "mark").write_text("new")
    assert (tmp_path / "best" / "mark").read_text() == "new"


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_swap_that_fails_leaves_the_old_folder(
    exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(swapping, "_exchange", lambda one, other: False)
    folder = tmp_path / "best"
    for content in ("old", "new"):
        with swapping.replacing_folder(folder, "mark") as new:
            (new / "mark").write_text(content)
        assert (folder / "mark").read_text() == content

    def refuse(self: Path, target: Path) -> Path:
        if "tmp" in self.name:
            raise PermissionError("no")
        return Path(os.rename(self, target) or target)

    monkeypatch.setattr(swapping, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError), swapping.replacing_folder(folder, "mark") as new:
        (new / "mark").write_text("newer")
    assert (folder / "mark").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_full_disk_leaves_the_old_model(
    best: Path, finished: Callable[[str], Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    done, before = finished("svm"), {p.name: p.read_bytes() for p in best.iterdir()}
    for step in ("save_file", "write_json", "write_text"):
        with monkeypatch.context() as broken:
            broken.setattr(saving, step, full)
            with pytest.raises(HeadstartError, match=r"could not be written .*No space left"):
                done.save(best)
        assert {p.name: p.read_bytes() for p in best.iterdir()} == before
        assert [path.name for path in best.parent.iterdir()] == ["best"]


def test_a_folder_that_is_no_model_is_never_replaced(
    finished: Callable[[str], Finished], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "mine.png").write_text("mine")
    with pytest.raises(HeadstartError, match="photos exists and is no model folder"):
        finished("linear").save(folder)
    assert (folder / "mine.png").read_text() == "mine"
    (folder / "mine.png").unlink()
    finished("linear").save(folder)  # an empty one is


def test_a_trial_that_left_no_model_is_refused(
    finished: Callable[[str], Finished], tmp_path: Path
) -> None:
    done = finished("linear")
    with pytest.raises(HeadstartError, match="holds no finished model"):
        done.save(tmp_path / "best", study=tmp_path)
    failed = done.record.model_copy(update={"state": "failed"})
    with pytest.raises(HeadstartError, match="holds no finished model"):
        done.save(tmp_path / "best", record=failed)
    assert not (tmp_path / "best").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "head.safetensors"])
def test_a_damaged_file_is_refused(
    name: str, finished: Callable[[str], Finished], tmp_path: Path
) -> None:
    folder = finished("svm").save(tmp_path / "best")
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(HeadstartError, match=rf"{name} is damaged: its bytes"):
        models.load(folder)
    (folder / name).unlink()
    with pytest.raises(HeadstartError, match=rf"{name} is damaged: it is missing"):
        models.load(folder)


def test_what_is_no_model_is_told_from_what_is_damaged_or_too_new(
    best: Path, tmp_path: Path
) -> None:
    with pytest.raises(HeadstartError, match=r"no model folder.*did you mean .*best\?"):
        models.load(best.parent)
    with pytest.raises(HeadstartError, match=r"holds no model\.json\."):
        models.load(tmp_path / "nowhere")
    change_card(best, schema_version=99)
    with pytest.raises(HeadstartError, match=r"newer headstart \(schema 99"):
        models.load(best)
    change_card(best, schema_version=1, classes=[])
    with pytest.raises(HeadstartError, match="damaged: classes"):
        models.load(best)
    for text in ("{", "[]", "\x00", "null"):
        (best / "model.json").write_text(text)
        with pytest.raises(HeadstartError, match=r"model\.json is damaged"):
            models.load(best)


def test_weights_of_another_network_are_refused_with_the_version_they_were_made_with(
    best: Path,
) -> None:
    state = load_file(best / "weights.safetensors")
    name = next(name for name in state if name.endswith("layer1.0.conv1.weight"))
    del state[name]
    save_file(state, best / "weights.safetensors")
    card = Card.model_validate_json((best / "model.json").read_text())
    digest = models.card.file_digest(best / "weights.safetensors")
    change_card(best, sha256={"weights.safetensors": digest})
    made = f"made with timm {card.provenance.versions['timm']}"
    with pytest.raises(HeadstartError, match=rf"(?s)1 tensors missing.*{re.escape(made)}"):
        models.load(best)


def test_a_model_folder_can_be_moved(best: Path, images: Path) -> None:
    image = next(images.rglob("*.png"))
    before = models.load(best).predict(image)
    best.rename(best.with_name("taken home"))
    assert models.load(str(best.with_name("taken home"))).predict(image) == before
    assert BACKBONE in repr(models.load(best.with_name("taken home")))
    assert isinstance(Image.open(image), Image.Image)
