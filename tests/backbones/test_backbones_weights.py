"""Weights files: in from anywhere, out to the plain network, never a silent mismatch (rule 8)."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from headstart.backbones import Chain, batchnorm_to_groupnorm, load
from headstart.backbones import weights as weight_files
from headstart.errors import HeadstartError

SMALL = "timm/mobilenetv3_small_050"


@pytest.fixture(scope="module")
def chain() -> Chain:
    return load(SMALL, "random", seed=1)


@pytest.fixture(scope="module")
def state(chain: Chain) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in chain.network.state_dict().items()}


def write(path: Path, state: object) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def equal(network: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "weights.pt", "weights.pth", "weights.bin"]
)
def test_a_file_gives_back_every_tensor(
    tmp_path: Path, state: dict[str, Tensor], name: str
) -> None:
    again = load(SMALL, write(tmp_path / name, state))
    assert equal(again.network, state)
    assert again.origin.loaded == len(state)
    assert again.origin.weights == name
    assert len(again.origin.digest) == 64
    assert str(tmp_path) not in repr(again.origin)


def test_weights_go_out_to_the_plain_networks_unchanged() -> None:
    mine = load(SMALL, "random", seed=2).network.state_dict()
    timm.create_model("mobilenetv3_small_050").load_state_dict(mine, strict=True)
    mine = load("torchvision/resnet18", "random").network.state_dict()
    torchvision.models.resnet18().load_state_dict(mine, strict=True)


def test_files_are_read_as_trainers_write_them(tmp_path: Path, state: dict[str, Tensor]) -> None:
    parallel = {f"module.{name}": value for name, value in state.items()}
    contents = {
        "lightning.ckpt": {"epoch": 3, "state_dict": state},
        "timm.pth.tar": {"state_dict": parallel, "arch": "mobilenet"},
        "other.pt": {"model": state, "optimizer": {"lr": 0.1}},
    }
    for name, content in contents.items():
        assert equal(load(SMALL, write(tmp_path / name, content)).network, state), name


def test_old_files_without_batch_counts_fit(tmp_path: Path, state: dict[str, Tensor]) -> None:
    old = {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}
    again = load(SMALL, write(tmp_path / "old.pt", old))
    assert again.origin.loaded == len(old)
    assert equal(again.network, {**again.network.state_dict(), **old})


def test_a_classifier_for_other_classes_is_left_out(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    for name, head in (("seven.pt", torch.ones(7, 1024)), ("none.pt", None)):
        other = {n: v for n, v in state.items() if not n.startswith("classifier")}
        if head is not None:
            other |= {"classifier.weight": head, "classifier.bias": torch.ones(7)}
        again = load(SMALL, write(tmp_path / name, other))
        assert again.origin.loaded == len(state) - 2
        assert again.classifier.out_features == 1000
        assert torch.equal(again.network.conv_stem.weight, state["conv_stem.weight"])


def refused(path: Path, name: str = SMALL) -> str:
    with pytest.raises(HeadstartError) as caught:
        load(name, path)
    message = str(caught.value)
    assert str(path) in message
    assert message.count("\n") <= 1
    assert len(message) < 800 + len(str(path))
    return message


def test_weights_of_another_network_are_refused_with_counts_and_names(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = write(tmp_path / "weights.pt", state)
    own = timm.create_model("resnet18").state_dict()
    missing = [n for n in own if n not in state and "num_batches" not in n and n[:3] != "fc."]
    extra = [n for n in state if n not in own and "num_batches" not in n and n[:3] != "fc."]
    message = refused(path, "timm/resnet18")
    assert f"{len(missing)} tensors missing ({', '.join(missing[:3])}, ...)" in message
    assert f"{len(extra)} unexpected ({', '.join(extra[:3])}, ...)" in message


def test_one_tensor_more_less_or_larger_is_refused(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = tmp_path / "weights.pt"
    less = {n: v for n, v in state.items() if n != "blocks.0.0.bn1.running_mean"}
    message = refused(write(path, less))
    assert "1 tensors missing (blocks.0.0.bn1.running_mean), 0 unexpected" in message
    assert "1 unexpected (extra)" in refused(write(path, {**state, "extra": torch.ones(1)}))
    larger = {**state, "conv_stem.weight": torch.ones(16, 3, 5, 5)}
    assert "1 of another shape (conv_stem.weight (16, 3, 5, 5) for" in refused(write(path, larger))


def test_batchnorm_weights_do_not_fit_a_groupnorm_network(
    chain: Chain, state: dict[str, Tensor]
) -> None:
    """load_state_dict(strict=False) would take BatchNorm's weight and bias without a word."""
    network = timm.create_model("mobilenetv3_small_050")
    batchnorm_to_groupnorm(network)
    before = {n: v.clone() for n, v in network.state_dict().items()}
    for content in (state, {n: v for n, v in state.items() if "running_var" not in n}):
        with pytest.raises(HeadstartError, match=r"BatchNorm statistics \(\d+ layers\)"):
            weight_files.fit(network, content, "weights.pt", "classifier")
    assert equal(network, before)
    other = timm.create_model("mobilenetv3_small_050")
    with pytest.raises(HeadstartError, match="tensors missing"):
        weight_files.fit(other, before, "weights.pt", "classifier")


def test_a_refused_file_leaves_the_network_as_it_was(state: dict[str, Tensor]) -> None:
    network = timm.create_model("mobilenetv3_small_050")
    before = {n: v.clone() for n, v in network.state_dict().items()}
    with pytest.raises(HeadstartError):
        weight_files.fit(network, {**state, "extra": torch.ones(1)}, "weights.pt")
    assert equal(network, before)


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_that_would_run_code_is_not_opened(tmp_path: Path, state: dict[str, Tensor]) -> None:
    for name, legacy in (("new.pt", False), ("old.pt", True)):
        path, trap = tmp_path / name, tmp_path / "trap"
        content = {"state_dict": state, "extra": Harmful(trap)}
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        message = refused(path)
        assert "could run code, so it was not opened" in message
        assert "mkdir" in message, "what it would run"
        assert not trap.exists()
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(Harmful(tmp_path / "trap")))
    refused(plain)
    assert not (tmp_path / "trap").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    assert "no weights file" in refused(tmp_path / "missing.pt")
    assert "no weights file" in refused(tmp_path)
    assert "no tensors" in refused(write(tmp_path / "empty.pt", {"epoch": 3}))
    assert "no state dictionary" in refused(write(tmp_path / "list.pt", [torch.ones(3)]))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    assert "not a readable safetensors file" in refused(broken)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_noise_is_not_called_harmful(tmp_path: Path) -> None:
    """Neither is a page that a server sent in the file's place."""
    noise = np.random.default_rng(0).bytes(20_000)
    for i, content in enumerate((noise, b"\x80\x02" + noise, b"PK\x03\x04" + noise, b"<html>")):
        path = tmp_path / f"{i}.pt"
        path.write_bytes(content)
        message = refused(path)
        assert "is not a readable weights file" in message
        assert "run code" not in message
        assert "weights_only" not in message


def test_a_file_cut_short_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    for name in ("a.pt", "a.safetensors"):
        path = write(tmp_path / name, state)
        path.write_bytes(path.read_bytes()[:-1000])
        assert "not a readable" in refused(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@given(st.binary(max_size=60), st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04"]))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_refused_in_words(tmp_path: Path, content: bytes, begun: bytes) -> None:
    for suffix in (".pt", ".safetensors"):
        path = tmp_path / f"junk{suffix}"
        path.write_bytes(begun + content)
        with pytest.raises(HeadstartError):
            weight_files.read(path)


def test_the_digest_tells_any_change_and_any_name(chain: Chain) -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    second.load_state_dict(first.state_dict())
    assert weight_files.digest(first) == weight_files.digest(second)
    assert weight_files.digest(nn.Sequential(first)) != weight_files.digest(second)
    with torch.no_grad():
        second.bias[1] += 1e-6
    assert weight_files.digest(first) != weight_files.digest(second)
    assert weight_files.digest(chain.network) != weight_files.digest(load(SMALL, "random").network)
