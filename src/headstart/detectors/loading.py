"""A detector's backbone: the named chain with the asked normalization and weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headstart.backbones import HEAD, Chain, load
from headstart.backbones import weights as weight_files
from headstart.backbones.adapting import adapted
from headstart.detectors import normalization
from headstart.detectors.maps import shapes
from headstart.detectors.resnext import RESNEXT, resnext152
from headstart.detectors.specification import DetectorSpecification
from headstart.errors import HeadstartError

PAD = 32  # pixels: the coarsest stride that a map is read at


def square_side(specification: DetectorSpecification) -> int:
    """Side in pixels of the square that a plain transformer's images are padded to."""
    return -(-specification.long_side // PAD) * PAD


def backbone_chain(
    specification: DetectorSpecification, weights: str | Path | None, seed: int
) -> tuple[Chain, bool]:
    """The backbone with its weights, and whether it gives tokens of one fixed square (a ViT).

    None: random ones that others will replace, so it matters to none what they mean.

    Raises:
        HeadstartError: unknown names, weights that cannot be had, that do not fit, or that mean
            something else under the asked normalization.
    """
    if specification.backbone in RESNEXT and str(weights) == "pretrained":
        raise HeadstartError(
            f"Nobody publishes weights of {specification.backbone} that headstart could load. "
            "Give a file of weights, or weights='random'."
        )
    chain = _load(specification.backbone, "random", seed)
    normalization.check(chain, specification, None if weights is None else str(weights))
    weights = "random" if weights is None else weights
    size = None
    tokens = len(shapes(chain)[-1]) == 2
    if tokens:
        size = square_side(specification)
    given = str(weights) not in ("random", "pretrained")
    late = given and (
        specification.backbone in RESNEXT
        or (specification.normalization == "group" and normalization.has_batchnorm(chain.network))
    )
    if not late and (str(weights) != "random" or size is not None):
        chain = _load(specification.backbone, weights, seed, size)
    normalization.convert(chain, specification)
    if late:  # what was learned with GroupNorm fits the converted network, BatchNorm's is refused
        _fill(chain, Path(weights))
    return chain, tokens


def _load(name: str, weights: str | Path, seed: int, size: int | None = None) -> Chain:
    if name in RESNEXT:
        return resnext152(name, seed)
    return load(name, weights, seed=seed, image_size=size)


def _fill(chain: Chain, path: Path) -> None:
    """Load a file into the network as it now is."""
    classifiers = sorted({key.rpartition(".")[0] for key in chain.state_names()[HEAD]})
    state, changes = adapted(chain.network, weight_files.read(path), classifiers)
    loaded = weight_files.fit(chain.network, state, str(path), classifiers)
    digest = weight_files.digest(chain.network)
    chain.origin = replace(chain.origin, weights=path.name, digest=digest, loaded=loaded)
    chain.note(*changes)
