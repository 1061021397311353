"""Names to networks, networks to chains, and surgery that keeps their names."""

from headstart.backbones.chain import HEAD, LAST, Chain, Origin
from headstart.backbones.head import Head
from headstart.backbones.loading import load, names
from headstart.backbones.profile import StageProfile, profile
from headstart.backbones.recipes import EMBEDDED
from headstart.backbones.surgery import batchnorm_to_groupnorm

__all__ = [
    "EMBEDDED",
    "HEAD",
    "LAST",
    "Chain",
    "Head",
    "Origin",
    "StageProfile",
    "batchnorm_to_groupnorm",
    "load",
    "names",
    "profile",
]
