"""What a trial keeps below stages that never learn, and which trials share it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import torch

from headstart.backbones import Chain
from headstart.data.store import default_memory_limit
from headstart.execution.setting import Setting, digest_of
from headstart.tasks import Data
from headstart.tasks.classification import STATISTICS_IMAGES
from headstart.training import Activations, Keeping, Recipe, batches, below
from headstart.training.batches import Order
from headstart.training.keeping import CPU, GPU, choose, cut_of

SHARE = 0.25  # of what is free on the disk, or on a GPU, may be used


def keeping_for(
    setting: Setting, data: Data, plan: Recipe, chain: Chain, folder: Path
) -> Keeping | None:
    """Whether the trial keeps activations, where, and how exactly; None where all stages learn."""
    cut = cut_of(plan.table)
    if cut == 0:
        return None
    device = setting.fabric.device
    gpu = device.type == "cuda"
    memory = torch.cuda.mem_get_info(device)[0] * SHARE if gpu else default_memory_limit()
    value = _example(setting, data.image_size, chain, cut)
    return choose(
        cut,
        images_kept(data, plan),
        value.nbytes,
        sum(setting.flops[:cut]),
        speeds=GPU if gpu else CPU,
        memory=memory,
        disk=shutil.disk_usage(folder).free * SHARE,
        halves=value.dtype == torch.float32,
    )


def images_kept(data: Data, plan: Recipe) -> int:
    """Views of training images that the run may show, and the plain images that it measures on."""
    steps = sum(round(phase.steps * plan.unit) for phase in plan.phases) * plan.extension_limit
    training = len(data.training)
    views = min(batches.VIEWS, -(-int(steps) * plan.batch // training))
    plain = len(data.splits.validation)
    if not plan.freeze_batchnorm:
        plain += min(STATISTICS_IMAGES, training)
    return views * training + plain


def activations_for(
    setting: Setting,
    known: dict[str, Activations],
    plan: Recipe,
    chain: Chain,
    keeping: Keeping | None,
    folder: Path,
) -> Activations | None:
    """The activations that the trial reads: those of the trial before it where they are the same.

    The arm's runs at other rates have the same frozen stages and see the same images in the same
    order. `known` holds the latest; what an earlier arm kept is dropped.
    """
    if keeping is None or not keeping.kept:
        known.clear()
        return None
    device, prefix = setting.fabric.device, below(chain, plan.cut, setting.fabric)
    order = Order(plan.images, plan.batch, plan.seed)
    key = digest_of(
        [
            _weights(chain, plan.cut),
            hashlib.sha256(setting.training.tobytes()).hexdigest(),
            [plan.cut, plan.batch, plan.seed],
            [keeping.place, keeping.half],
        ]
    )
    if key not in known:
        known.clear()
        known[key] = Activations(prefix, order, keeping, folder / "checkpoint", device)
    known[key].prefix = prefix
    return known[key]


def _weights(chain: Chain, cut: int) -> str:
    """A digest of everything in the stages below the cut."""
    owned, state = chain.state_names(), chain.network.state_dict()
    digest = hashlib.sha256()
    for stage in chain.stage_names[:cut]:
        for name in owned[stage]:
            value = state[name].detach().cpu().contiguous()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _example(setting: Setting, side: int, chain: Chain, cut: int) -> torch.Tensor:
    """What the stages below the cut give for one image."""
    modes = [(module, module.training) for module in chain.modules()]
    chain.eval()
    value = below(chain, cut, setting.fabric)(
        torch.zeros(1, 3, side, side, device=setting.fabric.device)
    )
    for module, mode in modes:
        module.training = mode
    return value
