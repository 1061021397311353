"""Every network of torchvision and one of each timm family: the chain is the network."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from headstart.backbones import HEAD, LAST, Chain, Origin, load
from headstart.backbones.recipes import from_timm, from_torchvision

QUICK = [
    "timm/edgenext_xx_small",  # sizes asked for in its forward
    "timm/levit_128s",  # the mean of two classifiers
    "timm/mobilevit_xxs",
    "timm/resnetv2_18",  # a convolution as classifier
    "timm/regnetx_002",
    "torchvision/googlenet",
    "torchvision/shufflenet_v2_x0_5",
    "torchvision/squeezenet1_1",
]
FAMILIES = [
    "beit_base_patch16_224",
    "bat_resnext26ts",
    "test_byobnet",
    "cait_xxs24_224",
    "coat_tiny",
    "convit_tiny",
    "convmixer_768_32",
    "test_convnext",
    "cpubone_nano",
    "csatv2",
    "cs3darknet_focus_s",
    "cspnext_tiny",
    "davit_tiny",
    "deit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "densenet121",
    "dla46x_c",
    "dpn48b",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "test_efficientnet",
    "efficientvit_b0",
    "efficientvit_m0",
    "vit_tiny_patch16_dinov3_qkvb",
    "fasternet_t0",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "gcvit_xxtiny",
    "ghostnet_050",
    "hardcorenas_a",
    "hgnetv2_b0",
    "hiera_tiny_224",
    "hrnet_w18_small",
    "iformer_t",
    "inception_next_atto",
    "inception_v3",
    "inception_v4",
    "lcnetv2_small",
    "lowformer_b0",
    "test_mambaout",
    "test_coatnet",
    "poolformerv2_s12",
    "gmlp_ti16_224",
    "mobilenetv3_small_050",
    "mvitv2_tiny",
    "nest_tiny",
    "nextvit_small",
    "test_nfnet",
    "pit_ti_224",
    "pvt_v2_b0",
    "repghostnet_050",
    "repvit_m1",
    "res2next50",
    "resnest14d",
    "test_resnet",
    "rexnet_100",
    "selecsls42",
    "legacy_seresnet18",
    "sequencer2d_s",
    "shvit_s1",
    "skresnet18",
    "starnet_s050",
    "swiftformer_xs",
    "swin_tiny_patch4_window7_224",
    "swinv2_cr_tiny_ns_224",
    "swinv2_tiny_window8_256",
    "tiny_vit_5m_224",
    "tnt_s_legacy_patch16_224",
    "tresnet_m",
    "twins_pcpvt_small",
    "vgg11",
    "volo_d1_224",
    "visformer_tiny",
    "test_vit",
    "vit_small_r26_s32_224",
    "test_vit_relpos",
    "vitamin_small_224",
    "ese_vovnet19b_slim",
    "xception41",
    "xcit_nano_12_p16_224",
]
LARGEST = ("vit_h_14", "vit_l_16", "vit_l_32", "regnet_y_128gf")  # gigabytes of random weights
TORCHVISION = [
    name
    for name in torchvision.models.list_models(module=torchvision.models)
    if name not in LARGEST
]
NAMES = [
    *QUICK,
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            *(f"timm/{name}" for name in FAMILIES),
            *(f"torchvision/{name}" for name in TORCHVISION),
        )
        if name not in QUICK
    ),
]
SMALL = 96  # pixels, for networks that take any size


def random_parts(model: str) -> nn.Module:
    """A network of timm with whatever it can drop in training."""
    for options in ({"drop_rate": 0.2, "drop_path_rate": 0.2}, {"drop_rate": 0.2}, {}):
        try:
            return timm.create_model(model, **options)
        except TypeError:
            continue
    raise AssertionError


@pytest.fixture(params=NAMES)
def chain(request: pytest.FixtureRequest) -> Chain:
    library, _, model = request.param.partition("/")
    torch.manual_seed(0)
    if library == "torchvision":
        fixed = any(part in model for part in ("vit", "inception"))
        return load(request.param, "random", image_size=None if fixed else SMALL)
    recipe, network = from_timm(model), random_parts(model).eval()
    config = network.pretrained_cfg
    free = not config.get("fixed_input_size") and not config.get("min_input_size")
    preprocessing = recipe.preprocessing.at(SMALL) if free else recipe.preprocessing
    origin = Origin(request.param, "random", "", "", 0)
    return Chain(network, recipe.classifiers(network), preprocessing, origin)


def pictures(chain: Chain) -> Tensor:
    size = chain.preprocessing.image_size
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(3))


def seeded(network: nn.Module, images: Tensor) -> Tensor:
    torch.manual_seed(11)
    with torch.no_grad():
        answer = network(images)
    return answer[0] if isinstance(answer, tuple) else answer


def same(mine: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> bool:
    scale = max(1.0, float(theirs.abs().max()))
    return mine.shape == theirs.shape and float((mine - theirs).abs().max()) <= tolerance * scale


def plain_network(name: str) -> nn.Module:
    library, _, model = name.partition("/")
    if library == "timm":
        return timm.create_model(model)
    return torchvision.models.get_model(model, weights=None)


@pytest.mark.filterwarnings("ignore:The default weight initialization")
def test_the_chain_is_the_network(chain: Chain) -> None:
    images = pictures(chain)
    whole = seeded(chain.network, images)
    assert same(seeded(chain, images), whole)
    value = images
    for cut in range(1, len(chain.stage_names) + 1):
        with torch.no_grad():
            value = chain.run(value, cut - 1, cut)
            answer = chain.head_of(chain.run(value, cut))
        assert same(answer, whole), chain.stage_names[cut - 1]

    plain_network(chain.origin.name).load_state_dict(chain.network.state_dict(), strict=True)

    rows = (*chain.stage_names, HEAD)
    row = rows[len(rows) // 2]
    for learning in ({row}, {HEAD}) if chain.parameters_of(HEAD) else ({row},):
        chain.learn(learning)
        chain.zero_grad(set_to_none=True)
        chain(images).square().sum().backward()
        reached = {r for r in rows if any(p.grad is not None for _, p in chain.parameters_of(r))}
        assert reached == learning
    chain.zero_grad(set_to_none=True)

    chain.learn(rows)
    without_auxiliary_draws(chain)
    chain.train()
    assert same(seeded(chain, images), seeded(chain.network, images))

    chain.eval()
    chain.replace_classifier(7, seed=1)
    weight, bias = torch.randn(7, chain.head.in_features), torch.randn(7)
    chain.head.set(weight, bias)
    with torch.no_grad():
        solved = chain.codes(images, [LAST])[LAST] @ weight.T + bias
        assert same(chain(images), solved, 1e-4)
        assert same(chain.network(images), solved, 1e-4)


def without_auxiliary_draws(chain: Chain) -> None:
    """Auxiliary classifiers drop for themselves, which moves the generator for the main one."""
    for name in chain.auxiliary:
        for module in chain.network.get_submodule(name).modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0


def test_there_are_enough_families() -> None:
    entries = {timm.models.model_entrypoint(name).__module__ for name in FAMILIES}
    assert len(entries) >= 60


def test_every_network_of_torchvision_is_asked_for() -> None:
    assert len(TORCHVISION) + len(LARGEST) == len(
        torchvision.models.list_models(module=torchvision.models)
    )
    for name in LARGEST:
        assert from_torchvision(name).preprocessing.image_size
