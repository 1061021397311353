"""study.json: complete, valid, and the same each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.ledger import Spent
from headstart.evidence.statistics import Estimate
from headstart.records import Ledger
from headstart.verdict.answer import StudyAnswer, answer
from headstart.verdict.decide import decide

Arm = Callable[..., ArmEvidence]
QUESTION = {
    "data": "photos", "backbone": "resnet18", "strategies": ["linear", "scratch"],
    "budget_seconds": None, "steps": 300, "seeds": 1, "image_size": 160, "batch_size": 64,
    "delta": 0.01, "policy": "kept",
}  # fmt: skip
PROFILE = {
    "images": 600, "classes": ["a", "b", "c", "d"], "resolving_power": 0.072, "warnings": [],
    "splits": {"train": 300, "validation": 150, "test": 150},
    "images_per_class": {"a": 150, "b": 150, "c": 150, "d": 150},
}  # fmt: skip


def made(arms: list[ArmEvidence], **fields: Any) -> StudyAnswer:
    given: dict[str, Any] = {
        "question": QUESTION, "profile": PROFILE, "arms": arms, "verdict": decide(arms),
        "tests": {"linear": Estimate(0.9, 0.85, 0.94)}, "model": "best",
        "versions": {"headstart": "0.1.0"}, "machine": {"device": "cpu"}, **fields,
    }  # fmt: skip
    return answer(**given)


@pytest.fixture
def arms(arm: Arm) -> list[ArmEvidence]:
    return [
        arm("linear", 140, asymptote=Estimate(0.9, 0.8, 1.0), sweep_cost=Ledger(steps=3)),
        arm("scratch", [90, 91], flops=1e14, steps=900, still_rising=True, steps_multiple=3.0),
        ArmEvidence("partial", "failed", Ledger(), Spent(0, 0, 0.0), note="out of memory"),
    ]


def test_the_answer_fits_its_schema_and_comes_back(arms: list[ArmEvidence]) -> None:
    content = json.loads(json.dumps(made(arms).to_json(), allow_nan=False))
    jsonschema.Draft202012Validator(StudyAnswer.model_json_schema()).validate(content)
    assert StudyAnswer.model_validate_json(json.dumps(content)).to_json() == content
    assert content["schema"] == 1
    assert content["question"]["policy"] == "kept"
    linear, scratch, partial = content["arms"]
    assert linear["metric"]["name"] == linear["test"]["name"] == "accuracy"
    assert linear["metric"]["value"] == pytest.approx(140 / 150)
    assert scratch["test"] is None
    assert scratch["seeds"] == [0, 1]
    assert partial["metric"] is None
    assert content["verdict"]["pairs"][0]["mcnemar"] is None


def test_the_same_records_give_the_same_bytes(arms: list[ArmEvidence]) -> None:
    assert json.dumps(made(arms).to_json()) == json.dumps(made(arms).to_json())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "0.07", None])
def test_numbers_that_are_none_are_refused(arms: list[ArmEvidence], bad: object) -> None:
    with pytest.raises(ValidationError):
        made(arms, profile={**PROFILE, "resolving_power": bad})
    with pytest.raises(ValidationError):
        made(arms, question={**QUESTION, "delta": bad})


def test_an_answer_of_another_schema_is_refused(arms: list[ArmEvidence]) -> None:
    with pytest.raises(ValidationError):
        StudyAnswer.model_validate({**made(arms).to_json(), "schema": 2})
