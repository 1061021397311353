"""A saved model answers as its trial did, whatever the kind of head."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_trials import ARMS, BACKBONE, SIZE, Finished
from PIL import Image

from headstart import models
from headstart.errors import HeadstartError

ROUNDING = 1e-4  # of small batches, which are added up in another order than whole ones


def scores_of(model: models.Model, predictions: list[models.Prediction]) -> np.ndarray:
    return np.array([[p.probabilities[name] for name in model.classes] for p in predictions])


@pytest.mark.parametrize("arm", ARMS)
def test_a_saved_model_gives_the_trials_own_validation_scores(
    arm: str, finished: Callable[[str], Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = finished(arm)
    folder = done.save(tmp_path / "best")
    monkeypatch.setattr(socket, "socket", None)  # nothing is downloaded
    model = models.load(folder)
    expected = done.predictions.scores
    whole = scores_of(model, model.predict(done.paths * 3))[: len(expected)]  # a batch of 32
    np.testing.assert_allclose(whole, expected, atol=1e-5)
    few = scores_of(model, model.predict(done.paths, batch_size=5))
    np.testing.assert_allclose(few, expected, atol=ROUNDING)
    data = done.setting.data
    scored = model.score(data.store, data.splits.validation)
    np.testing.assert_allclose(scored, expected, atol=1e-5)


def test_a_score_is_the_same_to_the_bit_in_any_company(
    finished: Callable[[str], Finished], tmp_path: Path
) -> None:
    done = finished("linear")
    model, store = models.load(done.save(tmp_path / "best")), done.setting.data.store
    positions = np.arange(len(done.setting.data.dataset))  # 36: a whole batch and a part of one
    whole = model.score(store, positions)
    np.testing.assert_array_equal(model.score(store, positions[::-1])[::-1], whole)
    np.testing.assert_array_equal(model.score(store, positions[3:4]), whole[3:4])


def test_order_batches_and_top_change_nothing_but_what_they_say(best: Path, images: Path) -> None:
    model = models.load(best)
    files = sorted(images.rglob("*.png"))[:7]
    whole = model.predict(files)
    one = model.predict(files[::-1], batch_size=1, top=2)[::-1]
    for a, b in zip(whole, one, strict=True):
        assert (a.image, a.label) == (b.image, b.label) == (a.image, next(iter(a.probabilities)))
        assert a.score == max(a.probabilities.values())
        assert sum(a.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert list(b.probabilities) == list(a.probabilities)[:2]
        assert a.score == pytest.approx(b.score, abs=1e-5)


def test_files_folders_and_pictures_are_taken_alike(best: Path, images: Path) -> None:
    model = models.load(best)
    inside = model.predict(images / "digit 1")
    files = sorted((images / "digit 1").iterdir(), key=str)
    assert [p.image for p in inside] == [str(f) for f in files]
    path = files[0]
    assert model.predict(str(path))[0] == model.predict([path])[0]
    with Image.open(path) as picture:
        mixed = model.predict([path, picture])
    assert mixed[1].image == "images[1]"
    assert mixed[1].score == pytest.approx(mixed[0].score, abs=1e-6)
    assert model.predict([]) == []


def test_decoding_follows_the_rules_of_training(best: Path, tmp_path: Path) -> None:
    """Sideways EXIF, 16-bit grey and CMYK files are seen as the upright 8-bit RGB picture."""
    model = models.load(best)
    grey = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    picture = Image.fromarray(grey).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    see_through = picture.convert("RGBA")
    see_through.putalpha(255)
    see_through.save(tmp_path / "alpha.png")
    expected = scores_of(model, model.predict(picture))
    for name in ("turned.png", "deep.png", "alpha.png"):
        found = scores_of(model, model.predict(tmp_path / name))
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=name)


def test_what_cannot_be_read_is_named(best: Path, tmp_path: Path) -> None:
    model = models.load(best)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (tmp_path / "empty").mkdir()
    floats = Image.fromarray(np.zeros((9, 9), np.float32))
    for images, message in (
        (tmp_path / "broken.jpg", r"broken\.jpg cannot be read: not an image"),
        ([Image.new("RGB", (9, 9)), floats], r"images\[1\] cannot be read: floating-point"),
        (tmp_path / "nowhere.png", r"no image .*nowhere\.png"),
        (tmp_path / "empty", "empty holds no images"),
        ([3], r"images\[0\] is a int"),
    ):
        with pytest.raises(HeadstartError, match=message):
            model.predict(images)  # type: ignore[arg-type]
    with pytest.raises(HeadstartError, match="batch_size must be 1"):
        model.predict([], batch_size=0)
    with pytest.raises(HeadstartError, match="top must be 1"):
        model.predict([], top=0)


def test_an_answer_that_is_not_finite_is_refused(best: Path) -> None:
    model = models.load(best)
    with torch.no_grad():
        model.chain.classifier.bias.fill_(float("nan"))
    with pytest.raises(HeadstartError, match=r"images\[0\] is not finite"):
        model.predict(Image.new("RGB", (9, 9)))


def test_the_model_says_what_it_is(finished: Callable[[str], Finished], tmp_path: Path) -> None:
    done = finished("linear")
    classes = ["<script>", "digit 1", "digit 2"]
    model = models.load(done.save(tmp_path / "best", classes=classes))
    assert repr(model) == (
        f"Model(linear on {BACKBONE}, 3 classes, {SIZE} x {SIZE} px, accuracy 0.500 on validation)"
    )
    assert "<script>" not in model._repr_html_()
    assert model.classes == tuple(classes)
    assert model.preprocessing == done.setting.reference.preprocessing.at(SIZE)
    assert model.metrics["validation"] is not None
    assert model.metrics["test"] is None
