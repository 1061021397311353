"""Transplants are tables like others: the paper's four kinds at each cut, and their base."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from headstart.errors import HeadstartError
from headstart.strategies import NAMES, Phase, Strategy, choose, named, resolve, transplants

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
ROWS = [*STAGES, "head"]


def begins(name: str) -> list[str]:
    return [row.start for row in resolve(named(name, STAGES), STAGES)]


def learning(name: str) -> list[str]:
    rows = resolve(named(name, STAGES), STAGES)
    assert {row.shares[0] for row in rows} <= {0.0, 1.0}  # one rate for all that learns
    return [row.stage for row in rows if row.shares[0]]


def test_the_four_kinds_are_the_papers() -> None:
    rest = ["random"] * 3 + ["new"]
    assert begins("A2B") == begins("A2B+") == ["pretrained"] * 2 + rest
    assert begins("B2B") == begins("B2B+") == ["arm:baseB"] * 2 + rest
    assert begins("baseB") == ["random"] * 5 + ["new"]
    assert learning("A2B") == learning("B2B") == ROWS[2:]
    assert learning("A2B+") == learning("B2B+") == learning("baseB") == ROWS


def test_all_stages_transplanted_leave_the_head_to_learn() -> None:
    assert learning("A5B") == ["head"]
    assert begins("A5B") == ["pretrained"] * 5 + ["new"]


def test_the_arms_of_a_sweep_take_the_same_steps_and_normalize_alike() -> None:
    arms = choose(["transplant"], STAGES)
    assert len(arms) == 1 + 4 * 5
    phases = {phase.model_copy(update={"learn": "all"}) for arm in arms for phase in arm.phases}
    assert phases == {Phase(steps=named("scratch", STAGES).steps, exact=True)}
    assert {(arm.batchnorm, arm.head, arm.norm) for arm in arms} == {("live", "new", "own")}


def test_what_is_drawn_beside_transplants_is_not_what_the_base_began_with() -> None:
    """B's first stages grew up beside its own first values; chance must not bring those back."""
    base, *others = choose(["transplant"], STAGES)
    assert base.drawing_seed(3) == 3
    assert len({other.drawing_seed(3) for other in others}) == 1
    assert others[0].drawing_seed(3) != 3
    assert len({others[0].drawing_seed(seed) for seed in range(20)}) == 20


def test_cuts_are_few_spread_evenly_and_reach_both_ends() -> None:
    for stages in range(1, 201):
        cuts = transplants.cuts(stages)
        assert len(cuts) == min(stages, 6)
        assert (cuts[0], cuts[-1]) == (1, stages)
        steps = {b - a for a, b in pairwise(cuts)}
        assert all(step > 0 for step in steps)
        assert not steps or max(steps) - min(steps) <= 1


def test_the_word_stands_for_the_arms_of_every_cut_and_with_a_number_for_one() -> None:
    names = [arm.name for arm in choose(["transplant-3"], STAGES)]
    assert names == ["baseB", "B3B", "B3B+", "A3B", "A3B+"]
    names = [arm.name for arm in choose(["fine-tune", "A2B", "transplant-1", "scratch"], STAGES)]
    assert names == ["fine-tune", "baseB", "A2B", "B1B", "B1B+", "A1B", "A1B+", "scratch"]
    for words in (["baseB", "A2B"], ["A2B", "baseB"]):
        assert [arm.name for arm in choose(words, STAGES)] == ["baseB", "A2B"]
    assert [arm.name for arm in choose(["baseB"], STAGES)] == ["baseB"]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("A6B", "network has 5"),
        ("transplant-9", "1 to 5"),
        ("A0B", "Unknown"),
        ("transplant-0", "Unknown"),
        ("C1B", "Unknown"),
        ("A1B++", "Unknown"),
    ],
)
def test_cuts_that_the_network_does_not_have_are_refused(word: str, says: str) -> None:
    with pytest.raises(HeadstartError, match=says):
        choose([word], STAGES)


def test_a_cut_named_twice_is_refused() -> None:
    with pytest.raises(HeadstartError, match="more than once"):
        choose(["transplant", "A3B"], STAGES)


def test_names_of_transplants_are_not_free(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for name in ("A3B", "B12B+", "baseB", "transplant", "transplant-2"):
        path.write_text(f"name: {name}\n")
        with pytest.raises(HeadstartError, match="a name that headstart uses"):
            choose([str(path)], STAGES)
    assert not any(transplants.taken(name) for name in (*NAMES, "AB", "A3", "my-transplant"))


def test_words_say_what_an_arm_is() -> None:
    assert transplants.in_words("A1B") == "the first stage pretrained and frozen, the rest random"
    assert transplants.in_words("B3B+") == (
        "the first 3 stages from baseB and learning on, the rest random"
    )
    assert transplants.in_words("fine-tune") is None
    assert "base" in (transplants.in_words("baseB") or "")


# -- beginning with another arm's weights --------------------------------------------------------


def mine(source: str, **fields: object) -> str:
    start = dict.fromkeys(STAGES, "random") | {"stem": f"arm:{source}"}
    given = {"name": "mine", "start": start, "batchnorm": "live", "head": "new", "phases": [{}]}
    return Strategy.model_validate(given | fields).model_dump_json()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{}"], "does not come before it"),
        (["{}", "scratch"], "does not come before it"),
        (["linear", "{}"], "does not come before it"),
    ],
)
def test_a_source_must_come_before(tmp_path: Path, words: list[str], says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(mine("scratch"))
    with pytest.raises(HeadstartError, match=says):
        choose([word.format(path) for word in words], STAGES)
    names = [s.name for s in choose(["scratch", str(path)], STAGES)]
    assert names == ["scratch", "mine"]


@pytest.mark.parametrize(("source", "says"), [("linear", "never trained"), ("scratch-gn", "Group")])
def test_a_source_must_leave_weights_that_fit(tmp_path: Path, source: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(mine(source))
    with pytest.raises(HeadstartError, match=says):
        choose([source, str(path)], STAGES)


def test_weights_of_another_arm_were_loaded_so_they_may_be_frozen() -> None:
    strategy = Strategy.model_validate_json(mine("scratch", phases=[{"learn": ROWS[1:]}]))
    assert resolve(strategy, STAGES)[0].shares == (0.0,)
    assert strategy.sources == ("scratch",)
    assert strategy.starts == {"random"}
    with pytest.raises(ValidationError, match="needs phases"):
        Strategy(name="mine", start="arm:scratch")


def test_places_are_replaced_and_nothing_else() -> None:
    before = Strategy.model_validate_json(mine("scratch"))
    after = before.beginning({"arm:scratch": "trial:f00"})
    assert resolve(after, STAGES)[0].start == "trial:f00"
    assert after.sources == ()
    assert after.starts == {"random"}
    assert after.beginning({"trial:f00": "arm:scratch"}) == before
    whole = Strategy(name="mine", start="arm:scratch", phases=(Phase(),))
    assert whole.beginning({"arm:scratch": "trial:f00"}).start == "trial:f00"


def test_exact_steps_are_not_extended() -> None:
    with pytest.raises(ValidationError, match="cannot be extended"):
        Phase(exact=True, extend=True)
