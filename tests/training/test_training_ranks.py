"""Two ranks do what one does: the same weights, judged once, decided and written by the first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks_at_work
import torch
from ranks_at_work import long_plan, phased_plan, trained
from torch import Tensor, nn
from training_tiny import IMAGES, state_of

from headstart.backbones import Chain
from headstart.records import read_curve
from headstart.training import Ranks, UnfinishedError, checkpoint


@dataclass(frozen=True)
class Two:
    """What the two ranks left."""

    root: Path
    seen: list[dict[str, Any]]

    def folder(self, rank: int, name: str) -> Path:
        return self.root / f"rank-{rank}" / name


def torchrun(script: Path, *arguments: str | Path, processes: int = 2) -> None:
    """Run a script under torchrun, to its end."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ended = subprocess.run(
        [*command, "--nproc-per-node", str(processes), str(script), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    root = tmp_path_factory.mktemp("ranks")
    torchrun(Path(ranks_at_work.__file__), root)
    seen = [json.loads((root / f"rank-{r}" / "seen.json").read_text()) for r in (0, 1)]
    assert [one["count"] for one in seen] == [2, 2]
    return Two(root, seen)


def losses(folder: Path) -> list[tuple[int, float, float]]:
    return [(p.step, p.loss, p.train_loss or 0.0) for p in read_curve(folder)]


def differ(chain: Chain, path: Path) -> float:
    """The largest difference to the weights in a file."""
    theirs: dict[str, Tensor] = torch.load(path, weights_only=True)
    ours = state_of(chain)
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


@pytest.mark.slow
def test_two_ranks_train_what_one_trains(two: Two, tmp_path: Path) -> None:
    _, chain, _ = trained(tmp_path, long_plan())
    np.testing.assert_allclose(losses(tmp_path), losses(two.folder(0, "long")), atol=1e-4)
    assert len(losses(tmp_path)) > 10
    assert differ(chain, two.folder(0, "long.pt")) < 1e-3
    assert differ(chain, two.folder(1, "long.pt")) < 1e-3


@pytest.mark.slow
def test_phases_and_parts_change_nothing(two: Two, tmp_path: Path) -> None:
    """What learns in the second phase alone gets its gradients from all ranks too."""
    _, chain, _ = trained(tmp_path, phased_plan())
    for rank in (0, 1):
        assert differ(chain, two.folder(rank, "phased.pt")) < 1e-5
    np.testing.assert_allclose(losses(tmp_path), losses(two.folder(0, "phased")), atol=1e-5)


@pytest.mark.slow
def test_each_image_is_judged_once(two: Two) -> None:
    judged = [image for one in two.seen for image in one["judged"]]
    assert judged == list(range(IMAGES))


@pytest.mark.slow
def test_where_one_rank_stops_all_do_and_others_go_on(two: Two, tmp_path: Path) -> None:
    """What two ranks saved, one takes up: nothing of ranks is in a checkpoint."""
    assert [one["stopped_at"] for one in two.seen] == [23, 23]
    stopped = two.folder(0, "stopped")
    state = checkpoint.load(stopped)
    assert state is not None
    assert state["step"] == 23
    _, chain, _ = trained(stopped, long_plan())
    np.testing.assert_allclose(losses(stopped), losses(two.folder(0, "long")), atol=1e-4)
    assert differ(chain, two.folder(0, "long.pt")) < 1e-3


@pytest.mark.slow
def test_where_one_rank_s_loss_is_not_finite_all_begin_again(two: Two) -> None:
    assert two.seen[0]["events"] == two.seen[1]["events"]
    assert any("not finite before step 10" in event for event in two.seen[0]["events"])


@pytest.mark.slow
def test_draws_differ_by_rank_and_the_first_has_those_of_one(two: Two, tmp_path: Path) -> None:
    first, second = (one["draws"] for one in two.seen)
    assert first == ranks_at_work.draws(tmp_path)
    assert not set(first) & set(second)


@pytest.mark.slow
def test_the_first_rank_alone_writes(two: Two) -> None:
    assert "curve.jsonl" in two.seen[0]["written"]
    assert two.seen[1]["written"] == ["phased.pt"]  # the test's own


# Without torchrun.


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("things", [0, 1, 6, 23])
def test_shares_are_neighbours_and_leave_nothing_out(count: int, things: int) -> None:
    parts = [list(range(things))[Ranks(count, own).part(things)] for own in range(count)]
    assert [thing for part in parts for thing in part] == list(range(things))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_another_process_that_is_gone_is_said_and_other_errors_are_not_hidden() -> None:
    gone = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1")
    with pytest.raises(UnfinishedError, match="Rank 1 of 2 cannot go on"), Ranks(2, 1).watching():
        raise gone
    with pytest.raises(RuntimeError, match="gloo"), Ranks().watching():
        raise gone
    with pytest.raises(RuntimeError, match="shapes"), Ranks(2, 1).watching():
        raise RuntimeError("shapes do not fit")


class Synchronized(torch.autograd.Function):
    """BatchNorm over shards: what ranks must tell each other is summed over the list."""

    @staticmethod
    def forward(ctx: Any, eps: float, *shards: Tensor) -> tuple[Tensor, ...]:
        count = sum(x.numel() // x.shape[1] for x in shards)
        mean = sum(x.sum((0, 2, 3)) for x in shards) / count
        square = sum((x**2).sum((0, 2, 3)) for x in shards) / count
        scale = (square - mean**2 + eps).rsqrt()
        normal = tuple((x - mean[:, None, None]) * scale[:, None, None] for x in shards)
        ctx.count = count
        ctx.save_for_backward(scale, *normal)
        return normal

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        scale, *normal = ctx.saved_tensors
        mean = sum(g.sum((0, 2, 3)) for g in given) / ctx.count
        along = sum((g * n).sum((0, 2, 3)) for g, n in zip(given, normal, strict=True)) / ctx.count
        m, a, s = (v[:, None, None] for v in (mean, along, scale))
        return None, *(s * (g - m - n * a) for g, n in zip(given, normal, strict=True))


def test_batchnorm_over_two_shards_is_that_over_the_batch() -> None:
    """The arithmetic that synchronized BatchNorm must have: see test_training_sync for PyTorch's.

    Two sums a channel go between ranks forward (values and squares) and two backward.
    """
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 5, 5, generator=draw, dtype=torch.float64) * 2 + 1
    weight = torch.randn(8, 3, 5, 5, generator=draw, dtype=torch.float64)
    whole, halves = images.clone().requires_grad_(), images.clone().requires_grad_()
    expected = nn.BatchNorm2d(3, affine=False, dtype=torch.float64)(whole)
    (expected * weight).sum().backward()
    found = torch.cat(Synchronized.apply(1e-5, *halves.split([5, 3])))
    (found * weight).sum().backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(halves.grad, whole.grad)
    alone = torch.cat([nn.BatchNorm2d(3, affine=False).double()(x) for x in images.split([5, 3])])
    assert not torch.allclose(alone, expected, atol=1e-2)


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: PyTorch's own runs on none")
def test_pytorch_s_synchronized_batchnorm_is_that_over_the_batch() -> None:
    torchrun(Path(__file__).with_name("sync_at_work.py"))
