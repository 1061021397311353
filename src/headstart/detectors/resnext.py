"""ResNeXt-152, which neither torchvision nor timm has, in both readings of the paper."""

from __future__ import annotations

import torch
from torchvision.models.resnet import Bottleneck, ResNet

from headstart.backbones import Chain, Origin
from headstart.backbones.surgery import he_initialize
from headstart.data import Preprocessing
from headstart.seeds import seed_for

BLOCKS = (3, 8, 36, 3)  # He et al. 2016, table 1: 152 layers
# Groups and width of each. He, Girshick and Dollar 2018 write 8x32d (section 5.2), and the
# configurations that were released with it 32x8d.
RESNEXT = {"resnext152_8x32d": (8, 32), "resnext152_32x8d": (32, 8)}


def resnext152(name: str, seed: int) -> Chain:
    """ResNeXt-152 at random, as a chain; `name` is a key of `RESNEXT`."""
    groups, width = RESNEXT[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "network"))
        network = ResNet(Bottleneck, list(BLOCKS), groups=groups, width_per_group=width)
        he_initialize(network)
    network.eval()
    return Chain(network, "fc", Preprocessing(224), Origin(name, "random", "", "", 0))
