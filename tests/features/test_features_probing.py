"""The probe profile measures: nothing is answered by a head that has seen it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from headstart.data import ImageStore, Preprocessing, open_dataset
from headstart.features import Probed, fit_ridge, probe_stages, small_images
from headstart.features.probing import DRAWS

Codes = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def noise(seed: int, n: int, d: int) -> Codes:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def of_noise(n: int, d: int, copies: int = 1, *, together: bool = True) -> Probed:
    """A profile where no head can know anything, of images that all come `copies` times."""
    same = np.tile(np.arange(n), copies)
    labels = (np.random.default_rng(9).permutation(n) % 4)[same]
    codes = {name: noise(seed, n, d)[same] for seed, name in enumerate(("stem", "last"))}
    unseen = {name: noise(seed + 5, 40, d) for seed, name in enumerate(codes)}
    groups = same if together else np.arange(len(same))
    answers = np.arange(40, dtype=np.int64) % 4
    return probe_stages(
        codes, labels, unseen, answers, noise(7, n, d)[same], 4, groups=groups, seed=0
    )


def rows(found: Probed) -> dict[str, npt.NDArray[np.bool_]]:
    joined = {"all": found.all_stages, "neighbours": found.neighbours, "pixels": found.pixels}
    return {**found.stages, **joined}


@pytest.mark.parametrize(("n", "d"), [(80, 400), (200, 20)])
def test_on_noise_every_head_guesses_however_many_features_it_has(n: int, d: int) -> None:
    for name, right in rows(of_noise(n, d)).items():
        assert right.mean() < 0.45, name  # a head that had seen its images would be perfect


def test_near_duplicates_tell_nothing_about_each_other() -> None:
    for name, right in rows(of_noise(60, 200, copies=2)).items():
        assert right.mean() < 0.45, name
    for name, right in rows(of_noise(60, 200, copies=2, together=False)).items():
        assert right.mean() > 0.9, name


def test_each_answer_is_that_of_a_ridge_regression_without_the_image_and_its_group() -> None:
    pixels, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(3)
    some = rng.choice(len(labels), 60, replace=False)
    codes, labels = pixels[some].astype(np.float32), labels[some].astype(np.int64)
    groups = rng.integers(0, 30, 60)
    fit = fit_ridge(codes, labels, 10, groups=groups)
    double = codes.astype(np.float64)
    scale = double.std(axis=0)
    double /= np.where(scale > 0, scale, 1)
    for image in range(60):
        rest = groups != groups[image]
        ridge = Ridge(alpha=fit.penalty, solver="cholesky").fit(
            double[rest], np.eye(10)[labels[rest]]
        )
        assert ridge.predict(double[[image]]).argmax() == fit.answers[image]
    best = max(row["accuracy"] for row in fit.leave_one_out)
    assert (fit.answers == labels).mean() == best


def test_an_image_that_nothing_else_tells_about_has_no_answer() -> None:
    fit = fit_ridge(noise(0, 8, 3), np.arange(8) % 2, 2, groups=np.zeros(8, np.int64))
    assert (fit.answers == -1).all()


def digits(n: int) -> tuple[dict[str, Codes], Labels, dict[str, Codes], Labels]:
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels, labels = pixels[order].astype(np.float32), labels[order].astype(np.int64)
    codes = {"half": pixels[:, ::2], "last": pixels}
    train = {name: code[:n] for name, code in codes.items()}
    return train, labels[:n], {name: code[-300:] for name, code in codes.items()}, labels[-300:]


def profile(n: int, seed: int = 0) -> Probed:
    codes, labels, unseen, answers = digits(n)
    return probe_stages(
        codes, labels, unseen, answers, codes["half"], 10, groups=np.arange(n), seed=seed
    )


def test_the_learning_curve_falls_from_a_sixteenth_to_all_images() -> None:
    curve = profile(800).curve
    assert sorted(curve) == [50, 100, 200, 400, 800]
    assert {size: len(runs) for size, runs in curve.items()} == {
        50: DRAWS,
        100: DRAWS,
        200: DRAWS,
        400: DRAWS,
        800: 1,
    }
    errors = [1 - curve[size].mean() for size in sorted(curve)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > errors[-1] + 0.1
    assert all(runs.shape[1] == 300 for runs in curve.values())
    assert len({run.tobytes() for run in curve[50]}) > 1  # drawn anew each time


def test_the_last_point_is_the_head_on_everything() -> None:
    codes, labels, unseen, answers = digits(200)
    joined = np.concatenate([codes["half"], codes["last"]], axis=1)
    fit = fit_ridge(joined, labels, 10)
    right = fit.head.scores(np.concatenate([unseen["half"], unseen["last"]], axis=1)).argmax(axis=1)
    assert (profile(200).curve[200][0] == (right == answers)).all()


def test_sizes_with_fewer_than_two_images_a_class_are_left_out() -> None:
    assert sorted(profile(100).curve) == [25, 50, 100]
    assert sorted(profile(15).curve) == [15]


def test_the_same_seed_gives_the_same_profile() -> None:
    first, again, other = profile(160), profile(160), profile(160, seed=1)
    assert (first.curve[40] == again.curve[40]).all()
    assert (first.curve[40] != other.curve[40]).any()
    assert (first.all_stages == other.all_stages).all()  # nothing is drawn there


@pytest.mark.parametrize("limit", [None, 0])
def test_small_images_are_block_means_of_what_the_network_sees(limit: int | None) -> None:
    dataset = open_dataset("digits")
    look = Preprocessing(image_size=48, mean=(0.5,) * 3, std=(0.5,) * 3)
    store = ImageStore(dataset, look, memory_limit=limit)
    positions = np.array([3, 700, 41])
    small = small_images(store, positions, 48)
    crops = np.concatenate([crop.numpy() for _, crop in store.crops([positions], 48)])
    means = crops.reshape(3, 3, 12, 4, 12, 4).mean(axis=(3, 5)) / 255
    np.testing.assert_allclose(small, means.reshape(3, -1), atol=1e-6)
