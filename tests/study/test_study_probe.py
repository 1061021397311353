"""A study's probe profile: measured once, kept, and billed to no arm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from small_study import Finished, draw_folder, state_of

import headstart
from headstart.execution import probing as measuring
from headstart.execution import reads_pretrained, run_probe
from headstart.records_probe import read_probe
from headstart.report import page, schema
from headstart.strategies import choose
from headstart.study import plan, question_from
from headstart.study.plan import Study


def prepared(pictures: Path, folder: Path, *strategies: str) -> Study:
    asked = question_from(
        data=str(pictures), strategies=list(strategies), steps=1, seeds=1, image_size=32
    )
    return plan.prepare(asked, folder)


def test_the_answer_has_the_profile_of_the_study(finished: Finished) -> None:
    probe = finished.answer["probe"]
    splits = finished.answer["profile"]["splits"]
    assert (probe["images"], probe["of_images"]) == (splits["train"], splits["train"])
    assert probe["stages"][-1]["name"] == "last"
    assert len(probe["stages"]) > 5
    assert probe["learning_curve"][-1]["images"] == splits["train"]
    assert [one["strategy"] for one in probe["order"]] == finished.answer["question"]["strategies"]
    for part in (*probe["stages"], probe["all_stages"], probe["knn"], probe["pixels"]):
        assert 0 <= part["low"] <= part["error"] <= part["high"] <= 1
    found = read_probe(finished.folder, finished.answer["question"]["protocol"])
    assert found is not None
    assert 1 - found[1].all_stages.mean() == pytest.approx(probe["all_stages"]["error"])


def test_arms_are_billed_as_if_there_were_no_profile(finished: Finished) -> None:
    [linear] = [r["ledger"] for r in finished.records() if r["strategy"] == "linear"]
    probe, train = finished.answer["probe"]["cost"], finished.answer["profile"]["splits"]["train"]
    assert linear["images"] == probe["images"] == train
    assert linear["flops"] == probe["flops"] > 0  # the extraction that both share counts for each
    assert min(linear["seconds"], probe["seconds"]) > 0


def test_a_profile_that_is_there_is_read_and_another_question_has_its_own(
    finished: Finished, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    study = prepared(finished.pictures, folder, "linear")
    reader = reads_pretrained(choose(["scratch", "svm"], study.setting.stages))
    assert reader is not None
    first = run_probe(study.setting, reader, folder)
    before = state_of(folder)
    assert run_probe(study.setting, reader, folder) == first
    assert state_of(folder) == before
    # as a kill leaves it between the two files
    (folder / "probe.json").unlink()
    again = run_probe(study.setting, reader, folder)
    assert again is not None
    assert first is not None
    assert again.penalties == first.penalties
    one, other = (np.load(finished.folder / "probe.npz"), np.load(folder / "probe.npz"))
    assert all((one[name] == other[name]).all() for name in one)  # the same images, the same bits


def test_a_large_set_is_looked_at_in_part(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "MOST_IMAGES", 21)
    study = prepared(finished.pictures, tmp_path, "linear")
    record = run_probe(study.setting, study.resolved.arms[0].strategy, tmp_path)
    found = read_probe(tmp_path, study.setting.protocol)
    assert record is not None
    assert found is not None
    positions = found[1].positions
    assert (record.images, record.of_images) == (21, len(study.splits.train))
    assert set(positions) < set(study.splits.train)
    assert np.bincount(study.dataset.labels[positions]).tolist() == [7, 7, 7]
    assert max(found[1].curve) == 21


def test_nothing_is_measured_where_all_images_belong_together(
    finished: Finished, tmp_path: Path
) -> None:
    study = prepared(finished.pictures, tmp_path, "linear")
    study.setting.duplicates[:] = 0
    assert run_probe(study.setting, study.resolved.arms[0].strategy, tmp_path) is None
    assert not (tmp_path / "probe.json").exists()


def test_only_arms_that_read_pretrained_codes_ask_for_a_profile() -> None:
    stages = ("stem", "body", "neck")
    assert reads_pretrained(choose(["scratch", "frozen-random"], stages)) is None
    reader = reads_pretrained(choose(["scratch", "fine-tune", "linear"], stages))
    assert reader is not None
    assert reader.name == "fine-tune"


@pytest.mark.slow
def test_a_study_of_scratch_alone_has_none(tmp_path: Path) -> None:
    pictures = draw_folder(tmp_path / "pictures", each=8)
    result = headstart.train_from_scratch(
        pictures, steps=1, seeds=1, image_size=32, out=tmp_path / "study"
    )
    assert result.answer["probe"] is None
    assert not (tmp_path / "study" / "probe.json").exists()


def test_a_study_of_an_older_version_is_judged_without_one(
    finished: Finished, tmp_path: Path
) -> None:
    folder = tmp_path / "old"
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    answer = json.loads((folder / "study.json").read_text())
    del answer["probe"]
    (folder / "study.json").write_text(json.dumps(answer))
    jsonschema.validate(answer, schema.schema())
    assert "Frozen features" not in page.write(folder).read_text()
