"""Arms that differ in more than weights are found; frozen stages stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from headstart.detectors import (
    Detector,
    DetectorSpecification,
    build,
    freeze,
    parameter_groups,
    same_but_weights,
)
from headstart.errors import HeadstartError

Specify = Callable[..., DetectorSpecification]
Examples = Callable[..., tuple[list[Tensor], list[dict[str, Tensor]]]]
BATCHNORM = "timm/test_efficientnet"


@pytest.fixture
def learned(tmp_path: Path) -> Callable[[str], Path]:
    """A file of weights for a network."""

    def make(name: str) -> Path:
        file = tmp_path / f"{name}.pt"
        torch.manual_seed(0)
        torch.save(timm.create_model(name).state_dict(), file)
        return file

    return make


@pytest.mark.parametrize("family", ["mask-rcnn", "fcos"])
def test_arms_of_one_specification_differ_in_weights_alone(
    family: str, specify: Specify, learned: Callable[[str], Path]
) -> None:
    wanted = specify(family=family)
    first = build(wanted, learned("test_efficientnet_gn"))
    same_but_weights(first, build(wanted, "random", seed=1))


def test_the_embedded_network_is_the_same_with_its_weights_and_without(specify: Specify) -> None:
    wanted = specify(backbone="efficientnet_lite0", normalization="batch")
    first, second = (build(wanted, weights) for weights in ("pretrained", "random"))
    same_but_weights(first, second)
    ours, theirs = first.backbone.chain.state_dict(), second.backbone.chain.state_dict()
    assert not any(torch.equal(v, theirs[k]) for k, v in ours.items() if v.ndim == 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"channels": 64}, "settings: channels: 32 and 64"),
        ({"normalization": "batch"}, "normalization: group and batch"),
        ({"short_side": 48}, "short_side: 64 and 48"),
        ({"cascade": True}, "cascade: False and True"),
    ],
)
def test_other_specifications_are_named(
    change: dict[str, Any], said: str, specify: Specify
) -> None:
    first = build(specify(backbone=BATCHNORM), "random")
    with pytest.raises(HeadstartError, match=said):
        same_but_weights(first, build(specify(backbone=BATCHNORM, **change), "random"))


def _freeze_a_norm(detector: Detector) -> None:
    norm = detector.backbone.chain.network.bn1
    norm.weight.requires_grad_(False)


def _other_norm(detector: Detector) -> None:
    fpn = detector.backbone.fpn
    assert fpn is not None
    fpn.layer_blocks[0][1] = nn.BatchNorm2d(32)


def _other_epsilon(detector: Detector) -> None:
    fpn = detector.backbone.fpn
    assert fpn is not None
    fpn.layer_blocks[0][1].eps = 1e-3


def _other_mean(detector: Detector) -> None:
    detector.network.transform.image_mean = [0.4, 0.5, 0.5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_freeze_a_norm, "trained tensors: network.*bn1.weight: trained and frozen"),
        (_other_norm, r"modules: network.*GroupNorm\(8, 32.*BatchNorm2d"),
        (_other_epsilon, "eps=1e-05.*eps=0.001"),
        (_other_mean, "preprocessing: image_mean"),
    ],
)
def test_what_was_changed_by_hand_is_found(
    change: Callable[[Detector], None],
    said: str,
    specify: Specify,
    learned: Callable[[str], Path],
) -> None:
    file = learned("test_efficientnet_gn")
    first, second = build(specify(), "random"), build(specify(), file)
    change(second)
    with pytest.raises(HeadstartError, match=said):
        same_but_weights(first, second)


def test_frozen_random_layers_are_refused_and_found(
    specify: Specify, learned: Callable[[str], Path]
) -> None:
    scratch = build(specify(), "random")
    with pytest.raises(HeadstartError, match="keep them random"):
        freeze(scratch, ["stem"])
    next(scratch.parameters()).requires_grad_(False)
    other = build(specify(), learned("test_efficientnet_gn"))
    with pytest.raises(HeadstartError, match="would stay random"):
        same_but_weights(other, scratch)


def test_only_stages_of_the_backbone_can_be_frozen(
    specify: Specify, learned: Callable[[str], Path]
) -> None:
    detector = build(specify(), learned("test_efficientnet_gn"))
    for wrong in ("rpn", "layer7"):
        with pytest.raises(HeadstartError, match=f"'{wrong}' cannot be frozen"):
            freeze(detector, [wrong])


def statistics(detector: Detector) -> dict[str, Tensor]:
    state = detector.backbone.chain.network.state_dict()
    return {k: v.clone() for k, v in state.items() if "running" in k}


def test_frozen_stages_keep_weights_and_statistics(
    specify: Specify, examples: Examples, learned: Callable[[str], Path]
) -> None:
    wanted = specify(backbone=BATCHNORM, normalization="batch")
    detector = build(wanted, learned("test_efficientnet"))
    freeze(detector, ["stem", detector.rows[1]])
    stems = tuple(
        name
        for row in ("stem", detector.rows[1])
        for name in detector.backbone.chain.state_names()[row]
    )
    before = statistics(detector)
    for _ in range(2):  # training mode a second time, as after an evaluation
        detector.eval()
        detector.train()
        sum(detector(*examples(2, 1)).values()).backward()
    after = statistics(detector)
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {name for name in before if name in stems}
    assert moved == {name for name in before if name not in stems}
    network = detector.backbone.chain.network
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == (name in stems)
    freeze(detector, [])
    sum(detector(*examples(2, 1)).values()).backward()
    thawed = statistics(detector)
    assert not any(torch.equal(value, thawed[name]) for name, value in after.items())


def test_every_row_has_its_parameters_and_together_they_are_all(specify: Specify) -> None:
    for family in ("mask-rcnn", "keypoint-rcnn", "retinanet"):
        detector = build(specify(family=family, cascade=family == "mask-rcnn"), "random")
        found = [p for row in detector.rows for _, p in detector.parameters_of(row)]
        assert len({id(p) for p in found}) == len(found)
        assert {id(p) for p in found} == {id(p) for p in detector.parameters()}


def test_norms_and_biases_do_not_decay(specify: Specify) -> None:
    detector = build(specify(family="mask-rcnn"), "random")
    groups = parameter_groups(detector, 0.1)
    assert [group["name"] for group in groups] == ["weights", "normalization", "biases"]
    assert [group["weight_decay"] for group in groups] == [0.1, 0, 0]
    names = {id(p): name for name, p in detector.named_parameters()}
    found = [{names[id(p)] for p in group["params"]} for group in groups]
    assert sum(map(len, found)) == len(set().union(*found)) == len(names)
    kinds = {id(p): m for m in detector.modules() for p in m.parameters(recurse=False)}
    for group, wanted in zip(groups, ("weight", "norm", "bias"), strict=True):
        for parameter in group["params"]:
            module = kinds[id(parameter)]
            if wanted == "norm":
                assert isinstance(module, nn.GroupNorm)
            else:
                assert (parameter is module.weight) == (wanted == "weight")
    torch.optim.SGD(groups, lr=0.1)
