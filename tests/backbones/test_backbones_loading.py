"""Names to networks, and the embedded one on real photographs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from PIL import Image
from torch import Tensor

from headstart.backbones import EMBEDDED, Chain, at_size, load, names
from headstart.data import RawBatch, center_crop, normalize, resize_for
from headstart.errors import HeadstartError

SMALL = "timm/mobilenetv3_small_050"


@pytest.fixture(scope="module")
def embedded() -> Chain:
    return load()


def prepared(chain: Chain, file: Path) -> Tensor:
    """[3, S, S] as the chain wants it."""
    with Image.open(file) as image:
        pixels = torch.from_numpy(resize_for(image.convert("RGB"), chain.preprocessing))
    pixels = pixels.permute(2, 0, 1)[None]
    sizes = torch.tensor([pixels.shape[-2:]])
    batch = RawBatch(pixels, sizes, sizes[:, 0].numpy())
    return normalize(center_crop(batch, chain.preprocessing.image_size), chain.preprocessing)[0]


@torch.no_grad()
def top1(chain: Chain, folder: Path, every: int) -> float:
    with (folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))[::every]
    right = 0
    for start in range(0, len(rows), 25):
        part = rows[start : start + 25]
        images = torch.stack([prepared(chain, folder / "images" / row["file"]) for row in part])
        answers = chain(images.contiguous(memory_format=torch.channels_last)).argmax(1)
        right += sum(
            int(row["class_index"]) == a for row, a in zip(part, answers.tolist(), strict=True)
        )
    return right / len(rows)


@pytest.mark.shared
def test_the_embedded_network_knows_photographs(embedded: Chain, imagenet_sample: Path) -> None:
    """Fifty-nine of them; the whole sample is for `make test-all`."""
    assert top1(embedded, imagenet_sample, every=17) >= 0.75


@pytest.mark.shared
@pytest.mark.slow
def test_the_embedded_network_is_as_good_as_it_was_trained(
    embedded: Chain, imagenet_sample: Path
) -> None:
    assert top1(embedded, imagenet_sample, every=1) >= 0.85


SQUEEZENET = "squeezenet1_0_imagenet_rgb_norm.safetensors"


@pytest.mark.shared
def test_squeezenet_from_a_file_knows_photographs(imagenet_sample: Path) -> None:
    """A hundred and twenty-five of them; torchvision's own preprocessing is the file's."""
    file = imagenet_sample.parents[1] / "weights" / SQUEEZENET
    if not file.is_file():
        pytest.skip("the weights ../shared/weights/squeezenet1_0... are missing")
    chain = load("torchvision/squeezenet1_0", file)
    assert chain.origin.loaded == 52
    assert top1(chain, imagenet_sample, every=8) >= 0.58


@pytest.mark.shared
@pytest.mark.slow
@torch.no_grad()
def test_squeezenet_knows_whole_photographs(imagenet_sample: Path) -> None:
    """It takes any size: the whole photograph at its own shorter side, 0.65 of 1000.

    Of the centre, 224 of 256 pixels, it knows 0.61.
    """
    file = imagenet_sample.parents[1] / "weights" / SQUEEZENET
    if not file.is_file():
        pytest.skip("the weights ../shared/weights/squeezenet1_0... are missing")
    chain = load("torchvision/squeezenet1_0", file)
    with (imagenet_sample / "labels.csv").open() as table:
        rows = list(csv.DictReader(table))
    right = 0
    for row in rows:
        with Image.open(imagenet_sample / "images" / row["file"]) as image:
            pixels = torch.from_numpy(resize_for(image.convert("RGB"), chain.preprocessing))
        whole = normalize(pixels.permute(2, 0, 1)[None].float(), chain.preprocessing)
        right += int(chain(whole).argmax()) == int(row["class_index"])
    assert right / len(rows) >= 0.64


def test_the_embedded_weights_are_counted_and_named(embedded: Chain) -> None:
    tensors = [n for n in embedded.network.state_dict() if not n.endswith("num_batches_tracked")]
    assert embedded.origin.loaded == len(tensors)
    assert embedded.origin.name == EMBEDDED
    assert embedded.origin.licence == "Apache-2.0"
    assert len(embedded.origin.digest) == 64
    assert embedded.origin.digest == load().origin.digest


def test_networks_come_ready_for_inference(embedded: Chain) -> None:
    assert not any(module.training for module in embedded.modules())


def test_the_embedded_preprocessing_is_its_trainings_own(embedded: Chain) -> None:
    grey = torch.tensor([0.0, 127.0, 255.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    seen = normalize(grey, embedded.preprocessing)[0, 0, 0]
    assert seen.tolist() == pytest.approx([-127 / 128, 0.0, 1.0], abs=1e-6)
    assert embedded.preprocessing.image_size == 224


def test_preprocessing_is_the_published_one() -> None:
    """As the publishers print it: timm's resnet18.a1_in1k, torchvision's IMAGENET1K_V1."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    timms = load("timm/resnet18", "random").preprocessing
    assert (timms.mean, timms.std, timms.interpolation) == (mean, std, "bicubic")
    assert (timms.image_size, timms.crop) == (224, 0.95)
    theirs = load("torchvision/resnet18", "random").preprocessing
    assert (theirs.mean, theirs.std, theirs.interpolation) == (mean, std, "bilinear")
    assert (theirs.image_size, theirs.resize) == (224, 256)
    vit = load("timm/vit_tiny_patch16_224", "random").preprocessing
    assert (vit.mean, vit.std, vit.crop) == ((0.5,) * 3, (0.5,) * 3, 0.9)


def test_preprocessing_follows_torchvisions_newer_weights_too() -> None:
    """resnet50's IMAGENET1K_V2 are resized to 232 and cut to 224."""
    preprocessing = load("torchvision/resnet50", "random").preprocessing
    assert (preprocessing.image_size, preprocessing.resize) == (224, 232)


# Random weights.


def same(a: Chain, b: Chain) -> bool:
    pairs = zip(a.network.state_dict().values(), b.network.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_random_weights_depend_on_the_seed_alone_and_draw_from_nobody_else() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = load(SMALL, "random", seed=4)
    assert torch.equal(torch.rand(3), expected)
    assert same(first, load(SMALL, "random", seed=4))
    assert not same(first, load(SMALL, "random", seed=5))
    assert (first.origin.digest, first.origin.loaded, first.origin.weights) == ("", 0, "random")


# Names.


def test_a_copy_is_as_loaded_and_has_tensors_of_its_own() -> None:
    chain = load(SMALL, "random")
    images = torch.rand(2, 3, 64, 64)
    scores = chain(images).detach()
    copy = chain.to(memory_format=torch.channels_last).train().copied()
    assert torch.equal(copy(images), scores)  # in inference, and contiguous: the same bits
    copy.replace_classifier(3, 0)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    assert torch.allclose(chain.eval()(images), scores, atol=1e-5)


@pytest.mark.parametrize("name", [SMALL, "timm/vit_tiny_patch16_224"])
def test_for_another_size_a_network_is_as_if_loaded_for_it(name: str) -> None:
    there, loaded = at_size(load(name, "random"), "random", 64), load(name, "random", image_size=64)
    assert there.preprocessing == loaded.preprocessing
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(there.network(images), loaded.network(images))


def test_every_kind_of_name_is_listed() -> None:
    listed = names()
    assert listed[0] == EMBEDDED
    assert {"timm/resnet18", "torchvision/resnet18", "timm/vit_tiny_patch16_224"} <= set(listed)
    assert not [name for name in listed if "fasterrcnn" in name or "deeplab" in name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet18", "Use efficientnet_lite0, timm/NAME or torchvision/NAME"),
        ("keras/resnet18", "Unknown backbone 'keras/resnet18'"),
        ("timm/resnet_18", r"timm has no network 'resnet_18'.*resnet18"),
        ("timm/resnet18.a1_in1x", r"no network 'resnet18.a1_in1x'.*resnet18.a1_in1k"),
        ("torchvision/resnet_18", r"torchvision has no network 'resnet_18'.*resnet18"),
        ("torchvision/fasterrcnn_resnet50_fpn", "torchvision has no network"),
        ("timm/", "headstart backbones"),
    ],
)
def test_unknown_names_are_refused_with_what_to_do(name: str, words: str) -> None:
    with pytest.raises(HeadstartError, match=words) as caught:
        load(name, "random")
    assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/resnet18.a1_in1k", "torchvision/resnet18"])
def test_weights_that_cannot_be_downloaded_are_named_with_a_way_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("We couldn't connect to the hub.\nCheck your connection.\nMore.")

    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(torchvision.models, "get_model", offline)
    with pytest.raises(HeadstartError) as caught:
        load(name)
    message = str(caught.value)
    assert f"The weights of {name} could not be loaded (We couldn't connect" in message
    assert "--weights FILE" in message
    assert message.count("\n") == 0
