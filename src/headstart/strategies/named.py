"""The strategies that the field calls by name, and reading a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from headstart.errors import HeadstartError
from headstart.strategies import defaults
from headstart.strategies.table import Phase, Strategy

# In this order they are run and listed: the cheap ones first.
NAMES = (
    "linear",
    "svm",
    "linear-all-stages",
    "frozen-random",
    "partial",
    "fine-tune",
    "scratch",
    "scratch-gn",
)
CONTROL = "frozen-random"
SOLVED = ("linear", "svm", "linear-all-stages", "frozen-random")  # no training steps


def named(name: str, stages: Sequence[str]) -> Strategy:
    """The strategy called `name` for a network with these stages.

    Raises HeadstartError for an unknown name.
    """
    everything = Phase(steps=1.0, first_stage=defaults.FIRST_STAGE_SHARE)
    long = Phase(steps=defaults.SCRATCH_STEPS, extend=True)
    last = Phase(
        learn=f"last {defaults.partial_stages(len(stages))}",
        first_stage=defaults.FIRST_STAGE_SHARE,
    )
    known = {
        "linear": Strategy(name="linear"),
        "svm": Strategy(name="svm", head="svm"),
        "linear-all-stages": Strategy(name="linear-all-stages", codes="all"),
        "frozen-random": Strategy(name="frozen-random", start="random"),
        "partial": Strategy(name="partial", phases=(last,)),
        "fine-tune": Strategy(name="fine-tune", phases=(everything,)),
        "scratch": Strategy(
            name="scratch", start="random", head="new", batchnorm="live", phases=(long,)
        ),
        "scratch-gn": Strategy(
            name="scratch-gn",
            start="random",
            head="new",
            norm="group",
            batchnorm="live",
            phases=(long,),
        ),
    }
    if name not in known:
        raise HeadstartError(
            f"Unknown strategy '{name}'. Named ones: {', '.join(NAMES)}; or give a YAML file."
        )
    return known[name]


def read_strategies(path: Path) -> list[Strategy]:
    """Strategies of a user's own from YAML: one mapping, or a list of them.

    Raises HeadstartError with the file and the field that is wrong.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HeadstartError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise HeadstartError(f"{path} is not a text file in UTF-8.") from error
    except yaml.YAMLError as error:
        raise HeadstartError(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from error
    entries = content if isinstance(content, list) else [content]
    strategies = []
    for entry in entries:
        try:
            strategies.append(Strategy.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "strategy"
            raise HeadstartError(f"{path}: {place}: {first['msg']}.") from error
    taken = [s.name for s in strategies if s.name in NAMES]
    if taken:
        raise HeadstartError(f"{path}: '{taken[0]}' is a name that headstart uses; choose another.")
    return strategies


def choose(words: Sequence[str], stages: Sequence[str]) -> list[Strategy]:
    """Strategies from names and YAML files, each once, in the order given."""
    chosen: list[Strategy] = []
    for word in words:
        if word.endswith((".yaml", ".yml")):
            chosen += read_strategies(Path(word))
        else:
            chosen.append(named(word, stages))
    names = [strategy.name for strategy in chosen]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise HeadstartError(f"--strategies names {', '.join(sorted(doubled))} more than once.")
    return chosen
