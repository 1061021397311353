"""The chain is the network: whole or cut, in inference and in training, for every family."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones import HEAD, LAST, Chain, Origin, load
from headstart.data import Preprocessing
from headstart.errors import HeadstartError

slow = pytest.mark.slow
NAMES = [
    "efficientnet_lite0",
    "timm/resnet18",
    "timm/mobilenetv3_small_050",
    "timm/convnext_atto",
    "timm/vit_tiny_patch16_224",
    pytest.param("timm/vgg11", marks=slow),
    "torchvision/resnet18",
    "torchvision/mobilenet_v3_small",
    "torchvision/efficientnet_b0",
    "torchvision/vgg11",
    "torchvision/convnext_tiny",
    pytest.param("torchvision/vit_b_16", marks=slow),
]


@pytest.fixture(scope="module", params=NAMES)
def chain(request: pytest.FixtureRequest) -> Chain:
    return load(request.param, "random")


def pictures(chain: Chain, count: int = 2) -> Tensor:
    """Small, but for networks whose positions are counted."""
    size = 224 if "vit" in chain.origin.name else 64
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def seeded(network: nn.Module, images: Tensor) -> Tensor:
    torch.manual_seed(11)
    with torch.no_grad():
        return network(images)


def test_the_chain_is_the_network_in_inference_and_in_training(chain: Chain) -> None:
    images = pictures(chain)
    chain.eval()
    assert torch.allclose(seeded(chain, images), seeded(chain.network, images), atol=1e-5)
    chain.train()
    with_dropout = seeded(chain, images)
    assert torch.allclose(with_dropout, seeded(chain.network, images), atol=1e-5)
    chain.eval()


@torch.no_grad()
def test_every_cut_gives_the_whole(chain: Chain) -> None:
    chain.eval()
    images = pictures(chain, 1)
    whole, value = chain.network(images), images
    assert len(chain.stage_names) >= 4
    for cut in range(1, len(chain.stage_names) + 1):
        value = chain.run(value, cut - 1, cut)
        answer = chain.head_of(chain.run(value, cut))
        assert torch.allclose(answer, whole, atol=1e-5), chain.stage_names[cut - 1]
    assert torch.equal(value, chain.run(images))


def test_every_tensor_belongs_to_one_row(chain: Chain) -> None:
    owned = chain.state_names()
    assert list(owned) == [*chain.stage_names, HEAD]
    assert all(owned.values()), "a stage without weights"
    listed = [name for names in owned.values() for name in names]
    assert sorted(listed) == sorted(chain.network.state_dict())
    parameters = [p for row in owned for _, p in chain.parameters_of(row)]
    assert {id(p) for p in parameters} == {id(p) for p in chain.network.parameters()}
    assert len(parameters) == len({id(p) for p in parameters})
    assert {id(p) for _, p in chain.parameters_of(HEAD)} == {
        id(p) for p in chain.classifier.parameters()
    }


@torch.no_grad()
def test_codes_are_vectors_and_the_last_is_what_the_classifier_reads(chain: Chain) -> None:
    chain.eval()
    read: list[Tensor] = []
    hook = chain.classifier.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    images = pictures(chain)
    chain.network(images)
    hook.remove()
    codes = chain.codes(images, [*chain.stage_names, LAST])
    assert list(codes) == [*chain.stage_names, LAST]
    assert all(code.ndim == 2 and len(code) == 2 for code in codes.values())
    assert torch.allclose(codes[LAST], read[0].flatten(1), atol=1e-5)
    assert all(code[0].ne(code[1]).any() for code in codes.values())


def test_gradients_reach_the_rows_that_learn_and_no_others(chain: Chain) -> None:
    stages = chain.stage_names
    for rows in ({HEAD}, {stages[len(stages) // 2]}, {stages[0], stages[-1]}):
        chain.learn(rows)
        chain.zero_grad(set_to_none=True)
        chain(pictures(chain)).square().sum().backward()
        owned = {row: chain.parameters_of(row) for row in (*stages, HEAD)}
        for row, parameters in owned.items():
            assert all((p.grad is not None) == (row in rows) for _, p in parameters), row
            assert all(p.requires_grad == (row in rows) for _, p in parameters)
    chain.zero_grad(set_to_none=True)
    chain.eval()


# Randomness in training.

VARIANTS = [
    ("resnet18", "fc", {"drop_rate": 0.5}),
    ("resnet18", "fc", {"drop_path_rate": 0.5, "zero_init_last": False}),
    ("mobilenetv3_small_050", "classifier", {"drop_rate": 0.5, "drop_path_rate": 0.3}),
    ("convnext_atto", "head.fc", {"drop_rate": 0.5, "drop_path_rate": 0.5}),
    ("vit_tiny_patch16_224", "head", {"drop_rate": 0.3, "drop_path_rate": 0.5, "img_size": 32}),
    ("vit_tiny_patch16_224", "head", {"attn_drop_rate": 0.5, "img_size": 32}),
]


def chained(name: str, classifier: str, **options: object) -> Chain:
    network = timm.create_model(name, num_classes=10, **options).eval()
    return Chain(network, classifier, Preprocessing(32), Origin(name, "random", "", "", 0))


@pytest.mark.parametrize(("name", "classifier", "options"), VARIANTS)
def test_dropout_and_stochastic_depth_are_the_networks_own(
    name: str, classifier: str, options: dict[str, object]
) -> None:
    chain = chained(name, classifier, **options)
    images = torch.randn(4, 3, 32, 32) if "vit" in name else torch.randn(4, 3, 64, 64)
    chain.train()
    mine, theirs = seeded(chain, images), seeded(chain.network, images)
    assert torch.allclose(mine, theirs, atol=1e-5)
    torch.manual_seed(12)
    assert not torch.allclose(chain(images), mine, atol=1e-3), "nothing is random"
    chain.eval()
    assert torch.equal(seeded(chain, images), chain(images))


def test_frozen_stages_do_not_drop_anything() -> None:
    chain = chained(
        "vit_tiny_patch16_224", "head", attn_drop_rate=0.5, proj_drop_rate=0.5, img_size=32
    )
    chain.learn({HEAD})
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(seeded(chain.run, images), chain.run(images))
    chain.learn({HEAD, "blocks.3"})
    assert not torch.equal(seeded(chain.run, images), chain.run(images))


def test_dropout_before_the_head_goes_with_the_head() -> None:
    chain = chained("resnet18", "fc", drop_rate=0.5)
    images = torch.randn(2, 3, 64, 64)
    chain.learn({HEAD})
    assert not torch.equal(seeded(chain, images), chain(images))
    assert torch.equal(seeded(chain.run, images), chain.run(images))


# Frozen BatchNorm (rule 7).


@pytest.fixture
def small() -> Chain:
    return load("timm/mobilenetv3_small_050", "random")


def statistics(chain: Chain) -> dict[str, Tensor]:
    state = chain.network.state_dict()
    return {name: value.clone() for name, value in state.items() if "running" in name}


def moved_stages(chain: Chain, before: dict[str, Tensor]) -> set[str]:
    after = statistics(chain)
    owned = chain.state_names()
    return {
        r
        for r, names in owned.items()
        for n in names
        if n in after and before[n].ne(after[n]).any()
    }


def test_statistics_move_where_the_stage_learns_and_nowhere_else(small: Chain) -> None:
    before = statistics(small)
    small.learn({"blocks.1", "blocks.4", HEAD})
    small(torch.randn(4, 3, 64, 64))
    assert moved_stages(small, before) == {"blocks.1", "blocks.4"}


def test_statistics_can_stay_while_weights_learn(small: Chain) -> None:
    before = statistics(small)
    small.learn({*small.stage_names, HEAD}, freeze_batchnorm=True)
    small(torch.randn(4, 3, 64, 64)).sum().backward()
    assert moved_stages(small, before) == set()
    norms = [m for m in small.modules() if isinstance(m, _BatchNorm)]
    assert all(not norm.training and norm.weight.grad is not None for norm in norms)


def test_learning_again_forgets_what_was_frozen(small: Chain) -> None:
    small.learn({HEAD})
    small.learn({*small.stage_names, HEAD})
    assert all(p.requires_grad for p in small.parameters())
    assert all(module.training for module in small.network.modules())


# The head.


def test_a_new_head_depends_on_its_seed_alone() -> None:
    """Rule 10: not on the backbone built before, nor on what the process drew."""
    heads = []
    for name, draws in (("timm/resnet18", 0), ("torchvision/resnet18", 9), ("timm/resnet18", 3)):
        chain = load(name, "random", seed=draws)
        torch.randn(draws)
        chain.replace_classifier(7, seed=5)
        heads.append(chain.classifier.weight.detach())
    assert torch.equal(heads[0], heads[1])
    assert torch.equal(heads[0], heads[2])
    chain.replace_classifier(7, seed=6)
    assert not torch.equal(heads[0], chain.classifier.weight)
    assert heads[0].shape == (7, 512)
    assert float(heads[0].std()) == pytest.approx(0.01, rel=0.1)
    assert not chain.classifier.bias.any()
    assert chain(torch.randn(2, 3, 64, 64)).shape == (2, 7)
    assert chain.network(torch.randn(2, 3, 64, 64)).shape == (2, 7)


def test_a_new_head_leaves_the_processs_generator_alone(small: Chain) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    small.replace_classifier(7, seed=5)
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_stage_is_refused_with_the_known_ones(small: Chain) -> None:
    with pytest.raises(HeadstartError, match=r"no stage 'layer9'.*stem, blocks\.0"):
        small.parameters_of("layer9")


class Block(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))


class Skipping(nn.Module):
    """A shortcut past whole modules: between them two values are alive, so there is no cut."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.e = (Block(n, 4) for n in (3, 4, 4, 4, 4))
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        short = self.a(x)
        x = self.c(self.b(short)) + short[:, :, 2:-2, 2:-2]
        return self.fc(self.e(self.d(x)).mean((2, 3)))


def test_there_is_no_cut_where_two_values_are_alive() -> None:
    network = Skipping().eval()
    chain = Chain(network, "fc", Preprocessing(16), Origin("mine", "random", "", "", 0))
    rows = {name: row for row, names in chain.state_names().items() for name in names}
    assert rows["b.conv.weight"] == rows["c.conv.weight"]
    assert len({rows[f"{layer}.conv.weight"] for layer in "bde"}) == 3
    value = images = torch.randn(2, 3, 16, 16)
    for cut in range(1, len(chain.stage_names) + 1):
        value = chain.run(value, cut - 1, cut)
        assert torch.allclose(chain.head_of(chain.run(value, cut)), network(images), atol=1e-6)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).mean((2, 3))
        return self.fc(x if x.sum() > 0 else -x)


def test_a_network_that_branches_on_its_data_is_refused_in_words() -> None:
    origin = Origin("mine", "random", "", "", 0)
    with pytest.raises(HeadstartError, match=r"stages of Branching cannot be found"):
        Chain(Branching(), "fc", Preprocessing(32), origin)
    with pytest.raises(HeadstartError, match=r"classifier 'fc2' is not on"):
        Chain(timm.create_model("resnet18"), "fc2", Preprocessing(32), origin)


def test_codes_are_as_wide_as_the_stage_whatever_the_layout_of_its_map() -> None:
    """Swin's maps are [B, H, W, D]: averaged as [B, D, H, W] they gave codes of their height."""
    chain = load("torchvision/swin_t", "random", image_size=64)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    widths = {name: code.shape[1] for name, code in chain.codes(images, chain.stage_names).items()}
    assert set(widths.values()) == {96, 192, 384, 768}
