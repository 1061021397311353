"""The rules that keep a comparison honest: each with its test here, or where it stands.

1   random weights are never frozen: tests/strategies/test_strategies_table.py
2   the same batches, crops and validation images in every arm: here
3   the same number of tuning runs in every arm: here, tests/study/test_study_planning.py
4   scratch runs longer, and longer still while it rises: here; it is never called worse
    meanwhile: tests/verdict/test_verdict_wording.py
5   the test split is opened once, at the end: here, tests/study/test_study_stopping.py; copies
    of an image are in one split: tests/data/test_data_splits.py
6   groups and phases, and resuming to the same bits: tests/training, test_study_stopping.py
7   frozen statistics stand still, live ones are re-estimated: tests/training
8   weights that do not fit are refused: here, tests/backbones, tests/cli/test_cli_bad_input.py
9   the network's own preprocessing, from the study to the model: here, tests/backbones
10  no component disturbs another's draws: here
11  a trial's key holds everything that matters: here
12  below the resolving power arms are tied, and the cheaper is taken: here, tests/verdict
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_study import Ended, Finished, draw_folder
from torch import Tensor, nn

from headstart.backbones import load
from headstart.backbones import weights as weight_files
from headstart.data import Dataset, ImageStore, make_splits, normalize, open_dataset
from headstart.errors import HeadstartError
from headstart.execution import ClassificationSetting, Trial, fabric, run
from headstart.records import read_predictions, read_trials
from headstart.strategies import Strategy, named
from headstart.study import judge, plan, scoring
from headstart.study.runs import Ran
from headstart.study.subject import WITH_BUDGET
from headstart.tasks import Classification, Data
from headstart.training import Hooks

BATCH, SIZE = 8, 32


def setting_for(
    dataset: Dataset,
    *,
    backbone: str = "efficientnet_lite0",
    weights: str = "pretrained",
    seed: int = 0,
) -> ClassificationSetting:
    """What a study of this data set would share between its trials."""
    splits = make_splits(dataset, seed=seed)
    store = ImageStore(dataset, load().preprocessing.at(SIZE))
    return ClassificationSetting(
        data=Data(dataset, splits, store, SIZE, splits.train),
        backbone=backbone,
        weights=weights,
        batch=BATCH,
        seed=seed,
        schedule="trapezoid",
        extension_limit=1.0,
        fabric=fabric(),
        duplicates=np.arange(len(dataset)),
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("rules") / "pictures", each=8)


@pytest.fixture(scope="module")
def setting(pictures: Path) -> ClassificationSetting:
    return setting_for(open_dataset(pictures))


# -- 2: the same batches, crops and validation images --------------------------------------------


@dataclass
class Seen:
    """What one trial's network was shown."""

    learned: list[str] = field(default_factory=list)  # digest of each training batch
    read: set[int] = field(default_factory=set)  # positions of every image that was read


def digest(images: Tensor) -> str:
    return hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()


@pytest.fixture(scope="module")
def seen(
    setting: ClassificationSetting, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Seen]:
    """Both arms run for three steps, and everything they are shown is noted."""
    shown = {}
    loss, reading = Classification.loss, ImageStore._read_ahead  # batches and crops come from it
    for name in ("fine-tune", "scratch"):
        note = shown[name] = Seen()

        def noted_loss(self: Any, model: Any, batch: Any, note: Seen = note) -> Tensor:
            note.learned.append(digest(batch.images))
            return loss(self, model, batch)

        def noted_reading(self: Any, order: Any, cut: Any, note: Seen = note) -> Any:
            for positions, images in reading(self, order, cut):
                note.read.update(positions.tolist())
                yield positions, images

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Classification, "loss", noted_loss)
            patch.setattr(ImageStore, "_read_ahead", noted_reading)
            unit = 3 if name == "fine-tune" else 1  # scratch takes three times its unit
            trial = Trial(named(name, setting.stages), seed=0, unit=unit, rate_factor=1.0)
            record = run(trial, setting, tmp_path_factory.mktemp(name), Hooks())
        assert record.state == "done", record.note
    return shown


def test_rule_2_two_arms_learn_from_the_same_crops_of_the_same_images(
    seen: dict[str, Seen],
) -> None:
    assert len(seen["scratch"].learned) == 3
    assert len(set(seen["scratch"].learned)) == 3
    assert seen["fine-tune"].learned == seen["scratch"].learned


def test_rule_2_all_arms_are_measured_on_the_same_images(finished: Finished) -> None:
    answers = [read_predictions(p) for p in sorted((finished.folder / "trials").iterdir())]
    held = [one for one in answers if one is not None]
    assert len(held) == 3
    for one in held:
        np.testing.assert_array_equal(one.indices, held[0].indices)
        np.testing.assert_array_equal(one.labels, held[0].labels)
    assert len({record["protocol"] for record in finished.records()}) == 1


# -- 3 and 4: tuning, and scratch's longer schedule ----------------------------------------------


def test_rule_3_every_arm_that_has_a_rate_was_tuned_as_often(finished: Finished) -> None:
    factors: dict[str, list[float]] = {}
    for record in finished.records():
        if record["role"] == "sweep":
            factors.setdefault(record["strategy"], []).append(record["rate_factor"])
    assert set(factors) == {"fine-tune", "scratch"}
    assert sorted(factors["fine-tune"]) == sorted(factors["scratch"])
    assert len(factors["scratch"]) == 3


def test_rule_4_scratch_takes_at_least_three_times_the_steps(finished: Finished) -> None:
    arms = {arm["strategy"]: arm for arm in finished.answer["arms"]}
    records = {r["strategy"]: r for r in finished.records() if r["role"] == "trial"}
    assert arms["scratch"]["cost"]["steps"] >= 3 * arms["fine-tune"]["cost"]["steps"]
    extended = arms["scratch"]["cost"]["steps"] > 3 * arms["fine-tune"]["cost"]["steps"]
    assert extended == any("still rising" in event for event in records["scratch"]["events"])
    for name in ("scratch", "scratch-gn"):
        arm = named(name, ("a", "b"))
        assert arm.steps >= 3 * named("fine-tune", ("a", "b")).steps
        assert all(phase.extend for phase in arm.phases)


# -- 5: the test split ---------------------------------------------------------------------------


def test_rule_5_nothing_that_trains_or_chooses_reads_a_test_image(
    seen: dict[str, Seen], setting: ClassificationSetting
) -> None:
    splits = setting.data.splits
    for note in seen.values():
        assert note.read == {*splits.train.tolist(), *splits.validation.tolist()}
        assert not note.read & set(splits.test.tolist())


def test_rule_5_the_test_split_is_opened_once(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder)
    arms = {arm["strategy"]: arm["test"] for arm in finished.answer["arms"]}
    opened = json.loads((folder / "test.json").read_text())
    assert [name for name, test in arms.items() if test] == [finished.answer["verdict"]["choice"]]
    assert opened["accuracy"]["value"] == next(t["value"] for t in arms.values() if t)

    times = []
    predict = scoring.predict_test
    monkeypatch.setattr(scoring, "predict_test", lambda *s: times.append(1) or predict(*s))
    asked = plan.StudyFile.read(folder)
    assert asked is not None
    study = plan.prepare(asked.asked, folder)
    judge.judge(study, Ran())
    assert times == []  # it has been opened: judging anew reads what was found then
    (folder / "test.json").unlink()
    judge.judge(study, Ran())
    judge.judge(study, Ran())
    assert times == [1]
    assert json.loads((folder / "test.json").read_text()) == opened


# -- 8 and 9: weights and preprocessing ----------------------------------------------------------


def test_rule_8_batchnorm_weights_do_not_go_into_groupnorm() -> None:
    theirs = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).state_dict()
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    before = weight_files.digest(network)
    with pytest.raises(HeadstartError, match="BatchNorm"):
        weight_files.fit(network, theirs, "theirs.pt")
    without_statistics = {k: v for k, v in theirs.items() if "running" not in k and k != "0.bias"}
    with pytest.raises(HeadstartError, match="1 tensors missing"):
        weight_files.fit(network, without_statistics, "theirs.pt")
    assert weight_files.digest(network) == before
    with pytest.raises(ValueError, match="BatchNorm weights do not fit"):
        Strategy(name="mine", norm="group")


def test_rule_9_images_are_prepared_as_the_network_was_trained_and_the_model_remembers(
    finished: Finished,
) -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    expected = (pixels.float() - 127) / 128
    torch.testing.assert_close(normalize(pixels, load().preprocessing), expected)
    card = json.loads((finished.folder / "best" / "model.json").read_text())
    kept = load().preprocessing.at(SIZE).to_json()
    assert json.loads(json.dumps(kept)) == card["preprocessing"]


# -- 10: draws -----------------------------------------------------------------------------------


def test_rule_10_what_was_built_before_does_not_change_how_the_head_begins(
    setting: ClassificationSetting,
) -> None:
    def head(name: str, seed: int, *, draws_before: int = 0) -> Tensor:
        torch.rand(draws_before)
        chain = setting.begin(named(name, setting.stages), seed)
        chain.replace_classifier(3, seed)
        return chain.classifier.weight.detach().clone()

    plain = head("fine-tune", 0)
    assert plain.abs().sum() > 0
    torch.testing.assert_close(head("scratch", 0), plain, rtol=0, atol=0)
    torch.testing.assert_close(head("scratch", 0, draws_before=7), plain, rtol=0, atol=0)
    assert not torch.equal(head("scratch", 1), plain)


def test_rule_10_building_a_network_leaves_the_callers_draws_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(weights="random", seed=1)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


# -- 11: the key ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def protocols(
    pictures: Path, setting: ClassificationSetting, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The protocol after each change that must change it."""
    place = tmp_path_factory.mktemp("keys")
    dataset = setting.data.dataset
    other_pictures = shutil.copytree(pictures, place / "pictures")
    shutil.copy(pictures / "cat" / "01.png", other_pictures / "cat" / "00.png")
    other_labels = dataset.labels.copy()
    other_labels[[0, -1]] = other_labels[[-1, 0]]
    network = load(weights="random", seed=3).network
    save_file(network.state_dict(), place / "other.safetensors")
    data = setting.data
    mobilenet = setting_for(dataset, backbone="timm/mobilenetv3_small_050", weights="random")
    return {
        "nothing": setting.protocol,
        "data": setting_for(open_dataset(other_pictures)).protocol,
        "labels": setting_for(replace(dataset, labels=other_labels)).protocol,
        "split seed": setting_for(dataset, seed=1).protocol,
        "subset": replace(setting, data=replace(data, training=data.training[:-1])).protocol,
        "weights": setting_for(dataset, weights=str(place / "other.safetensors")).protocol,
        "backbone": mobilenet.protocol,
        "image size": replace(setting, data=replace(data, image_size=64)).protocol,
        "batch": replace(setting, batch=4).protocol,
        "schedule": replace(setting, schedule="fixed-tail").protocol,
    }


def test_rule_11_a_trial_is_kept_apart_by_everything_that_can_change_it(
    protocols: dict[str, str], setting: ClassificationSetting
) -> None:
    for one, other in itertools.combinations(protocols, 2):
        assert protocols[one] != protocols[other], f"{one} and {other} have one protocol"
    trial = Trial(named("fine-tune", setting.stages), seed=0, unit=4, rate_factor=1.0)
    trials = [
        trial,
        replace(trial, strategy=named("partial", setting.stages)),
        replace(trial, strategy=trial.strategy.model_copy(update={"batchnorm": "live"})),
        replace(trial, seed=1),
        replace(trial, unit=5),
        replace(trial, rate_factor=3.0),
        replace(trial, role="sweep"),
    ]
    keys = [one.key(protocol) for one in trials for protocol in protocols.values()]
    assert len(set(keys)) == len(keys)


def test_rule_11_the_same_question_has_the_same_keys_wherever_it_is_asked(
    pictures: Path, setting: ClassificationSetting, tmp_path: Path
) -> None:
    copy = shutil.copytree(pictures, tmp_path / "elsewhere")
    assert setting_for(open_dataset(copy)).protocol == setting.protocol
    asked = plan.Question(data=str(pictures), steps=4, image_size=SIZE, batch_size=BATCH)
    here, there = plan.prepare(asked, tmp_path / "a"), plan.prepare(asked, tmp_path / "b")
    patient = replace(here.setting, extension_limit=WITH_BUDGET)  # what --budget changes
    assert here.setting.protocol == there.setting.protocol == patient.protocol


def test_rule_11_codes_are_those_of_the_weights_they_are_kept_for(
    pictures: Path, tmp_path: Path
) -> None:
    """A trained network's codes must not pass for those of the weights that it began with."""
    own, fresh = setting_for(open_dataset(pictures)), setting_for(open_dataset(pictures))
    linear = named("linear", own.stages)
    live = named("fine-tune", own.stages).model_copy(update={"name": "own", "batchnorm": "live"})
    run(Trial(live, seed=0, unit=3, rate_factor=10.0), own, tmp_path, Hooks())
    after = own.codes(linear, 0, own.begin(linear, 0)).validation["last"]
    before = fresh.codes(linear, 0, fresh.begin(linear, 0)).validation["last"]
    np.testing.assert_array_equal(after, before)


# -- 12: ties ------------------------------------------------------------------------------------


def test_rule_12_arms_that_cannot_be_told_apart_are_tied_and_the_cheaper_is_taken(
    finished: Finished,
) -> None:
    verdict = finished.answer["verdict"]
    arms = {arm["strategy"]: arm for arm in finished.answer["arms"]}
    best = max(arms, key=lambda name: arms[name]["metric"]["value"])
    for pair in verdict["pairs"]:
        others = {pair["a"], pair["b"]} - {best}
        small = abs(pair["difference"]) < pair["resolving_power"] - 1e-9
        if len(others) == 1 and small and pair["low"] <= 0 <= pair["high"]:
            assert others <= set(verdict["tied"])
    # Of tied arms no cheaper one was passed over that loses no more than delta.
    spent = arms[verdict["choice"]]["cost"]["flops"]
    for name in verdict["tied"]:
        less = arms[best]["metric"]["value"] - arms[name]["metric"]["value"]
        assert less > 0.01 or spent <= 1.1 * arms[name]["cost"]["flops"]


def test_records_of_another_protocol_are_never_ranked(
    finished: Finished, tmp_path: Path, call: Callable[..., Ended]
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder)
    stranger = folder / "trials" / "0123456789abcdef"
    shutil.copytree(folder / "trials" / finished.key("fine-tune"), stranger)
    record = json.loads((stranger / "trial.json").read_text())
    record |= {"key": stranger.name, "protocol": "another", "planned_steps": 10**6}
    (stranger / "trial.json").write_text(json.dumps(record))
    assert len(read_trials(folder)) == len(finished.records()) + 1
    ended = call(*finished.command, "--out", folder)
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    assert any(stranger.name in warning for warning in answer["profile"]["warnings"])
    assert stranger.name not in [key for arm in answer["arms"] for key in arm["trials"]]
    assert answer["verdict"] == finished.answer["verdict"]
