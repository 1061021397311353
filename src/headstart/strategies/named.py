"""The strategies that the field calls by name, and reading a user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from headstart.errors import HeadstartError
from headstart.strategies import defaults, transplants
from headstart.strategies.named_objects import FROM_COCO, OBJECT_NAMES
from headstart.strategies.table import CONTROL, Phase, Strategy

# In this order they are run and listed: the cheap ones first.
NAMES = (
    "linear",
    "svm",
    "linear-all-stages",
    CONTROL,
    "partial",
    "fine-tune",
    "scratch",
    "scratch-gn",
)
SOLVED = ("linear", "svm", "linear-all-stages", CONTROL)  # no training steps


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
        CONTROL: Strategy(name=CONTROL, start="random"),
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
    strategy = known.get(name) or transplants.table(name, stages)
    if strategy is None:
        raise HeadstartError(
            f"Unknown strategy '{name}'. Named ones: {', '.join(NAMES)}, {transplants.WORD}; "
            "or give a YAML file."
        )
    return strategy


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
    known = {*NAMES, *OBJECT_NAMES, FROM_COCO}
    taken = [s.name for s in strategies if s.name in known or transplants.taken(s.name)]
    if taken:
        raise HeadstartError(f"{path}: '{taken[0]}' is a name that headstart uses; choose another.")
    return strategies


def choose(
    words: Sequence[str],
    stages: Sequence[str],
    known: Callable[[str, Sequence[str]], Strategy] = named,
) -> list[Strategy]:
    """Strategies from names and YAML files, each once, in the order given.

    `known` makes one of a name and the network's stages: see `named`.

    Raises HeadstartError for names that are unknown or double, and for a strategy that begins
    with the weights of an arm that is not trained before it.
    """
    chosen: list[Strategy] = []
    for word in transplants.expand(words, len(stages)):
        if word.endswith((".yaml", ".yml")):
            chosen += read_strategies(Path(word))
        else:
            chosen.append(known(word, stages))
    names = [strategy.name for strategy in chosen]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise HeadstartError(f"--strategies names {', '.join(sorted(doubled))} more than once.")
    _refuse_missing_sources(chosen)
    return chosen


def _refuse_missing_sources(chosen: Sequence[Strategy]) -> None:
    """Weights of another arm must be there, and fit, when they are needed."""
    before: dict[str, Strategy] = {}
    for strategy in chosen:
        for source in strategy.sources:
            begins = f"Strategy '{strategy.name}' begins with the weights of '{source}', which"
            if source not in before:
                raise HeadstartError(
                    f"{begins} does not come before it. Name {source} before it in --strategies."
                )
            if not before[source].trains:
                raise HeadstartError(f"{begins} is never trained. Begin with an arm that is.")
            if before[source].norm != "own":
                raise HeadstartError(
                    f"{begins} has GroupNorm in BatchNorm's place. Begin with an arm that has not."
                )
        before[strategy.name] = strategy
