"""Names to networks, networks to chains, and surgery that keeps their names."""

from headstart.backbones.chain import HEAD, LAST, Chain, Origin
from headstart.backbones.loading import EMBEDDED, load, names
from headstart.backbones.profile import StageProfile, profile
from headstart.backbones.surgery import batchnorm_to_groupnorm

__all__ = [
    "EMBEDDED",
    "HEAD",
    "LAST",
    "Chain",
    "Origin",
    "StageProfile",
    "batchnorm_to_groupnorm",
    "load",
    "names",
    "profile",
]
