"""Which arms go no further, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from headstart.evidence.ends import Ends, Shrinkage
from headstart.evidence.fitting import Curve
from headstart.verdict.racing import LeftOut, Standing, left_out, worth_repeating

DELTA, GUESSING = 0.01, 0.9
OWN_WAY = Shrinkage(0, 0, 0, 0, 0, noise=0.02, spread=1.0)  # whatever was fitted
ENDS = Ends(OWN_WAY, OWN_WAY)


def answers(error: float, images: int = 1000) -> np.ndarray[Any, Any]:
    """[1, images], wrong on the hardest images first."""
    return ((np.arange(images) * 0.618034) % 1 >= error)[None]


def arm(name: str, flops: float, errors: list[float], **more: Any) -> Standing:
    steps = [float(20 * k) for k in range(len(errors))]
    return Standing(
        name, flops, 300, taken=int(steps[-1]), curve=Curve(steps, errors),
        correct=answers(errors[-1]), **more,
    )  # fmt: skip


LINEAR = Standing("linear", 1.0, 0, correct=answers(0.1))
CLOSE = [0.3, 0.12, 0.105, 0.105, 0.105, 0.105]
FLAT = [0.3, 0.12, 0.12, 0.12, 0.12, 0.12]


def judged(one: Standing, *others: Standing) -> LeftOut | None:
    return left_out(one, [one, *others], delta=DELTA, guessing=GUESSING, hopeless=0.2, ends=ENDS)


def why(one: Standing, *others: Standing) -> LeftOut:
    found = judged(one, *others)
    assert found is not None
    return found


def test_a_dearer_arm_must_end_better_and_a_cheaper_one_as_good() -> None:
    best = replace(LINEAR, flops=10.0)
    assert judged(arm("partial", 5.0, CLOSE), best) is None  # cheaper, as good
    found = why(arm("fine-tune", 50.0, FLAT), best)
    assert found.probability < 0.05
    assert found.reason.startswith(
        "left out after 100 of 300 steps at 88.0%: it would end more than 1 point above linear "
        "(90.0%) with a chance of"
    )


def test_scratch_is_judged_in_its_favour_for_a_third_of_its_steps() -> None:
    near = [0.3, 0.14, 0.12, 0.115, 0.112, 0.11]
    assert judged(arm("fine-tune", 90.0, FLAT), LINEAR)
    to_come_near = arm("scratch", 90.0, near, scratch=True)
    assert judged(replace(to_come_near, steps=301), LINEAR) is None
    near = arm("scratch", 90.0, FLAT, scratch=True)  # a third of its steps
    assert judged(replace(near, steps=301), LINEAR) is None
    assert "end more than 1 point above" in why(near, LINEAR).reason
    levelled = arm("scratch", 90.0, [0.9, 0.7, 0.62, 0.6, 0.6, 0.6], scratch=True)
    levelled = replace(levelled, steps=301)
    assert why(levelled, LINEAR).reason.endswith(
        "it would come within 1 point of linear (90.0%) with a chance of under 1%"
    )
    slow = [0.9, 0.75, 0.6, 0.47, 0.36, 0.28]
    assert judged(arm("scratch", 90.0, slow, scratch=True), LINEAR) is None


def test_where_there_is_no_room_nothing_is_begun() -> None:
    perfect = replace(LINEAR, correct=answers(0.0))
    found = why(Standing("fine-tune", 50.0, 300), perfect)
    assert found.reason.startswith("not run: linear gets 100.0% right")
    assert judged(Standing("fine-tune", 50.0, 300), LINEAR) is None


def test_the_control_and_the_arm_itself_are_no_rivals() -> None:
    control = Standing("frozen-random", 1.0, 0, correct=answers(0.0))
    alone = arm("fine-tune", 50.0, FLAT)
    assert judged(alone, control) is None


def test_further_seeds_are_for_arms_that_may_be_chosen() -> None:
    field = [LINEAR, arm("fine-tune", 50.0, [0.2, 0.1]), arm("scratch", 90.0, [0.9, 0.4])]
    assert worth_repeating(field, delta=DELTA) == {"linear", "fine-tune"}
    assert worth_repeating([], delta=DELTA) == set()


def test_no_further_seed_is_for_what_something_cheaper_does_better() -> None:
    """As in a study of 200 images, where three arms of 71, 69 and 65% could not be separated."""
    rng = np.random.default_rng(0)
    hard = rng.random(200)

    def one(name: str, flops: float, accuracy: float) -> Standing:
        right = hard + 0.25 * rng.standard_normal(200)
        return Standing(name, flops, 0, correct=(right <= np.quantile(right, accuracy))[None])

    best, middle = one("fine-tune", 50.0, 0.71), one("partial", 20.0, 0.65)
    cheap = one("linear-all-stages", 1.0, 0.69)
    assert "partial" in worth_repeating([middle, best], delta=DELTA)
    assert worth_repeating([cheap, middle, best], delta=DELTA) == {cheap.name, best.name}
    dear = Standing("partial", 20.0, 0, correct=cheap.correct)
    same = Standing("linear-all-stages", 20.0, 0, correct=middle.correct)
    assert dear.name in worth_repeating([dear, same, best], delta=DELTA)
