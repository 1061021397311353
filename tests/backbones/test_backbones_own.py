"""A user's own network: stages that are named or found, and cuts that are none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from headstart.backbones import HEAD, LAST, Chain
from headstart.data import Preprocessing
from headstart.errors import HeadstartError

SIZE = Preprocessing(32)


def block(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU())


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = block(3, 8), block(8, 8), block(8, 16)
        self.norm = nn.LayerNorm(16)
        self.answer = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.three(torch.relu(self.two(self.one(x) * 2)))
        return self.answer(self.norm(x.mean((2, 3))))


def pictures(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_named_stages_are_the_users() -> None:
    network = Plain().eval()
    chain = Chain.from_module(network, ["one", "two", "three"], preprocessing=SIZE, name="mine")
    assert chain.stage_names == ("one", "two", "three")
    assert chain.origin.name == "mine"
    assert chain.state_names()[HEAD] == ("answer.weight", "answer.bias")
    assert "norm.weight" in chain.state_names()["three"]
    images, whole = pictures(), network(pictures())
    value = images
    for cut in range(1, 4):
        value = chain.run(value, cut - 1, cut)
        assert torch.allclose(chain.head_of(chain.run(value, cut)), whole, atol=1e-6)
    assert torch.equal(chain.run(images, 0, 1), network.one(images))
    assert chain.codes(images, ["one", LAST])[LAST].shape == (2, 16)


def test_a_stage_may_hold_what_others_name_as_several() -> None:
    chain = Chain.from_module(Plain(), ["two"], preprocessing=SIZE)
    assert chain.stage_names == ("two",)
    rows = {name: row for row, names in chain.state_names().items() for name in names}
    assert rows["one.0.weight"] == rows["two.0.weight"] == "two"
    assert rows["three.0.weight"] == "two"


def test_without_names_stages_are_found() -> None:
    chain = Chain.from_module(Plain(), preprocessing=SIZE)
    assert len(chain.stage_names) >= 3
    assert torch.equal(chain(pictures()), chain.network(pictures()))


class Skipping(Plain):
    def forward(self, x: Tensor) -> Tensor:
        first = self.one(x)
        x = self.three(self.two(first) + first)
        return self.answer(self.norm(x.mean((2, 3))))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x), x


class Tuples(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.one = Pair()  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        made, given = self.one(x)
        x = self.three(self.two(made) + given.mean(1, keepdim=True))
        return self.answer(self.norm(x.mean((2, 3))))


@pytest.mark.parametrize(
    ("network", "stages", "words"),
    [
        (Tuples(), ["one", "three"], r"cut behind 'one' is not a single tensor.*'one'"),
        (Plain(), ["one", "four"], "no step 'four' on the way of Plain"),
        (Plain(), ["two", "one"], "'one' runs before 'two'"),
        (Plain(), ["one", "one.0"], "no step 'one.0'"),
    ],
)
def test_what_is_no_cut_is_said_with_its_name(
    network: nn.Module, stages: list[str], words: str
) -> None:
    with pytest.raises(HeadstartError, match=words) as caught:
        Chain.from_module(network, stages, preprocessing=SIZE)
    assert str(caught.value).count("\n") <= 1


def test_a_cut_behind_which_something_else_is_needed_names_that() -> None:
    """Behind `two` alone the sum is still to come; behind the sum there is a cut."""
    chain = Chain.from_module(Skipping(), ["one", "two", "three"], preprocessing=SIZE)
    value = chain.run(pictures(), 0, 2)
    first = chain.network.one(pictures())
    assert torch.allclose(value, chain.network.two(first) + first, atol=1e-6)

    class Long(Skipping):
        def forward(self, x: Tensor) -> Tensor:
            first = self.one(x)
            x = self.three(self.two(first))
            return self.answer(self.norm(x.mean((2, 3)) + first.mean()))

    with pytest.raises(HeadstartError, match=r"behind 'two' is not a single tensor.*'one\b.* too"):
        Chain.from_module(Long(), ["two", "three"], preprocessing=SIZE)


def test_parallel_branches_have_no_cut() -> None:
    class Parallel(Plain):
        def forward(self, x: Tensor) -> Tensor:
            one, other = self.one(x), nn.functional.avg_pool2d(x, 2)
            one = self.three(self.two(one)).mean((2, 3))
            return self.answer(self.norm(one + other.mean((1, 2, 3))[:, None]))

    class Apart(Parallel):
        def forward(self, x: Tensor) -> Tensor:
            one, other = self.one(x), self.one(x * 2)
            both = self.answer(one.mean((2, 3)).repeat(1, 2)), other.mean((2, 3)).repeat(1, 2)
            return both[0] + self.answer(both[1])

    assert len(Chain.from_module(Parallel(), preprocessing=SIZE).stage_names) == 1
    with pytest.raises(HeadstartError, match="Apart cannot be cut anywhere"):
        Chain.from_module(Apart(), preprocessing=SIZE)


class Branching(Plain):
    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        x = self.two(x if x.sum() > 0 else -x)
        return self.answer(self.norm(self.three(x).mean((2, 3))))


def test_a_forward_that_cannot_be_followed_says_how_to_name_stages() -> None:
    with pytest.raises(HeadstartError, match=r"stages=\['one', 'two', 'three'\]"):
        Chain.from_module(Branching(), preprocessing=SIZE)
    with pytest.raises(HeadstartError, match="in a module of its own, inside a stage"):
        Chain.from_module(Branching(), ["one", "two"], preprocessing=SIZE)


class Sized(Plain):
    """Asks for sizes: which way it goes, and numbers that its later stages share."""

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        x = self.one(x)
        if height > 16:
            x = nn.functional.avg_pool2d(x, 2)
        x = self.two(x).reshape(batch, 8, -1)
        x = self.three(x.view(batch, 8, height // 2, width // 2))
        return self.answer(self.norm(x.mean((2, 3))))


@torch.no_grad()
def test_a_forward_may_ask_for_sizes() -> None:
    network = Sized().eval()
    chain = Chain.from_module(network, ["one", "two", "three"], preprocessing=SIZE)
    for count in (1, 2, 7):
        images = pictures(count)
        value = chain.run(images, 0, 1)
        value = chain.run(value, 1, 2)
        answer = chain.head_of(chain.run(value, 2))
        assert torch.allclose(answer, network(images), atol=1e-6)
    larger = torch.randn(2, 3, 48, 48)
    assert torch.allclose(chain(larger), network(larger), atol=1e-6)
    with pytest.raises(HeadstartError, match="share sizes that follow the image"):
        chain.run(larger, 0, 1)
    with pytest.raises(HeadstartError, match="takes another way for images of this size"):
        chain(torch.randn(2, 3, 16, 16))


def test_a_forward_that_goes_by_the_number_of_images_is_refused() -> None:
    class Counting(Plain):
        def forward(self, x: Tensor) -> Tensor:
            x = self.one(x)
            if len(x.shape) == 4 and x.shape[0] == 5:
                x = -x
            return self.answer(self.norm(self.three(self.two(x)).mean((2, 3))))

    with pytest.raises(HeadstartError, match="cannot be found from its forward"):
        Chain.from_module(Counting(), preprocessing=SIZE)


class KeepsWhatItComputed(nn.Module):
    """Like attention biases in LeViT, which are kept once computed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1, 1))
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.weight * 2
        return x * self.kept


def test_looking_at_a_network_leaves_nothing_in_it() -> None:
    network = nn.Sequential(KeepsWhatItComputed(), Plain()).eval()
    network[0].kept = None
    chain = Chain.from_module(network, preprocessing=SIZE)
    assert network[0].kept is None
    assert torch.equal(chain(pictures()), chain.network(pictures()))
    assert not network.training
    training = Chain.from_module(Plain().train(), preprocessing=SIZE)
    assert all(module.training for module in training.network.modules())


def test_the_mode_of_a_dropout_in_a_forward_is_its_own_modules() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(nn.functional.dropout(x, 0.5, self.training))

    class Dropping(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.answer = Head()  # type: ignore[assignment]

    chain = Chain.from_module(Dropping(), ["one", "two", "three"], preprocessing=SIZE)
    chain.learn({"one"})
    assert torch.equal(chain(pictures()), chain(pictures()))
    chain.learn({HEAD})
    assert not torch.equal(chain(pictures()), chain(pictures()))
