"""Weights from files into networks: counted, checked, never a silent mismatch (rules 1 and 8)."""

from __future__ import annotations

import hashlib
import io
import pickletools
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from headstart.errors import HeadstartError

State = Mapping[str, Tensor]


def read(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors or torch file; a pickle that needs more than tensors is refused."""
    if not path.is_file():
        raise HeadstartError(f"There is no weights file {path}.")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise HeadstartError(f"{path} is not a readable safetensors file: {error}") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken bytes make the unpickler raise almost any kind
        more = _more_than_tensors(path)
        if more:
            raise HeadstartError(
                f"{path} holds more than tensors ({more}), which could run code, so it was not "
                "opened. Save its state_dict alone, best as safetensors."
            ) from error
        raise HeadstartError(f"{path} is not a readable weights file{_why(error)}") from error
    return _tensors(content, path)


def _why(error: Exception) -> str:
    """torch's messages go on for lines about switching its safety off, which nobody should."""
    lines = str(error).strip().splitlines()
    return f": {lines[0][:120]}" if lines and "weights_only" not in str(error) else "."


def _more_than_tensors(path: Path) -> str:
    """What a pickle would call that is none of torch's own parts; "" where it is no pickle."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [n for n in archive.namelist() if n.endswith("data.pkl")]
                called = _called(io.BytesIO(archive.read(names[0]))) if names else set()
        else:
            with path.open("rb") as file:
                called = _called(file)
    except (ValueError, OSError, zipfile.BadZipFile, IndexError, UnicodeDecodeError):
        return ""
    own = ("torch", "collections", "numpy")
    return next((n for n in sorted(called) if n.partition(".")[0] not in own), "")


def _called(file: IO[bytes]) -> set[str]:
    """What the pickles at the beginning of a file import, read without running them.

    torch's old format is several pickles, one behind the other. Raises ValueError at the first
    bytes that are none.
    """
    called: set[str] = set()
    for count in range(5):
        try:
            strings: list[str] = []
            for code, argument, _ in pickletools.genops(file):
                if code.name in ("GLOBAL", "INST"):
                    called.add(str(argument).replace(" ", "."))
                elif code.name == "STACK_GLOBAL":
                    called.add(".".join(strings[-2:]))
                elif isinstance(argument, str):
                    strings.append(argument)
        except ValueError:
            if count == 0:
                raise
            break
    return called


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise HeadstartError(f"{path} holds no state dictionary (names to tensors).")
    state = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    if not state:
        raise HeadstartError(f"{path} holds no tensors.")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def fit(
    network: nn.Module, state: State, source: str, classifiers: str | Sequence[str] = ()
) -> int:
    """Load `state` into `network` strictly and return how many tensors were loaded.

    The `classifiers`' own tensors may be missing, since a classifier for other classes is left
    out (`adapting.adapted`). Every other difference is refused with counts and the first names.
    """
    own = network.state_dict()
    _refuse_other_norm(own, state, source)
    layers = (classifiers,) if isinstance(classifiers, str) else classifiers
    head = [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
    given = {k: v for k, v in state.items() if k in own or not k.endswith("num_batches_tracked")}
    counted = [k for k in own if not k.endswith("num_batches_tracked") and k not in head]
    missing = [k for k in counted if k not in given]
    unexpected = [k for k in given if k not in own and k not in head]
    shapes = [
        f"{k} {tuple(given[k].shape)} for {tuple(own[k].shape)}"
        for k in own
        if k in given and given[k].shape != own[k].shape
    ]
    if missing or unexpected or shapes:
        raise HeadstartError(
            f"{source} does not fit the network: {len(missing)} tensors missing"
            f"{_first(missing)}, {len(unexpected)} unexpected{_first(unexpected)}, "
            f"{len(shapes)} of another shape{_first(shapes)}. Choose the weights' own network."
        )
    network.load_state_dict({**own, **{k: v for k, v in given.items() if k in own}})
    return sum(k in own for k in given)


def _refuse_other_norm(own: State, state: State, source: str) -> None:
    """GroupNorm takes BatchNorm's weight and bias without a word, so look at the statistics."""
    theirs = {k for k in state if k.endswith("running_mean")}
    ours = {k for k in own if k.endswith("running_mean")}
    if theirs and not ours:
        raise HeadstartError(
            f"{source} holds BatchNorm statistics ({len(theirs)} layers), but the network has no "
            "BatchNorm: the weights would be wrong without them. Use the network's own norm."
        )


def _first(names: list[str], count: int = 3) -> str:
    return f" ({', '.join(names[:count])}{', ...' if len(names) > count else ''})" if names else ""


def digest(network: nn.Module) -> str:
    """SHA-256 over every tensor of the network's state, names included."""
    total = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
