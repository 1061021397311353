"""Every detector trains and answers; its parts are those that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from headstart.backbones import batchnorm_to_groupnorm, load
from headstart.detectors import Detector, DetectorSpecification, build
from headstart.errors import HeadstartError

Specify = Callable[..., DetectorSpecification]
Examples = Callable[..., tuple[list[Tensor], list[dict[str, Tensor]]]]
FAMILIES = ("faster-rcnn", "mask-rcnn", "keypoint-rcnn", "retinanet", "fcos")
CASES = [*((f, False) for f in FAMILIES), *((f, True) for f in FAMILIES[:3])]
BATCHNORM = "timm/test_efficientnet"


def without_backbone(detector: Detector) -> dict[str, Tensor]:
    return {k: v for k, v in detector.state_dict().items() if ".chain." not in k}


@pytest.mark.parametrize(("family", "cascade"), CASES)
def test_every_detector_trains_with_objects_and_without_and_answers(
    family: str, cascade: bool, specify: Specify, examples: Examples
) -> None:
    detector = build(specify(family=family, cascade=cascade), "random").train()
    assert all(p.requires_grad for p in detector.parameters())
    for counts in ((2, 1), (0, 2), (0, 0)):
        torch.manual_seed(0)
        detector.zero_grad()
        losses = detector(*examples(*counts))
        sum(losses.values()).backward()
        assert all(bool(p.grad.isfinite().all()) for p in detector.parameters())
    images, _ = examples(1, 1)
    found = detector.eval()(images)
    expected = {"boxes", "labels", "scores"}
    expected |= {"mask-rcnn": {"masks"}}.get(family, set())
    expected |= {"keypoint-rcnn": {"keypoints", "keypoints_scores"}}.get(family, set())
    for each in found:
        assert set(each) == expected
        assert set(each["labels"].tolist()) <= {1, 2}
        assert bool(((each["boxes"] >= 0) & (each["boxes"] <= 64)).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_learns_one_image_by_heart(
    family: str, specify: Specify, examples: Examples
) -> None:
    detector = build(specify(family=family, cascade=family == "faster-rcnn"), "random").train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=3e-3)
    losses = []
    for step in range(12):
        torch.manual_seed(step)
        loss = sum(detector(*examples(2)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def kinds(module: nn.Module) -> set[str]:
    norms = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, FrozenBatchNorm2d)
    return {type(m).__name__ for m in module.modules() if isinstance(m, norms)}


@pytest.mark.parametrize(
    ("normalization", "backbone", "parts"),
    [
        ("group", {"GroupNorm", "GroupNormAct"}, {"GroupNorm"}),
        ("batch", {"BatchNormAct2d"}, {"BatchNorm2d"}),
        ("sync-batch", {"SyncBatchNormAct"}, {"SyncBatchNorm"}),
    ],
)
def test_normalization_is_a_property_of_the_whole(
    normalization: str, backbone: set[str], parts: set[str], specify: Specify
) -> None:
    wanted = specify(family="mask-rcnn", backbone=BATCHNORM, normalization=normalization)
    detector = build(wanted, "random")
    assert kinds(detector.backbone.chain) <= backbone
    assert kinds(detector.backbone.chain)
    heads = detector.heads
    assert detector.backbone.fpn is not None
    for part in (detector.backbone.fpn, heads.box_head, heads.mask_head):
        assert kinds(part) == parts
    assert not kinds(detector.network.rpn)
    convolutions = [m for m in heads.box_head.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 4


def test_live_batchnorm_trains_where_no_image_has_objects(
    specify: Specify, examples: Examples
) -> None:
    wanted = specify(family="mask-rcnn", backbone=BATCHNORM, normalization="batch")
    detector = build(wanted, "random").train()
    sum(detector(*examples(0, 0)).values()).backward()
    assert all(bool(t.isfinite().all()) for t in detector.state_dict().values())


@pytest.mark.parametrize(
    ("options", "weights", "said"),
    [
        ({"backbone": "efficientnet_lite0"}, "pretrained", "learned with BatchNorm"),
        ({"backbone": BATCHNORM, "normalization": "frozen-batch"}, "random", "to freeze"),
        ({"backbone": BATCHNORM, "normalization": "none"}, "random", "cannot be 'none'"),
        ({"normalization": "batch"}, "random", "has no BatchNorm"),
        ({"backbone": "torchvision/squeezenet1_1"}, "random", "Use 'none'"),
        ({"backbone": "resnext152_8x32d"}, "pretrained", "Give a file"),
        (
            {"backbone": "torchvision/alexnet", "normalization": "none"},
            "random",
            "no map of stride 4",
        ),
    ],
)
def test_what_would_not_be_what_it_says_is_refused(
    options: dict[str, Any], weights: str, said: str, specify: Specify
) -> None:
    with torch.device("meta"), pytest.raises(HeadstartError, match=said):
        build(specify(**options), weights)


def test_synchronized_batchnorm_does_not_train_on_a_cpu_unnoticed(
    specify: Specify, examples: Examples
) -> None:
    detector = build(specify(backbone=BATCHNORM, normalization="sync-batch"), "random")
    with pytest.raises(HeadstartError, match="CPU"):
        detector.train()(*examples(1))
    detector.eval()(examples(1)[0])


def test_targets_that_lack_something_are_refused(specify: Specify, examples: Examples) -> None:
    detector = build(specify(family="mask-rcnn"), "random").train()
    images, targets = examples(2)
    with pytest.raises(HeadstartError, match="no 'masks'"):
        detector(images, [{k: v for k, v in targets[0].items() if k != "masks"}])
    with pytest.raises(HeadstartError, match="from 1 to 3"):
        detector(images, [{**targets[0], "labels": torch.tensor([1, 3])}])


def test_arms_of_one_seed_begin_with_the_same_heads(specify: Specify, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save(timm.create_model("test_efficientnet_gn").state_dict(), file)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    wanted = specify(family="mask-rcnn", cascade=True)
    random, filled, other = (
        build(wanted, "random", seed=1),
        build(wanted, file, seed=1),
        build(wanted, "random", seed=2),
    )
    assert torch.equal(torch.get_rng_state(), before)  # the caller's draws go on
    ours, theirs = without_backbone(random), without_backbone(filled)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    drawn = [k for k, v in ours.items() if v.ndim > 1]
    others = without_backbone(other)
    assert not any(torch.equal(ours[name], others[name]) for name in drawn)
    stem = "network.backbone.chain.network.conv_stem.weight"
    assert torch.equal(filled.state_dict()[stem], torch.load(file)["conv_stem.weight"])
    assert not torch.equal(filled.state_dict()[stem], random.state_dict()[stem])


def test_a_file_fits_the_normalization_it_was_learned_with(
    specify: Specify, tmp_path: Path
) -> None:
    file = tmp_path / "batchnorm.pt"
    torch.save(timm.create_model("test_efficientnet").state_dict(), file)
    wanted = specify(backbone=BATCHNORM, normalization="group")
    with pytest.raises(HeadstartError, match="BatchNorm statistics"):
        build(wanted, file)
    learned = load(BATCHNORM, "random")
    batchnorm_to_groupnorm(learned.network)
    own = tmp_path / "groupnorm.pt"
    torch.save(learned.network.state_dict(), own)
    detector = build(wanted, own, seed=3)
    name = "conv_stem.weight"
    chain = detector.backbone.chain
    assert torch.equal(chain.network.state_dict()[name], learned.network.state_dict()[name])
    assert detector.origin.weights == "groupnorm.pt"
    assert detector.origin.loaded > 20


def test_frozen_batchnorm_is_the_pretrained_ones_constants(
    specify: Specify, examples: Examples
) -> None:
    wanted = specify(backbone="efficientnet_lite0", normalization="frozen-batch")
    detector = build(wanted, "pretrained").train()
    own = load("efficientnet_lite0", "pretrained").network.state_dict()
    sum(detector(*examples(1)).values()).backward()
    kept = detector.backbone.chain.network.state_dict()
    assert torch.equal(kept["bn1.running_mean"], own["bn1.running_mean"])
    assert torch.equal(kept["bn1.weight"], own["bn1.weight"])
    names = {n for n, _ in detector.named_parameters()}
    assert not any(".bn" in name for name in names)


def test_it_computes_what_torchvisions_faster_rcnn_computes(
    specify: Specify, examples: Examples, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pt")
    wanted = specify(
        backbone="torchvision/resnet18", normalization="frozen-batch", channels=256, regions=512
    )
    ours = build(wanted, tmp_path / "resnet18.pt")
    sizes = tuple((size,) for size in wanted.anchors)
    body = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=5
    )
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)
    theirs = FasterRCNN(body, 3, min_size=64, max_size=64, rpn_anchor_generator=anchors)
    state = {
        k.replace("backbone.chain.network.", "backbone.body."): v
        for k, v in ours.network.state_dict().items()
    }
    theirs.load_state_dict(state)
    images, targets = examples(2, 1)
    losses = []
    for network in (ours, theirs):
        torch.manual_seed(3)
        losses.append(network.train()(images, targets))
    assert losses[0].keys() == losses[1].keys()
    for name, loss in losses[0].items():
        assert torch.allclose(loss, losses[1][name], atol=1e-5)
    for mine, known in zip(ours.eval()(images), theirs.eval()(images), strict=True):
        assert len(mine["boxes"])
        assert torch.allclose(mine["boxes"], known["boxes"], atol=1e-3)
        assert torch.allclose(mine["scores"], known["scores"], atol=1e-5)


def test_the_first_images_seen_do_not_decide_how_regions_are_pooled(specify: Specify) -> None:
    wanted = specify()
    images = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(2))]
    first, second = build(wanted, "random"), build(wanted, "random")
    second([torch.rand(3, 40, 64)])  # 40 rows are padded to 64
    assert torch.equal(first(images)[0]["scores"], second(images)[0]["scores"])


@pytest.mark.parametrize(("resizes", "side"), [(True, 64), (False, 96)])
def test_batches_that_come_at_their_sizes_are_not_resized(
    resizes: bool, side: int, specify: Specify, examples: Examples
) -> None:
    detector = build(specify(resize_in_training=resizes), "random")
    seen: list[int] = []
    detector.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    _, targets = examples(1)
    images = [torch.rand(3, 96, 96)]
    detector.train()(images, targets)
    detector.eval()(images)
    assert seen == [side, 64]  # to be judged, images are always resized
