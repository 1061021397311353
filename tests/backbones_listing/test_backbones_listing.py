"""Every name is listed with what is true of it, without building networks or asking a network."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch
import torchvision
from timm.models import get_pretrained_cfg

from headstart.backbones import load, names
from headstart.backbones.listing import details, find, listing
from headstart.cli.models import backbones
from headstart.errors import HeadstartError


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(socket, "socket", None)


def test_all_names_in_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.Module, "__init__", None)  # nothing is built
    begun = time.perf_counter()
    rows = listing()
    assert time.perf_counter() - begun < 5
    assert [row.name for row in rows] == names()
    assert len(rows) > 1000
    assert [row.name for row in rows if row.on_disk] == ["efficientnet_lite0"]


def test_what_the_libraries_say_is_repeated() -> None:
    rows = {row.name: row for row in listing()}
    resnet = rows["timm/resnet50"]
    assert (resnet.family, resnet.input_size) == ("resnet", 224)
    assert resnet.pretrained
    assert resnet.licence == get_pretrained_cfg("resnet50").license
    assert rows["torchvision/efficientnet_b3"].input_size == 300
    assert rows["torchvision/resnet18"].licence == ""  # torchvision states none
    assert "SWAG" in rows["torchvision/vit_h_14"].licence
    assert rows["efficientnet_lite0"].licence == "Apache-2.0"
    untrained = next(r for r in rows.values() if not r.pretrained)
    assert not get_pretrained_cfg(untrained.name.removeprefix("timm/")).has_weights


def test_weights_on_disk_are_seen(tmp_path: Path) -> None:
    url = torchvision.models.get_model_weights("alexnet").DEFAULT.url
    files = [tmp_path / "torch" / "hub" / "checkpoints" / url.rpartition("/")[2]]
    for name, file in (("resnet18", "model.safetensors"), ("vgg11", "pytorch_model.bin")):
        repository = (
            tmp_path / "hf" / ("models--" + get_pretrained_cfg(name).hf_hub_id.replace("/", "--"))
        )
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        files.append(repository / "snapshots" / ("0" * 40) / file)
    for file_path in files:
        file_path.parent.mkdir(parents=True)
        file_path.touch()
    there = {row.name for row in listing() if row.on_disk}
    assert there == {"efficientnet_lite0", "torchvision/alexnet", "timm/resnet18", "timm/vgg11"}


def test_searching() -> None:
    assert {row.name for row in find("Lite0")} >= {
        "efficientnet_lite0",
        "timm/tf_efficientnet_lite0",
    }
    assert all("vgg" in row.name for row in find("vgg"))
    with pytest.raises(HeadstartError, match="No network's name holds 'resnet5000'"):
        find("resnet5000")


def test_families_are_the_libraries_own() -> None:
    rows = {row.name: row.family for row in listing()}
    assert rows["timm/vit_base_patch16_siglip_224"] == "vision_transformer"
    assert rows["torchvision/wide_resnet50_2"] == "resnet"
    assert rows["efficientnet_lite0"] == "efficientnet"
    assert all(rows.values())


@pytest.mark.parametrize("name", ["efficientnet_lite0", "timm/test_resnet.r160_in1k"])
def test_one_network_has_its_stages(name: str) -> None:
    shown = details(name)
    chain = load(name, "random")
    assert [row["name"] for row in shown["stages"]] == [*chain.stage_names, "head"]
    assert shown["stages"][-1]["shape"] == (chain.classifier.out_features,)
    assert shown["parameters"] == sum(p.numel() for p in chain.network.parameters())
    assert shown["flops"] == sum(row["flops"] for row in shown["stages"]) > 0
    assert shown["preprocessing"] == chain.preprocessing.to_json()
    assert shown["name"] == name
    assert shown["pretrained"]
    assert shown["changes"] == []


def test_one_network_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    backbones("torchvision/squeezenet1_1")
    said = capsys.readouterr().out
    assert "torchvision/squeezenet1_1 (squeezenet): images of 224 px, 1,235,496 parameters" in said
    assert "0.70 GFLOPs" in said  # 0.349 giga multiply-adds, as torchvision counts them
    assert "downloaded when first used; their licence: not stated by its library." in said
    assert "features.3" in said


def test_details_of_what_is_no_network_are_refused() -> None:
    with pytest.raises(HeadstartError, match="no network 'resnet5000'"):
        details("timm/resnet5000")
