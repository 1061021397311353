"""forecast.json: what a study foretells, in a form that facts can be set beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from headstart.evidence.arms import ArmEvidence
from headstart.evidence.outlook import Outlook, mean_accuracy
from headstart.evidence.statistics import Correct, Estimate, accuracy_estimate, granted_bootstrap
from headstart.evidence.verification import on_new_images
from headstart.metrics import WORDS, MetricName
from headstart.strategies import CONTROL
from headstart.verdict.answer_outlook import DataWorthAnswer, ForecastAnswer
from headstart.verdict.answer_parts import Interval, Strict
from headstart.verdict.decide import Verdict
from headstart.verdict.decision import Pair, paired
from headstart.verdict.racing import LeftOut

HOW = (
    "the {best} of the other arms on the validation images, one that a race left out by "
    "what it had reached; the control apart"
)


class ArmForecast(Strict):
    """Of the model that an arm leaves, that of its first seed; 95% intervals."""

    strategy: str
    accuracy: Interval  # the metric, on images of the same kind
    on_test: Interval | None  # on as many as the test split has; null where there is none


class DifferenceForecast(Strict):
    """Of the same models of two arms, on the same images; 95% intervals."""

    a: str
    b: str
    difference: Interval  # a's metric less that of b
    p_a_better: float
    on_test: Interval | None


class LeftOutForecast(Strict):
    """What a race foretold of an arm that it left out."""

    strategy: str
    accuracy: float  # the metric on validation, when it was left out
    goal: float  # that its metric at the end would have to pass for it to matter
    probability: float  # that it would
    reason: str


class CatchUpForecast(ForecastAnswer):
    """When one arm's metric on validation at full rate is first at the goal, in steps; 80%."""

    scratch: str
    pretrained: str
    delta: float
    goal: float  # metric of the pretrained arm less delta


class ForecastContent(Strict):
    """All that is foretold."""

    metric: MetricName = "accuracy"  # that every value here is of
    choice: str
    runner_up: str | None  # null where no other arm has a result
    runner_up_is: str
    delta: float
    test_images: int
    arms: list[ArmForecast]  # that were run to their end
    difference: DifferenceForecast | None  # choice less runner-up; null where that was left out
    left_out: LeftOutForecast | None  # the runner-up, where a race left it out
    catch_up: CatchUpForecast | None
    data_worth: DataWorthAnswer | None


def forecast_answer(
    arms: Sequence[ArmEvidence],
    verdict: Verdict,
    outlook: Outlook | None,
    *,
    delta: float,
    test_images: int,
    left_out: Mapping[str, LeftOut],
    metric: MetricName = "accuracy",
    seed: int = 0,
) -> ForecastContent:
    """What the arms' validation answers, the race and the outlook foretell.

    Raises ValueError where nothing was chosen.
    """
    known = {arm.strategy: arm for arm in arms if arm.correct is not None}
    done = [arm for arm in known.values() if arm.state == "done"]
    if verdict.choice is None:
        raise ValueError("without a choice there is nothing to foretell")
    choice = known[verdict.choice]
    second = _runner_up(known.values(), choice)
    pair = None
    if second is not None and second in done:
        pair = _difference(choice, second, delta, test_images, seed)
    return ForecastContent(
        metric=metric,
        choice=choice.strategy,
        runner_up=None if second is None else second.strategy,
        runner_up_is=HOW.format(best=WORDS[metric].best),
        delta=delta,
        test_images=test_images,
        arms=[_arm(arm, test_images) for arm in done],
        difference=pair,
        left_out=_left_out(second, left_out) if second is not None else None,
        catch_up=_catch_up(outlook, known, delta),
        data_worth=_data_worth(outlook),
    )


def _runner_up(arms: Iterable[ArmEvidence], choice: ArmEvidence) -> ArmEvidence | None:
    others = [
        arm
        for arm in arms
        if arm is not choice and arm.strategy != CONTROL and arm.state in ("done", "pruned")
    ]
    return max(others, key=lambda arm: (mean_accuracy(arm), -arm.cost.flops), default=None)


def _first(arm: ArmEvidence) -> Correct:
    """Answers of the first seed, whose model is kept."""
    assert arm.correct is not None
    return arm.correct[:1]


def _arm(arm: ArmEvidence, test_images: int) -> ArmForecast:
    correct = _first(arm)
    measured = accuracy_estimate(correct)
    return ArmForecast(
        strategy=arm.strategy,
        accuracy=Interval(**asdict(measured)),
        on_test=_on_test(measured, correct.shape[1], test_images, 0.0),
    )


def _on_test(measured: Estimate, seen: int, test: int, lowest: float) -> Interval | None:
    return Interval(**asdict(on_new_images(measured, seen, test, lowest))) if test else None


def compared(names: tuple[str, str], a: Correct, b: Correct, delta: float, seed: int) -> Pair:
    """How the models of two arms compare on the same images; `a` and `b` are [1, n]."""
    accuracies = granted_bootstrap([a, b], seed=seed)
    return paired(names, (a, b), accuracies[:, 0] - accuracies[:, 1], delta)


def _difference(
    a: ArmEvidence, b: ArmEvidence, delta: float, test_images: int, seed: int
) -> DifferenceForecast:
    pair = compared((a.strategy, b.strategy), _first(a), _first(b), delta, seed)
    measured = Estimate(pair.difference, pair.low, pair.high)
    return DifferenceForecast(
        a=pair.a,
        b=pair.b,
        difference=Interval(**asdict(measured)),
        p_a_better=pair.p_a_better,
        on_test=_on_test(measured, _first(a).shape[1], test_images, -1.0),
    )


def _left_out(arm: ArmEvidence, left_out: Mapping[str, LeftOut]) -> LeftOutForecast | None:
    why = left_out.get(arm.strategy)
    if arm.state != "pruned" or why is None or why.goal is None:
        return None
    return LeftOutForecast(
        strategy=arm.strategy,
        accuracy=mean_accuracy(arm),
        goal=why.goal,
        probability=why.probability,
        reason=why.reason,
    )


def _catch_up(
    outlook: Outlook | None, known: Mapping[str, ArmEvidence], delta: float
) -> CatchUpForecast | None:
    if outlook is None:
        return None
    return CatchUpForecast(
        **asdict(outlook.catch_up),
        scratch=outlook.scratch,
        pretrained=outlook.pretrained,
        delta=delta,
        goal=mean_accuracy(known[outlook.pretrained]) - delta,
    )


def _data_worth(outlook: Outlook | None) -> DataWorthAnswer | None:
    if outlook is None or outlook.data_worth is None:
        return None
    return DataWorthAnswer.model_validate(asdict(outlook.data_worth))
