"""The backbone of a detector: a chain's maps, and the pyramid on them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7
from torchvision.ops.misc import Conv2dNormActivation

from headstart.backbones import Chain
from headstart.detectors.drawing import drawn
from headstart.detectors.maps import Tap, drop_unread, taps, token_tap
from headstart.detectors.normalization import Layer, layer_for
from headstart.detectors.specification import DetectorSpecification


class Backbone(nn.Module):
    """Images [B, 3, H, W] to maps, finest first, under the names "0", "1", ...

    Every map has `out_channels` channels. With a pyramid they are of strides 4 to 32 (8 to 32 for
    RetinaNet and FCOS) and of the coarser ones made from these; without, one of stride 16.
    """

    def __init__(
        self, chain: Chain, read: Sequence[Tap], fpn: nn.Module | None, out_channels: int
    ) -> None:
        super().__init__()
        self.chain = chain
        self.read = tuple(read)
        self.fpn = fpn
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Maps by name, of normalized images whose sides are multiples of 32."""
        maps: OrderedDict[str, Tensor] = OrderedDict()
        value, start = images, 0
        for level, tap in enumerate(self.read):
            value = self.chain.run(value, start, tap.index + 1)
            maps[str(level)], start = value, tap.index + 1
        return maps if self.fpn is None else self.fpn(maps)


class SimplePyramid(nn.Module):
    """A plain transformer's one map at several scales (Li et al. 2022, section 3).

    Tokens [B, N, C] of stride 16 become maps of stride 4 (two deconvolutions), 8 (one), 16 and 32
    (a pooling), each with a 1x1 and a 3x3 convolution behind; coarser levels follow as in an FPN.
    Where the paper has LayerNorm over channels, the detector's own normalization stands.
    """

    def __init__(
        self,
        width: int,
        strides: Sequence[int],
        channels: int,
        extra: nn.Module,
        layer: Layer | None,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_scale(width, stride, channels, layer) for stride in strides)
        self.extra = extra

    def forward(self, maps: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
        """Levels by name, finest first, from the tokens, which are the only value in `maps`."""
        (tokens,) = maps.values()
        side = math.isqrt(tokens.shape[1])
        grid = tokens[:, tokens.shape[1] - side * side :]  # class and register tokens come first
        image = grid.transpose(1, 2).unflatten(2, (side, side)).contiguous()
        levels = [scale(image) for scale in self.scales]
        names = [str(level) for level in range(len(levels))]
        levels, names = self.extra(levels, [image], names)
        return OrderedDict(zip(names, levels, strict=True))


def build_backbone(
    specification: DetectorSpecification, chain: Chain, tokens: bool, seed: int
) -> Backbone:
    """The chain with the pyramid that the specification asks for; the chain loses its classifier.

    Raises:
        HeadstartError: the network has no maps of the strides that are needed.
    """
    if not specification.fpn:
        _end_before_the_last_pooling(chain.network)
    of_tokens = tokens and specification.fpn
    read = [token_tap(chain)] if of_tokens else taps(chain, specification.strides)
    drop_unread(chain, read[-1].index)
    if not specification.fpn:
        return Backbone(chain, read, None, read[-1].channels)
    channels, layer = specification.channels, layer_for(specification)
    with drawn(seed, "fpn"):
        extra = LastLevelP6P7(channels, channels) if specification.is_dense else LastLevelMaxPool()
        fpn: nn.Module
        if tokens:
            fpn = SimplePyramid(read[0].channels, specification.strides, channels, extra, layer)
        else:
            fpn = FeaturePyramidNetwork([tap.channels for tap in read], channels, extra, layer)
    return Backbone(chain, read, fpn, channels)


def _end_before_the_last_pooling(network: nn.Module) -> None:
    """VGG is read behind its last convolution, at stride 16 (Ren et al. 2015, section 3.1)."""
    features = getattr(network, "features", None)
    if isinstance(features, nn.Sequential) and isinstance(features[-1], nn.MaxPool2d):
        features[-1] = nn.Identity()


def _scale(width: int, stride: int, channels: int, layer: Layer | None) -> nn.Sequential:
    steps: list[nn.Module]
    if stride == 4:
        half = nn.ConvTranspose2d(width, width // 2, 2, 2)
        between = [layer(width // 2)] if layer is not None else []
        steps = [half, *between, nn.GELU(), nn.ConvTranspose2d(width // 2, width // 4, 2, 2)]
        width = width // 4
    elif stride == 8:
        steps = [nn.ConvTranspose2d(width, width // 2, 2, 2)]
        width = width // 2
    else:
        steps = [nn.Identity() if stride == 16 else nn.MaxPool2d(2)]
    one = Conv2dNormActivation(width, channels, 1, norm_layer=layer, activation_layer=None)
    three = Conv2dNormActivation(channels, channels, 3, norm_layer=layer, activation_layer=None)
    for convolution in (*steps, *one, *three):
        if isinstance(convolution, nn.Conv2d):
            nn.init.kaiming_uniform_(convolution.weight, a=1)  # as the FPN's
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
    return nn.Sequential(*steps, one, three)
