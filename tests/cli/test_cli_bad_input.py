"""Whatever cannot be answered ends with exit code 2, a line that says what to mend, and no mess."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_study import Ended, Finished, draw_folder, draw_picture, state_of

from headstart.records import read_trials

Call = Callable[..., Ended]
QUICK = ("--steps", "4", "--seeds", "1", "--image-size", "32", "--strategies", "linear")


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("pets") / "pets", ("cat", "dog"), each=10)


def assert_refused(ended: Ended, *said: str | Path) -> None:
    """Exit code 2, and a line or two on standard error that hold each of `said`."""
    assert ended.code == 2, ended
    assert ended.out == ""
    lines = ended.err.rstrip("\n").split("\n")
    told = [line for line in lines if "Error:" in line or line is lines[-1]]
    assert told[0].startswith("Error: "), ended.err
    assert len(lines) - lines.index(told[0]) <= 2, ended.err
    assert "Traceback" not in ended.err
    for one in said:
        assert str(one) in ended.err


# -- data ---------------------------------------------------------------------------------------


def _missing(root: Path) -> Path:
    return root / "nowhere"


def _empty(root: Path) -> Path:
    (root / "empty").mkdir()
    return root / "empty"


def _one_class(root: Path) -> Path:
    return draw_folder(root / "lonely", ("cat",), each=6)


def _lone_image(root: Path) -> Path:
    folder = draw_folder(root / "lone", ("cat", "dog"), each=6)
    (folder / "owl").mkdir()
    draw_picture(1, 2).save(folder / "owl" / "only.png")
    return folder


def _many_broken(root: Path) -> Path:
    folder = draw_folder(root / "broken", ("cat", "dog"), each=8)
    for number in range(2):
        (folder / "cat" / f"bad{number}.png").write_bytes(b"no image at all")
    return folder


def _loose_images(root: Path) -> Path:
    (root / "loose").mkdir()
    for number in range(4):
        draw_picture(number, 0).save(root / "loose" / f"{number}.png")
    return root / "loose"


def _no_labels(root: Path) -> Path:
    return _manifest(root, ["cat/00.png,cat", "dog/00.png,"])


def _leaves_the_folder(root: Path) -> Path:
    draw_picture(1, 1).save(root / "secret.png")
    return _manifest(root, ["cat/00.png,cat", "../secret.png,dog"])


def _no_such_image(root: Path) -> Path:
    return _manifest(root, ["cat/00.png,cat", "cat/99.png,dog"])


def _manifest(root: Path, rows: list[str]) -> Path:
    folder = draw_folder(root / "listed", ("cat", "dog"), each=3)
    path = folder / "labels.csv"
    path.write_text("\n".join(["path,label", *rows]) + "\n")
    return path


def _not_a_manifest(root: Path) -> Path:
    (root / "notes.txt").write_text("cats, mostly")
    return root / "notes.txt"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_missing, "nowhere"),
        (_empty, "empty"),
        (_one_class, "one class"),
        (_lone_image, "owl/only.png"),
        (_many_broken, "cat/bad0.png"),
        (_loose_images, "class folders"),
        (_no_labels, "labels.csv: rows 3"),
        (_leaves_the_folder, "../secret.png"),
        (_no_such_image, "cat/99.png"),
        (_not_a_manifest, "notes.txt"),
    ],
)
def test_data_that_cannot_be_used(
    call: Call, tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    data, out = make(tmp_path), tmp_path / "out"
    before = state_of(tmp_path)
    assert_refused(call("compare", data, *QUICK, "--out", out), said)
    assert not out.exists()
    assert state_of(tmp_path) == before


def test_brackets_in_a_path_are_shown_as_they_are(call: Call, tmp_path: Path) -> None:
    assert_refused(call("compare", tmp_path / "[bold]x[/nothing]"), "[bold]x[/nothing]")


def test_a_few_broken_files_are_left_out_and_named(
    call: Call, tmp_path: Path, finished: Finished
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(finished.pictures, folder)
    whole = (folder / "cat" / "00.png").read_bytes()
    (folder / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    ended = call("compare", folder, *QUICK, "--out", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    profile = json.loads(ended.out)["profile"]
    assert profile["images"] == 60
    assert any("cat/cut.png" in warning for warning in profile["warnings"])
    assert "cat/cut.png" in (tmp_path / "out" / "report.html").read_text()


# -- options ------------------------------------------------------------------------------------


def _bad_yaml(root: Path) -> Path:
    path = root / "mine.yaml"
    path.write_text("name: mine\nphases: [{learn: all, stepz: 2}]\n")
    return path


def _broken_yaml(root: Path) -> Path:
    path = root / "mine.yaml"
    path.write_text("name: [mine\n")
    return path


def _unknown_stage(root: Path) -> Path:
    path = root / "mine.yaml"
    path.write_text("name: mine\nphases: [{learn: [attic]}]\n")
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--backbone", "efficientnet_lite9"], "efficientnet_lite9"),
        (["--backbone", "timm/resnet999"], "resnet999"),
        (["--backbone", "torchvision/resnet19"], "resnet19"),
        (["--strategies", "linear,freeze"], "freeze"),
        (["--strategies", "linear,linear"], "--strategies"),
        (["--strategies", ","], "--strategies"),
        (["--strategies", "nowhere.yaml"], "nowhere.yaml"),
        (["--strategies", _bad_yaml], "mine.yaml: phases.0.stepz"),
        (["--strategies", _broken_yaml], "mine.yaml"),
        (["--strategies", _unknown_stage], "attic"),
        (["--budget", "soon"], "--budget 'soon'"),
        (["--budget", "0"], "--budget '0'"),
        (["--budget", "-5m"], "--budget '-5m'"),
        (["--image-size", "5"], "--image-size 5"),
        (["--steps", "0"], "--steps 0"),
        (["--seeds", "0"], "--seeds 0"),
        (["--seed", "-1"], "--seed -1"),
        (["--delta", "2"], "--delta 2"),
        (["--batch-size", "500"], "--batch-size 500"),
        (["--weights", "nowhere.pt"], "nowhere.pt"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(map(_name, value)),
)
def test_options_that_cannot_be(
    call: Call,
    pets: Path,
    tmp_path: Path,
    options: list[str | Callable[[Path], Path]],
    said: str,
) -> None:
    given = [one(tmp_path) if callable(one) else one for one in options]
    out = tmp_path / "out"
    assert_refused(call("compare", pets, "--image-size", "32", *given, "--out", out), said)
    assert not out.exists()


def _name(option: object) -> str:
    return getattr(option, "__name__", str(option))


@pytest.mark.parametrize(
    "options", [["--steps", "many"], ["--schedule", "cosine"], ["--nonsense"], []]
)
def test_options_that_the_command_line_does_not_know(
    call: Call, tmp_path: Path, options: list[str]
) -> None:
    ended = call("train", "digits", *options, "--out", tmp_path / "out")
    assert ended.code == 2
    assert (options[0] if options else "--strategy") in ended.err
    assert not (tmp_path / "out").exists()


# -- weights ------------------------------------------------------------------------------------


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (f"{os.environ['EVIL']}/owned",)


def _other_network(path: Path) -> None:
    save_file({"conv.weight": torch.zeros(3, 3)}, path)


def _code(path: Path) -> None:
    path.write_bytes(pickle.dumps({"conv.weight": _Evil()}, protocol=2))


def _noise(path: Path) -> None:
    path.write_bytes(b"\x00\x01\x02 weights, honestly")


def test_random_weights_do_not_pass_for_pretrained_ones(
    call: Call, pets: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = ("compare", str(pets), *QUICK, "--weights", "random", "--out", str(out))
    assert_refused(call(*given), "--weights random", "linear begins with pretrained")
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("other.safetensors", _other_network, "does not fit"),
        ("evil.pt", _code, "more than tensors"),
        ("noise.pt", _noise, "not a readable weights file"),
        ("noise.safetensors", _noise, "not a readable safetensors file"),
    ],
)
def test_weights_that_cannot_be_used(
    call: Call,
    pets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    write: Callable[[Path], None],
    said: str,
) -> None:
    monkeypatch.setenv("EVIL", str(tmp_path))
    write(tmp_path / name)
    out = tmp_path / "out"
    assert_refused(
        call("compare", pets, *QUICK, "--weights", tmp_path / name, "--out", out), name, said
    )
    assert not out.exists()
    assert not (tmp_path / "owned").exists()


# -- the output folder --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--steps", "5"], "steps is 4, not 5"),
        (["--seed", "1"], "seed is 0, not 1"),
        (["--image-size", "64"], "image size is 32, not 64"),
    ],
)
def test_a_folder_that_holds_another_study(
    call: Call, finished: Finished, change: list[str], said: str
) -> None:
    before = state_of(finished.folder)
    assert_refused(call(*finished.command, *change, "--out", finished.folder), said, "--out")
    assert state_of(finished.folder) == before


def test_a_folder_that_holds_other_files(call: Call, pets: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    before = state_of(tmp_path)
    assert_refused(call("compare", pets, *QUICK, "--out", tmp_path), tmp_path, "--out")
    assert state_of(tmp_path) == before


def test_an_output_path_that_is_a_file(call: Call, pets: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    ended = call("compare", pets, *QUICK, "--out", tmp_path / "thesis.tex")
    assert_refused(ended, "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_data_that_changed_under_a_study(call: Call, tmp_path: Path) -> None:
    data = draw_folder(tmp_path / "pets", ("cat", "dog"), each=10)
    out = tmp_path / "out"
    assert call("compare", data, *QUICK, "--out", out).code == 0
    draw_picture(99, 0).save(data / "cat" / "new.png")
    before = state_of(out)
    assert_refused(call("compare", data, *QUICK, "--out", out), data, "has changed", "--out")
    assert state_of(out) == before


def test_a_full_disk_is_told_and_the_same_command_continues(
    call: Call, pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "predictions.npz":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    ended = call("compare", pets, *QUICK, "--out", out)
    assert ended.code == 2
    assert "The disk is full" in ended.err
    assert "Traceback" not in ended.err
    assert not [p for p in out.rglob("*") if p.name.endswith(".tmp")]
    monkeypatch.setattr(os, "replace", replace)
    ended = call("compare", pets, *QUICK, "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["arms"][0]["state"] == "done"
    assert [record.state for record in read_trials(out)] == ["done"]


# -- predict and report -------------------------------------------------------------------------


def test_predict_on_what_is_no_model(call: Call, pets: Path, tmp_path: Path) -> None:
    assert_refused(call("predict", tmp_path, pets / "cat" / "00.png"), tmp_path)
    assert_refused(call("predict", tmp_path / "nowhere", pets / "cat" / "00.png"), "nowhere")


def test_predict_on_what_is_no_image(call: Call, finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert_refused(call("predict", finished.folder, tmp_path / "bad.png"), "bad.png")
    assert_refused(call("predict", finished.folder, tmp_path / "absent.png"), "absent.png")


def test_report_on_a_folder_without_a_study(call: Call, tmp_path: Path) -> None:
    assert_refused(call("report", tmp_path), tmp_path, "study.json")
    (tmp_path / "study.json").write_text('{"schema": 1, ')
    assert_refused(call("report", tmp_path), "study.json")
    assert not (tmp_path / "report.html").exists()


def test_a_study_file_that_cannot_be_read(call: Call, pets: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("schema: [1\n")
    assert_refused(call("compare", pets, *QUICK, "--out", tmp_path), "study.yaml")


# -- names --------------------------------------------------------------------------------------


def test_class_names_that_look_like_markup_are_shown_and_do_nothing(
    call: Call, tmp_path: Path
) -> None:
    names = ("<b>x", "\"quote'", "[red]y[", "<script>alert(1)")
    data = draw_folder(tmp_path / "odd", names, each=8)
    out = tmp_path / "out"
    ended = call("compare", data, *QUICK, "--out", out)
    assert ended.code == 0, ended.err
    assert json.loads((out / "study.json").read_text())["profile"]["classes"] == sorted(names)
    page = (out / "report.html").read_text()
    assert "&lt;b&gt;x" in page
    assert "<b>x" not in page
    assert "<script" not in page
    predicted = call("predict", out, data / "<b>x" / "00.png", "--json")
    assert set(json.loads(predicted.out)[0]["probabilities"]) == set(names)
