"""The table: which rows learn, how fast, from where; and what it refuses."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from headstart.errors import HeadstartError
from headstart.strategies import (
    CONTROL,
    NAMES,
    SOLVED,
    Phase,
    Strategy,
    choose,
    describe,
    named,
    read_strategies,
    resolve,
)

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")


def learning(strategy: Strategy, phase: int = 0) -> list[str]:
    return [row.stage for row in resolve(strategy, STAGES) if row.shares[phase] > 0]


def one(**fields: object) -> Strategy:
    return Strategy.model_validate({"name": "mine", **fields})


def test_every_named_strategy_resolves_to_a_row_for_each_stage_and_the_head() -> None:
    for name in NAMES:
        rows = resolve(named(name, STAGES), STAGES)
        assert [row.stage for row in rows] == [*STAGES, "head"]
        assert rows[-1].start == "new"


def test_the_named_strategies_are_what_the_field_calls_by_these_names() -> None:
    starts = {name: named(name, STAGES).starts for name in NAMES}
    random = {name for name in NAMES if starts[name] == {"random"}}
    assert random == {"frozen-random", "scratch", "scratch-gn"}
    assert {name for name in NAMES if not named(name, STAGES).trains} == set(SOLVED)
    everything = [*STAGES, "head"]
    assert learning(named("partial", STAGES)) == ["layer4", "head"]
    assert learning(named("fine-tune", STAGES)) == everything
    assert learning(named("scratch", STAGES)) == everything
    assert named("scratch-gn", STAGES).norm == "group"
    assert named("scratch", STAGES).steps == 3 * named("fine-tune", STAGES).steps
    assert named("scratch", STAGES).phases[0].extend


def test_scratch_learns_every_stage_at_the_same_rate_and_fine_tuning_does_not() -> None:
    scratch = resolve(named("scratch", STAGES), STAGES)
    tuned = resolve(named("fine-tune", STAGES), STAGES)
    assert {row.shares[0] for row in scratch} == {1.0}
    assert tuned[0].shares[0] == pytest.approx(0.1)
    assert tuned[-1].shares[0] == 1.0


@pytest.mark.parametrize("first", [0.001, 0.1, 0.65, 1.0])
@pytest.mark.parametrize("stages", [1, 2, 3, 9, 40])
def test_rates_rise_with_depth_by_equal_ratios(stages: int, first: float) -> None:
    strategy = one(phases=[{"first_stage": first}])
    shares = [row.shares[0] for row in resolve(strategy, [f"stage{n}" for n in range(stages)])]
    assert shares[0] == pytest.approx(first)
    assert shares[-1] == 1.0
    assert all(a <= b for a, b in pairwise(shares))
    ratios = [b / a for a, b in pairwise(shares)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))


@pytest.mark.parametrize(
    ("learn", "rows"),
    [
        ("all", [*STAGES, "head"]),
        ("head", ["head"]),
        ("last 2", ["layer3", "layer4", "head"]),
        ("last 5", [*STAGES, "head"]),
        ("layer2", ["layer2"]),
        (["head", "stem"], ["stem", "head"]),
    ],
)
def test_a_phase_learns_the_rows_it_names(learn: object, rows: list[str]) -> None:
    assert learning(one(phases=[{"learn": learn}])) == rows


@pytest.mark.parametrize("learn", ["last 0", "last 6", "last x", "last", "layer9", ["head", "x"]])
def test_rows_that_the_network_does_not_have_are_refused_by_name(learn: object) -> None:
    with pytest.raises(HeadstartError, match="mine"):
        resolve(one(phases=[{"learn": learn}]), STAGES)


def test_a_rate_does_not_depend_on_which_other_stages_learn() -> None:
    whole = resolve(one(phases=[{"first_stage": 0.1}]), STAGES)
    part = resolve(one(phases=[{"first_stage": 0.1, "learn": "last 2"}]), STAGES)
    assert [r.shares[0] for r in part[-3:]] == [r.shares[0] for r in whole[-3:]]


def test_starts_stage_by_stage_must_name_every_stage_once() -> None:
    start = {**dict.fromkeys(STAGES, "pretrained"), "layer4": "weights.safetensors"}
    assert [r.start for r in resolve(one(start=start, phases=[{}]), STAGES)][-2:] == [
        "weights.safetensors",
        "new",
    ]
    with pytest.raises(HeadstartError, match="layer4"):
        resolve(one(start=dict.fromkeys(STAGES[:-1], "pretrained")), STAGES)
    with pytest.raises(HeadstartError, match="layer9"):
        resolve(one(start={**start, "layer9": "random"}, batchnorm="live", phases=[{}]), STAGES)


# Rule 1: random weights are never frozen, except in the control.


def test_only_the_control_freezes_random_weights() -> None:
    assert resolve(named(CONTROL, STAGES), STAGES)[0].start == "random"
    with pytest.raises(HeadstartError, match=r"freeze random weights in stem"):
        resolve(one(start="random"), STAGES)
    with pytest.raises(HeadstartError, match=r"in stem, layer1, layer2, layer3\."):
        resolve(one(start="random", batchnorm="live", phases=[{"learn": "last 1"}]), STAGES)
    start = {**dict.fromkeys(STAGES, "pretrained"), "layer1": "random"}
    with pytest.raises(HeadstartError, match=r"in layer1\."):
        resolve(one(start=start, batchnorm="live", phases=[{"learn": "last 2"}]), STAGES)


def test_random_weights_may_wait_for_a_later_phase() -> None:
    phases = [{"learn": "head"}, {"learn": "all"}]
    rows = resolve(one(start="random", batchnorm="live", phases=phases), STAGES)
    assert rows[0].shares == (0.0, 1.0)


@pytest.mark.parametrize("start", ["random", {**dict.fromkeys(STAGES, "random"), "stem": "a.pt"}])
def test_random_stages_have_no_statistics_to_freeze(start: object) -> None:
    with pytest.raises(ValidationError, match="no statistics to freeze"):
        one(start=start, phases=[{}])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"head": "new"}, "must solve its head"),
        ({"codes": "all", "phases": [{}]}, "codes: all"),
        ({"head": "svm", "phases": [{}]}, "head: svm"),
        ({"norm": "group", "phases": [{}]}, "norm: group"),
        ({"phases": [{"steps": 0}]}, "greater than 0"),
        ({"phases": [{"rate": -1}]}, "greater than 0"),
        ({"phases": [{"first_stage": 2}]}, "less than or equal to 1"),
        ({"speed": 3}, "Extra inputs"),
        ({"name": "a/b"}, "pattern"),
        ({"name": ".."}, "pattern"),
    ],
)
def test_tables_that_make_no_sense_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        one(**fields)


def test_the_description_is_plain_data_with_every_row() -> None:
    content = json.loads(json.dumps(describe(named("partial", STAGES), STAGES)))
    assert [row["stage"] for row in content["table"]] == [*STAGES, "head"]
    assert content["name"] == "partial"


# Reading a user's own.


def test_yaml_gives_the_same_strategy_as_python(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "- name: two-periods\n"
        "  phases:\n"
        "    - {learn: head, steps: 0.5}\n"
        "    - {learn: all, rate: 0.001, first_stage: 0.01}\n"
        "- {name: plain}\n"
    )
    phases = (Phase(learn="head", steps=0.5), Phase(rate=0.001, first_stage=0.01))
    two, plain = read_strategies(path)
    assert two == Strategy(name="two-periods", phases=phases)
    assert plain == Strategy(name="plain")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: mine\nphases: [{steps: -1}]\n", "phases.0.steps"),
        ("name: mine\nspeed: 3\n", "speed"),
        ("phases: []\n", "name: Field required"),
        ("just words\n", "dictionary"),
        ("", "dictionary"),
        ("a: [1, 2\n", "not valid YAML"),
        ("name: fine-tune\n", "'fine-tune' is a name that headstart uses"),
        ("name: mine\nhead: new\n", "must solve its head"),
    ],
)
def test_wrong_yaml_is_refused_with_the_file_and_the_field(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(HeadstartError) as caught:
        read_strategies(path)
    message = str(caught.value)
    assert str(path) in message
    assert words in message
    assert message.count("\n") <= 1


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(HeadstartError, match="cannot be read"):
            read_strategies(path)
    binary = tmp_path / "picture.yaml"
    binary.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(HeadstartError, match="not a text file"):
        read_strategies(binary)


def test_strategies_are_chosen_by_name_and_by_file_each_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("name: mine\n")
    assert [s.name for s in choose(["scratch", str(path), "svm"], STAGES)] == [
        "scratch",
        "mine",
        "svm",
    ]
    with pytest.raises(HeadstartError, match=r"scratch more than once"):
        choose(["scratch", "svm", "scratch"], STAGES)
    with pytest.raises(HeadstartError, match=r"Unknown strategy 'finetune'.*fine-tune"):
        choose(["finetune"], STAGES)
