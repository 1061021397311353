"""The strategies for objects: the arms of He et al. 2018, their weights the one difference.

Every head is new, every arm has one rate for all that learns, and BatchNorm, where the detector has
it, is live in all that learns: what the arms share is the recipe too.
"""

from __future__ import annotations

from collections.abc import Sequence

from headstart.errors import HeadstartError
from headstart.strategies import defaults
from headstart.strategies.table import CONTROL, HEAD, Phase, Strategy

FROZEN = "frozen-backbone"
FROM_COCO = "from-coco"  # fine-tuning that begins with a detector's backbone: `detectors.coco`

# In this order they are run and listed: the cheap ones first.
OBJECT_NAMES = (CONTROL, FROZEN, "partial", "fine-tune", "scratch")


def named_for_objects(name: str, stages: Sequence[str]) -> Strategy:
    """The strategy called `name` for a detector on these stages of a backbone; not from-coco.

    The pyramid and the heads, new in every arm, are the row `head`. Raises HeadstartError for an
    unknown name.
    """
    pretrained = {
        FROZEN: Phase(learn=HEAD),
        "partial": Phase(learn=f"last {defaults.partial_stages(len(stages))}"),
        "fine-tune": Phase(),
    }
    drawn = {
        CONTROL: Phase(learn=HEAD),
        "scratch": Phase(steps=defaults.SCRATCH_STEPS, extend=True),
    }
    start = "pretrained" if name in pretrained else "random"
    phase = (pretrained | drawn).get(name)
    if phase is None:
        raise HeadstartError(
            f"Unknown strategy '{name}' for objects. Named ones: {', '.join(OBJECT_NAMES)}, "
            f"{FROM_COCO}; or give a YAML file."
        )
    return Strategy(name=name, start=start, head="new", batchnorm="live", phases=(phase,))
