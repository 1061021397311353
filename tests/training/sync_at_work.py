"""PyTorch's synchronized BatchNorm on two ranks, which may share a GPU: see test_training_ranks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parent))

from training_tiny import IMAGES, FakeTask, state_of, tiny_chain

from headstart.backbones import batchnorm_to_syncbatchnorm


def main() -> None:
    """Gradients and statistics of the tiny chain: two shares together, and the whole batch."""
    dist.init_process_group("gloo")  # NCCL does not put two ranks on one GPU
    rank = int(os.environ["RANK"])
    device = torch.device("cuda", rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    images = FakeTask().images.to(device)[: IMAGES - 1]
    whole, shared = (tiny_chain().to(device).eval() for _ in range(2))
    count = batchnorm_to_syncbatchnorm(shared.network)
    assert count == 2
    for chain in (whole, shared):
        for module in chain.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.train()
    whole(images).square().mean().backward()
    shared(images.chunk(2)[rank]).square().mean().backward()
    ours = dict(shared.network.named_parameters())
    for name, parameter in whole.network.named_parameters():
        gradient = ours[name].grad
        assert gradient is not None
        dist.all_reduce(gradient)
        torch.testing.assert_close(gradient / 2, parameter.grad, atol=1e-5, rtol=1e-3)
    theirs = state_of(whole)
    for name, value in state_of(shared).items():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=1e-4)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
