"""From records to the answer: study.json, the model that is taken home, the report."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from headstart.backbones import profile
from headstart.evidence.arms import ArmEvidence, Gathered, PlannedArm, gather
from headstart.evidence.ledger import PretrainingCost, starts_pretrained
from headstart.evidence.outlook import outlook
from headstart.evidence.probe import Candidate, ProbeEvidence, order_of_candidates, probe_evidence
from headstart.evidence.sizes import Sizes, Subset, sizes
from headstart.evidence.statistics import Estimate
from headstart.evidence.transplants import transplants, with_borrowed
from headstart.evidence.tuning import tuning
from headstart.execution import machine, versions
from headstart.records import (
    MismatchRecord,
    read_mismatch,
    read_trial,
    replacing,
    write_json,
    write_mismatch,
)
from headstart.study.foretold import put_on_record
from headstart.study.plan import Study
from headstart.study.profile import measure, network_for_looking, similarity_of
from headstart.study.profile import profile as profile_of
from headstart.study.question import ArmPlan
from headstart.study.runs import Ran
from headstart.study.scoring import measure_on_test, read_test, save_model
from headstart.study.sizes import judge_sizes, size_studies
from headstart.study.timing import seconds_of_arms, seconds_of_study
from headstart.verdict.answer import StudyAnswer, answer
from headstart.verdict.decide import Verdict, decide
from headstart.verdict.rules import reasons_with_sources
from headstart.verdict.rules_measured import Measurements, Reason


def judge(study: Study, ran: Ran) -> StudyAnswer:
    """Read the records and write everything that a finished or stopped study leaves.

    `ran` says what became of the plan.

    The test split is opened once, for the arm that was chosen, and only when every arm is done
    or explained; its result is kept in test.json. What is foretold of it is written down before.
    """
    published = study.setting.weights == "pretrained"
    pretraining = PretrainingCost(forward_flops=_pretraining_flops(study))
    parts = size_studies(study)
    beside = [study.resolved.protocol, *(part.resolved.protocol for _, part in parts)]

    def gather_arms(study: Study, ran: Ran) -> Gathered:
        return gather(
            study.folder,
            study.resolved.protocol,
            [_planned(arm, ran, published=published) for arm in study.resolved.arms],
            pretraining=pretraining,
            beside=beside,
        )

    gathered = gather_arms(study, ran)
    metric = study.subject.metric
    sources = {arm.strategy.name: arm.strategy.sources for arm in study.resolved.arms}
    arms = with_borrowed(gathered.arms, sources)
    verdict = decide(arms, metric=metric, delta=study.asked.delta, seed=study.asked.seed)
    chosen = next((a for a in arms if a.strategy == verdict.choice), None)
    ahead = outlook(
        study.folder,
        study.resolved.protocol,
        arms,
        delta=study.asked.delta,
        seed=study.asked.seed,
        metric=metric,
    )
    _write_validation(study)
    objects = study.subject.show(study.folder, arms, verdict.choice)
    tests: dict[str, Estimate] = {}
    if chosen is not None:
        complete = all(arm.state != "unfinished" for arm in arms)
        if complete:
            put_on_record(study, arms, verdict, ahead)
            _drop_spare_weights(study, arms)
        tests = _take_home(study, chosen, open_test=complete)
    subsets, warnings = judge_sizes(parts, ran, gather_arms)
    probe = probe_evidence(study.folder, study.resolved.protocol, seed=study.asked.seed)
    seconds = seconds_of_arms(study)
    result = answer(
        question=_question(study),
        profile=_profile(study, [*gathered.warnings, *warnings]),
        arms=arms,
        verdict=verdict,
        tests=tests,
        model="best" if chosen is not None else None,
        versions=versions(),
        machine=machine(study.setting.fabric.device),
        transplants=transplants(arms, seed=study.asked.seed),
        stages=study.setting.stages,
        probe=probe,
        order=[] if probe is None else _order(study, probe),
        outlook=ahead,
        sizes=_sizes(study, subsets, arms) if subsets else None,
        tuning=tuning(study.folder, study.resolved.protocol, arms)
        if study.asked.tuning_study
        else None,
        rules=_rules(study, arms, verdict, probe),
        objects=objects,
        metric=metric,
        seconds=seconds_of_study(study, seconds),
        arm_seconds=seconds,
    )
    write_json(study.folder / "study.json", result.to_json())
    return result


def _sizes(study: Study, subsets: list[Subset], arms: list[ArmEvidence]) -> Sizes:
    whole = Subset(1.0, len(study.splits.train), arms)
    asked = study.asked
    return sizes(
        study.folder,
        [*subsets, whole],
        delta=asked.delta,
        seed=asked.seed,
        metric=study.subject.metric,
        classes=len(study.subject.dataset.classes),
    )


def _planned(arm: ArmPlan, ran: Ran, *, published: bool) -> PlannedArm:
    """What was meant to run; what weights from a file cost is not known (`published` False)."""
    name = arm.strategy.name
    left_out = ran.left_out.get(name)
    said = [note for note in (arm.note, ran.notes.get(name), left_out) if note]
    return PlannedArm(
        strategy=name,
        seeds=tuple(ran.seeds.get(name, arm.seeds)),
        start_pretrained=published and starts_pretrained({"start": arm.strategy.start}),
        note="; ".join(said) or None,
        state="pruned" if left_out else arm.state,
    )


def _pretraining_flops(study: Study) -> float:
    """Forward FLOPs of an image at 224 px, where the accounting of pretraining is made."""
    chain = study.subject.published
    size = 224 if chain.preprocessing.image_size >= 224 else chain.preprocessing.image_size
    return sum(row.flops for row in profile(chain, size))


def _question(study: Study) -> dict[str, Any]:
    asked, resolved = study.asked, study.resolved
    units = [arm.unit for arm in resolved.arms if arm.unit]
    return {
        "data": asked.data,
        "backbone": asked.backbone,
        "weights": asked.weights,
        "task": study.subject.task,
        "strategies": [arm.strategy.name for arm in resolved.arms],
        "budget_seconds": asked.budget_seconds,
        "steps": asked.steps,
        "step_unit": max(units) if units else None,
        "seeds": resolved.seeds,
        "seed": asked.seed,
        "image_size": resolved.image_size,
        "batch_size": resolved.batch_size,
        "schedule": asked.schedule,
        "delta": asked.delta,
        "sizes": asked.sizes,
        "tuning_study": asked.tuning_study,
        "protocol": resolved.protocol,
    }


def _profile(study: Study, warnings: list[str]) -> dict[str, Any]:
    origin = study.subject.published.origin
    described = study.subject.described()
    found = profile_of(study.dataset, study.splits, _seen(study), origin, labelled=not described)
    return {
        **found,
        **described,
        "warnings": [*found["warnings"], *warnings, *study.setting.changes],
    }


def _seen(study: Study) -> MismatchRecord:
    """How the images differ from those of pretraining: measured once, then read."""
    record = read_mismatch(study.folder)
    if record is None or record.weights != study.subject.published.origin.digest:
        chain = network_for_looking(study.subject.published, study.setting.weights)
        chain.to(study.setting.fabric.device)
        record = measure(chain, study.dataset, study.splits.train, study.asked.seed)
        write_mismatch(study.folder, record)
    return record


def _rules(
    study: Study, arms: list[ArmEvidence], verdict: Verdict, probe: ProbeEvidence | None
) -> dict[str, Reason]:
    """What is known about transfer, where the measurements call for it."""
    measured = Measurements(
        verdict=verdict,
        arms=arms,
        images_per_class=_images_per_class(study),
        similarity=similarity_of(_seen(study)),
        probe=probe,
        delta=study.asked.delta,
        metric=study.subject.metric,
        objects=study.subject.training_objects,
    )
    return reasons_with_sources(measured)


def _images_per_class(study: Study) -> float:
    """Training images, the mean over classes."""
    return len(study.splits.train) / len(study.subject.dataset.classes)


def _order(study: Study, probe: ProbeEvidence) -> list[Candidate]:
    """The arms as the probe profile of the frozen features orders them."""
    return order_of_candidates(
        probe,
        [arm.strategy.name for arm in study.resolved.arms],
        images_per_class=_images_per_class(study),
        delta=study.asked.delta,
    )


def _write_validation(study: Study) -> None:
    positions = study.splits.validation
    images = study.dataset
    ids = np.array([images.ids[int(p)] for p in positions], dtype=np.str_)
    with replacing(study.folder / "validation.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, indices=positions, ids=ids, labels=images.labels[positions])


def _take_home(study: Study, arm: ArmEvidence, *, open_test: bool) -> dict[str, Estimate]:
    """Write ``best/``: the chosen arm's first seed, as it was trained (none is picked by score)."""
    key = arm.trials[0]
    opened = read_test(study, key)
    record = read_trial(study.folder / "trials" / key)
    assert record is not None
    assert record.accuracy is not None
    name = {"name": study.subject.metric}
    validation = asdict(arm.accuracy) if arm.accuracy else {}
    metrics: dict[str, Any] = {
        "validation": {**name, **validation, "accuracy": record.accuracy},
        "test": opened and {**name, **asdict(opened)},
    }

    def save() -> None:
        best, question = study.folder / "best", _question(study)
        save_model(study, record, best, root=study.folder, metrics=metrics, question=question)

    if opened is None and open_test and len(study.splits.test):
        save()
        opened = measure_on_test(study, key)
        metrics["test"] = {**name, **asdict(opened)}
        save()
    elif not _is_home(study, key, tested=opened is not None):
        save()
    return {arm.strategy: opened} if opened else {}


def _is_home(study: Study, key: str, *, tested: bool) -> bool:
    """Whether ``best/`` holds this trial's model and says what came of the test split.

    A kill may have come between opening that and writing it there.
    """
    path = study.folder / "best" / "model.json"
    if not path.exists():
        return False
    card = json.loads(path.read_text(encoding="utf-8"))
    return bool(card["trial"] == key and (card["metrics"]["test"] is not None) == tested)


def _drop_spare_weights(study: Study, arms: list[ArmEvidence]) -> None:
    """Keep the weights of each arm's first seed alone: no other one is ever taken home."""
    for arm in arms:
        for key in arm.trials[1:]:
            (study.folder / "trials" / key / "weights.safetensors").unlink(missing_ok=True)
