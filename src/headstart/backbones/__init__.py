"""Names to networks, networks to chains, and surgery that keeps their names."""

from headstart.backbones.chain import LAST, Chain, Origin
from headstart.backbones.convolution import FullyConvolutional, fully_convolutional
from headstart.backbones.head import Head
from headstart.backbones.learner import Learner
from headstart.backbones.loading import at_size, load, names
from headstart.backbones.profile import StageProfile, profile
from headstart.backbones.recipes import EMBEDDED
from headstart.backbones.stages import HEAD
from headstart.backbones.surgery import (
    batchnorm_to_frozen,
    batchnorm_to_groupnorm,
    batchnorm_to_syncbatchnorm,
)

__all__ = [
    "EMBEDDED",
    "HEAD",
    "LAST",
    "Chain",
    "FullyConvolutional",
    "Head",
    "Learner",
    "Origin",
    "StageProfile",
    "at_size",
    "batchnorm_to_frozen",
    "batchnorm_to_groupnorm",
    "batchnorm_to_syncbatchnorm",
    "fully_convolutional",
    "load",
    "names",
    "profile",
]
