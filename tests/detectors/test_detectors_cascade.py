"""Cascades: stages by hand, and switched on late."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from headstart.detectors import Detector, DetectorSpecification, build
from headstart.detectors.cascade import CASCADE, Stage
from headstart.errors import HeadstartError

Specify = Callable[..., DetectorSpecification]
Examples = Callable[..., tuple[list[Tensor], list[dict[str, Tensor]]]]
SECOND = "loss_classifier_2"


def stage(index: int) -> Stage:
    return Stage(nn.Identity(), nn.Identity(), *CASCADE[index])


def losses(detector: Detector, examples: Examples) -> dict[str, Tensor]:
    torch.manual_seed(0)
    found: dict[str, Tensor] = detector.train()(*examples(2, 1))
    return found


def test_the_stages_are_the_papers() -> None:
    assert CASCADE == ((0.5, 10.0), (0.6, 20.0), (0.7, 30.0))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_regions_move_as_by_hand(index: int) -> None:
    scale = CASCADE[index][1]
    # A tenth of the width to the right, a fifth of the height down, twice as wide, as high.
    corrections = torch.tensor([[0.1, 0.2, math.log(2) / 2, 0.0]]) * scale
    corrections = corrections.repeat(1, 3)  # the same for every class
    region = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    (moved,) = stage(index).moved(corrections, [region], [(100, 100)])
    assert torch.allclose(moved, torch.tensor([[2.0, 28.0, 42.0, 68.0]]), atol=1e-4)
    (clipped,) = stage(index).moved(corrections, [region], [(60, 40)])
    assert torch.allclose(clipped, torch.tensor([[2.0, 28.0, 40.0, 60.0]]), atol=1e-4)


def test_each_stage_asks_for_more_overlap() -> None:
    # Of the box [0, 0, 10, 10]: overlaps 0.45, 0.55, 0.65 and 0.75; and one elsewhere.
    sides = [4.5, 5.5, 6.5, 7.5]
    regions = torch.tensor([[0.0, 0, 10, s] for s in sides] + [[50.0, 50, 60, 60]])
    target = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([2])}
    expected = [[0, 2, 2, 2, 0], [0, 0, 2, 2, 0], [0, 0, 0, 2, 0]]
    for index, wanted in enumerate(expected):
        objects, labels, boxes = stage(index).label([regions], [target])
        assert labels[0].tolist() == wanted
        assert objects[0].tolist() == [0] * 5
        scale = CASCADE[index][1]
        # The last of the four must move down by 1.25 of 7.5 and grow by 10 / 7.5.
        by_hand = [0.0, scale * 1.25 / 7.5, 0.0, scale / 2 * math.log(10 / 7.5)]
        assert torch.allclose(boxes[0][3], torch.tensor(by_hand), atol=1e-4)


def test_images_without_objects_are_background_in_every_stage() -> None:
    empty = {"boxes": torch.empty(0, 4), "labels": torch.empty(0, dtype=torch.int64)}
    _, labels, _ = stage(2).label([torch.tensor([[0.0, 0, 10, 10]])], [empty])
    assert labels[0].tolist() == [0]


def test_while_off_the_later_stages_change_nothing(specify: Specify, examples: Examples) -> None:
    first, second = (build(specify(cascade=True), "random") for _ in range(2))
    with torch.no_grad():
        for parameter in second.heads.later.parameters():
            parameter.add_(torch.randn_like(parameter))
    found = []
    for detector in (first, second):
        detector.set_cascade(False)
        found.append(losses(detector, examples))
        sum(found[-1].values()).backward()
        assert all(p.grad is None for p in detector.heads.later.parameters())
    assert SECOND not in found[0]
    assert all(torch.equal(loss, found[1][name]) for name, loss in found[0].items())
    assert torch.equal(
        first.heads.box_predictor.bbox_pred.weight.grad,
        second.heads.box_predictor.bbox_pred.weight.grad,
    )
    images, _ = examples(1)
    ours, theirs = first.eval()(images)[0], second.eval()(images)[0]
    assert torch.equal(ours["scores"], theirs["scores"])


def test_switched_on_late_the_first_stage_goes_on_and_the_others_are_its_copies(
    specify: Specify, examples: Examples
) -> None:
    detector = build(specify(cascade=True), "random")
    fresh = detector.heads.later[0].head.state_dict()
    assert not all(
        torch.equal(v, detector.heads.box_head.state_dict()[k]) for k, v in fresh.items()
    )
    detector.set_cascade(False)
    before = losses(detector, examples)
    weights = [p.detach().clone() for p in detector.heads.box_head.parameters()]
    detector.set_cascade(True)
    after = losses(detector, examples)
    now = detector.heads.box_head.parameters()
    assert all(torch.equal(a, b) for a, b in zip(weights, now, strict=True))
    assert all(torch.equal(loss, after[name]) for name, loss in before.items())
    assert {SECOND, "loss_box_reg_3"} <= after.keys()
    own = detector.heads.box_head.state_dict()
    for later in detector.heads.later:
        assert all(torch.equal(v, own[k]) for k, v in later.head.state_dict().items())


def test_later_stages_that_have_trained_are_not_copied_over(
    specify: Specify, examples: Examples
) -> None:
    detector = build(specify(cascade=True), "random")
    losses(detector, examples)
    resumed = build(specify(cascade=True), "random", seed=1)
    resumed.load_state_dict(detector.state_dict())
    for each in (detector, resumed):
        kept = {k: v.clone() for k, v in each.heads.later.state_dict().items()}
        each.set_cascade(False)
        each.set_cascade(True)
        now = each.heads.later.state_dict()
        assert all(torch.equal(v, now[k]) for k, v in kept.items())


def test_whether_it_is_on_is_kept_with_the_weights(specify: Specify) -> None:
    detector, other = (build(specify(cascade=True), "random") for _ in range(2))
    detector.set_cascade(False)
    other.load_state_dict(detector.state_dict())
    assert not other.heads.is_cascade


def test_all_stages_learn_and_share_the_gradient_into_the_maps(
    specify: Specify, examples: Examples
) -> None:
    detector = build(specify(cascade=True), "random")
    gradients = []
    for on in (False, True):
        detector.zero_grad()
        detector.set_cascade(on)
        losses(detector, examples)["loss_classifier"].backward()
        gradients.append(detector.backbone.chain.network.conv_stem.weight.grad.clone())
    assert torch.allclose(gradients[0] / 3, gradients[1], rtol=1e-3, atol=1e-9)
    detector.zero_grad()
    sum(losses(detector, examples).values()).backward()
    assert all(p.grad is not None for p in detector.heads.later.parameters())


class _Answers(nn.Module):
    """A predictor of known scores and corrections."""

    def __init__(self, scores: list[float], corrections: list[float]) -> None:
        super().__init__()
        self.scores = torch.tensor([scores]).log()
        self.corrections = torch.tensor([corrections]).repeat(1, len(scores))

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        return self.scores.repeat(len(codes), 1), self.corrections.repeat(len(codes), 1)


def test_answers_are_the_mean_score_and_the_last_stages_box(specify: Specify) -> None:
    heads = build(specify(cascade=True, classes=1), "random").heads
    # Each stage moves the region, 20 px wide, to the right by 1 px.
    step = 1 / 20
    heads.box_predictor = _Answers([0.1, 0.9], [10 * step, 0, 0, 0])
    for later, score, (_, scale) in zip(heads.later, (0.6, 0.3), CASCADE[1:], strict=True):
        later.predictor = _Answers([1 - score, score], [scale * step, 0, 0, 0])
    maps = {str(level): torch.zeros(1, 32, 16 >> level, 16 >> level) for level in range(4)}
    (found,) = heads.detect(maps, [torch.tensor([[10.0, 10, 30, 30]])], [(64, 64)])
    assert torch.allclose(found["boxes"], torch.tensor([[13.0, 10, 33, 30]]), atol=1e-3)
    assert float(found["scores"][0]) == pytest.approx(0.6)
    heads.switch(False)
    (found,) = heads.detect(maps, [torch.tensor([[10.0, 10, 30, 30]])], [(64, 64)])
    assert torch.allclose(found["boxes"], torch.tensor([[11.0, 10, 31, 30]]), atol=1e-3)
    assert float(found["scores"][0]) == pytest.approx(0.9)


def test_masks_are_learned_on_the_last_stages_regions(
    specify: Specify, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = build(specify(cascade=True, family="mask-rcnn"), "random")
    regions: list[Tensor] = []
    last: list[tuple[list[Tensor], list[Tensor]]] = []
    label = Stage.label

    def noted(self: Stage, found: list[Tensor], targets: list[dict[str, Tensor]]) -> object:
        answer = label(self, found, targets)
        last.append((found, answer[1]))
        return answer

    monkeypatch.setattr(Stage, "label", noted)
    detector.heads.mask_roi_pool.register_forward_pre_hook(
        lambda _, inputs: regions.extend(inputs[1])
    )
    losses(detector, examples)
    found, labels = last[-1]
    expected = [each[kept > 0] for each, kept in zip(found, labels, strict=True)]
    assert sum(map(len, expected))
    assert all(torch.equal(a, b) for a, b in zip(regions, expected, strict=True))


def test_without_a_cascade_there_is_nothing_to_switch(specify: Specify) -> None:
    with pytest.raises(HeadstartError, match="cascade=True"):
        build(specify(), "random").set_cascade(True)
