"""Heads over files of codes: those that are solved in memory, whatever the files are."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors import safe_open
from scipy.special import softmax

from headstart.errors import HeadstartError
from headstart.features import fit_ridge
from headstart.features.heads import code_spans
from headstart.features.solvers_path import SOFTMAX, PenaltyPath
from headstart.features.solvers_selection import best_of
from headstart.features.streamed import CodeFiles, LocalSums, is_held_out
from headstart.features.streamed_moments import moments_of
from headstart.features.streamed_ridge import solve_ridge
from headstart.features.streamed_softmax import _Problem, solve_softmax
from headstart.features.streamed_solving import solve_head
from headstart.features.writing import code_table

pq = pytest.importorskip("pyarrow.parquet", reason="files of codes need pyarrow")
pytest.importorskip("fsspec", reason="files of codes need fsspec: headstart[ray]")

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
NEAR = 1e-5  # of the largest number


def draw(images: int, dims: int, classes: int) -> tuple[Floats, Labels]:
    """Codes of correlated features of many sizes, far from zero."""
    rng = np.random.default_rng([images, dims, classes])
    labels = rng.integers(0, classes, images)
    mixing = rng.normal(size=(dims, dims)) * np.geomspace(1, 0.05, dims)
    codes = rng.normal(size=(images, dims)) @ mixing + 3
    codes[:, :classes] += 0.7 * np.eye(classes)[labels]
    codes[:, -1] = 2.5  # a feature that never varies
    return codes.astype(np.float32), labels


def write(folder: Path, codes: Floats, labels: Labels, files: int) -> CodeFiles:
    """As an extraction leaves them."""
    (folder / "codes").mkdir(parents=True)
    for number, rows in enumerate(np.array_split(np.arange(len(codes)), files)):
        table = code_table(
            [f"image{row}" for row in rows],
            [f"class{labels[row]}" for row in rows],
            None,
            {"last": codes[rows]},
        )
        pq.write_table(table, folder / "codes" / f"{number:08d}-00000-last.parquet")
    return CodeFiles.opened(str(folder))


def apart(ours: npt.NDArray[np.floating], theirs: npt.NDArray[np.floating]) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize(("images", "dims", "classes"), [(300, 20, 4), (40, 60, 3), (200, 9, 2)])
def test_ridge_is_that_of_memory(tmp_path: Path, images: int, dims: int, classes: int) -> None:
    codes, labels = draw(images, dims, classes)
    summing = LocalSums(write(tmp_path, codes, labels, 7))
    head, penalty, rows = solve_ridge(summing, moments_of(summing)["all"])
    known = fit_ridge(codes, labels, classes)
    assert penalty == known.penalty
    assert apart(head.weight, known.head.weight) < NEAR
    assert apart(head.bias, known.head.bias) < NEAR
    for ours, theirs in zip(rows, known.leave_one_out, strict=True):
        assert ours["accuracy"] == theirs["accuracy"]
        assert ours["squared_error"] == pytest.approx(theirs["squared_error"], rel=NEAR)


@pytest.mark.parametrize(("images", "dims", "classes"), [(300, 20, 4), (40, 60, 3), (200, 9, 2)])
@pytest.mark.parametrize("penalty", [0.001, 1.0])
def test_softmax_is_that_of_memory(
    tmp_path: Path, images: int, dims: int, classes: int, penalty: float
) -> None:
    codes, labels = draw(images, dims, classes)
    summing = LocalSums(write(tmp_path, codes, labels, 7))
    head, chosen, tried = solve_softmax(summing, moments_of(summing), penalty)
    span = code_spans(SOFTMAX, codes, 1e-13, "cpu").of()
    weight, bias = PenaltyPath(SOFTMAX, span, labels, classes, 1e-13).weights(penalty)
    assert chosen == penalty
    assert apart(head.weight, weight) < NEAR
    assert apart(head.bias, bias) < NEAR
    assert len(tried) == 1


def test_penalties_of_softmax_are_judged_on_images_that_no_head_has_seen(tmp_path: Path) -> None:
    codes, labels = draw(300, 12, 3)
    # The held-out images' labels follow another rule, which a head that saw them would learn.
    held = np.array([is_held_out(f"image{row}") for row in range(300)])
    assert 15 <= held.sum() <= 45
    summing = LocalSums(write(tmp_path / "a", codes, labels, 4))
    _, _, tried = solve_softmax(summing, moments_of(summing), 1.0)
    known = fit_at(codes[~held], labels[~held], 1.0)
    scores = codes[held] @ known[0].T + known[1]
    right = int((scores.argmax(axis=1) == labels[held]).sum())
    assert tried[0].correct == right
    assert tried[0].accuracy == pytest.approx(right / held.sum())


def fit_at(codes: Floats, labels: Labels, penalty: float) -> tuple[npt.NDArray, npt.NDArray]:
    span = code_spans(SOFTMAX, codes, 1e-12, "cpu").of()
    return PenaltyPath(SOFTMAX, span, labels, int(labels.max()) + 1, 1e-12).weights(penalty)


def test_the_best_penalty_on_the_held_out_images_is_chosen(tmp_path: Path) -> None:
    codes, labels = draw(400, 10, 3)
    held = np.array([is_held_out(f"image{row}") for row in range(400)])
    summing = LocalSums(write(tmp_path, codes, labels, 4))
    head, penalty, tried = solve_softmax(summing, moments_of(summing))
    assert penalty == best_of(tried).penalty
    for candidate in tried[::3]:
        weight, bias = fit_at(codes[~held], labels[~held], candidate.penalty)
        losses = -np.log(softmax(codes[held] @ weight.T + bias, axis=1))
        known = losses[np.arange(held.sum()), labels[held]].mean()
        assert candidate.loss == pytest.approx(known, rel=1e-3)
    known = fit_at(codes, labels, penalty)[0]
    # What all classes share changes no answer, and under a weak penalty hardly the objective.
    assert apart(head.weight - head.weight.mean(axis=0), known - known.mean(axis=0)) < NEAR


def test_a_class_that_is_only_held_out_is_a_class_of_the_head(tmp_path: Path) -> None:
    codes, labels = draw(60, 6, 2)
    held = [row for row in range(60) if is_held_out(f"image{row}")]
    labels[held[0]] = 2
    summing = LocalSums(write(tmp_path, codes, labels, 3))
    head, _, tried = solve_softmax(summing, moments_of(summing))
    assert head.weight.shape == (3, 6)
    assert np.isfinite(head.weight).all()
    assert np.isfinite([c.loss for c in tried]).all()


def test_the_bits_do_not_depend_on_who_is_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write(tmp_path, *draw(200, 8, 3), 49)
    assert len(files.groups) > 3
    heads = []
    for cores in ({0}, {0, 1, 2, 3}):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: cores, raising=False)
        summing = LocalSums(files)
        heads.append(solve_softmax(summing, moments_of(summing), 0.001)[0])
    np.testing.assert_array_equal(heads[0].weight, heads[1].weight)


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    """Eight times the images; the peak of what Python and NumPy hold stays."""
    peaks = []
    for files in (8, 64):
        opened = write(tmp_path / str(files), *draw(files * 100, 40, 3), files)
        tracemalloc.start()
        summing = LocalSums(opened)
        moments = moments_of(summing)
        solve_ridge(summing, moments["all"], (1.0,))
        _Problem(summing, moments["all"], held_out=None).solve(1e-5, 1e-2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
    assert peaks[1] < 64 * 100 * 40 * 8  # all codes in double precision


def test_the_file_says_what_the_head_is(tmp_path: Path) -> None:
    write(tmp_path, *draw(80, 6, 2), 3)
    solved = solve_head(str(tmp_path), tmp_path / "head.safetensors", head="ridge")
    assert solved.judged == "leave-one-out"
    with safe_open(tmp_path / "head.safetensors", "np") as file:
        assert set(file.keys()) == {"weight", "bias", "unit_norm"}
        np.testing.assert_array_equal(file.get_tensor("weight"), solved.head.weight)
        told = {name: json.loads(text) for name, text in file.metadata().items()}
    assert told["classes"] == ["class0", "class1"]
    assert told["accuracy"] == solved.accuracy
    assert told["code"] == "last"


def test_what_cannot_be_solved_is_said(tmp_path: Path) -> None:
    codes, labels = draw(30, 5, 2)
    write(tmp_path / "a", codes, labels, 2)
    to = tmp_path / "head.safetensors"
    with pytest.raises(HeadstartError, match="no column 'breed' of labels; the others are label"):
        solve_head(str(tmp_path / "a"), to, label="breed")
    with pytest.raises(HeadstartError, match="no 'first'; there are last"):
        solve_head(str(tmp_path / "a"), to, code="first")
    with pytest.raises(HeadstartError, match="holds no Parquet files"):
        solve_head(str(tmp_path / "none"), to)
    with pytest.raises(HeadstartError, match="above 0"):
        solve_head(str(tmp_path / "a"), to, penalty=-1.0)
    write(tmp_path / "b", codes, labels * 0, 2)
    with pytest.raises(HeadstartError, match="every image is labelled 'class0'"):
        solve_head(str(tmp_path / "b"), to)
    codes[7, 2] = np.nan
    write(tmp_path / "c", codes, labels, 2)
    with pytest.raises(HeadstartError, match="the code of image7 is not finite"):
        solve_head(str(tmp_path / "c"), to)
    assert not to.exists()
