"""What a place of codes was asked for: written beside the codes, and never changed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from headstart.data.many import Place
from headstart.errors import HeadstartError

MANIFEST = "manifest.json"
FORMAT = 1  # of the place: the names of its files and what is in them


@dataclass(frozen=True)
class ManyQuestion:
    """Everything that decides which codes of which images a place holds."""

    source: str  # its address
    codes: list[tuple[str, str]]  # stages and poolings
    about: dict[str, Any]  # `features.extraction.about_codes`: network, weights, engine, versions
    engine: str
    images_per_file: int
    image_column: str | None = None
    label_column: str | None = None
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """As it stands in manifest.json."""
        return json.loads(json.dumps(asdict(self)))


def asked_before(place: Place) -> dict[str, Any] | None:
    """What the place was asked for; None where nothing was."""
    try:
        found: dict[str, Any] = json.loads(place.read(MANIFEST))
    except FileNotFoundError:
        return None
    return found


def refuse_another(place: Place, question: ManyQuestion) -> None:
    """Raise HeadstartError, naming what differs, where the place was asked something else."""
    before = asked_before(place)
    changed = [] if before is None else _differences(before, question.to_json())
    if changed:
        raise HeadstartError(
            f"{place.address} holds codes of another question: {'; '.join(changed[:3])}.\n"
            "Codes are never mixed: give another --to, or ask as before."
        )


def hold(place: Place, question: ManyQuestion) -> None:
    """Write the question down, where that is not done."""
    if asked_before(place) is None:
        text = json.dumps(question.to_json(), indent=1, ensure_ascii=False)
        place.write(MANIFEST, text.encode())


def _differences(before: dict[str, Any], now: dict[str, Any], of: str = "") -> list[str]:
    told = []
    for name in sorted({*before, *now}):
        was, is_now = before.get(name), now.get(name)
        if isinstance(was, dict) and isinstance(is_now, dict):
            told += _differences(was, is_now, f"{of}{name}.")
        elif was != is_now:
            told.append(f"{of}{name} was {_short(was)}, now {_short(is_now)}")
    return told


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
