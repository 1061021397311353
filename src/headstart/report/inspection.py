"""What the images are, before anything is trained: in the terminal, and on a page of its own.

`profile` is the same object everywhere: `profile` in study.json, and what ``inspect --json``
prints. Of a study made by an older version some of it may be missing.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from headstart import records
from headstart.evidence.similarity import band
from headstart.report import wording
from headstart.report.material import printable
from headstart.report.templating import environment

Profile = dict[str, Any]

SHOWN_GROUPS, SHOWN_PATHS = 3, 4  # in the terminal
PAGE_GROUPS, PAGE_PATHS = 50, 8
SHOWN_CLASSES = 8
FINDINGS = {  # fields that list groups of images, and how they are told
    "duplicates": "of the same bytes",
    "near_duplicates": "of nearly the same picture",
    "across_splits": "of either kind in more than one of the given splits",
    "conflicting_labels": "of the same bytes under several labels",
}
_LIKE = {
    "similar": "like",
    "partly similar": "partly like",
    "different": "unlike",
}
_CLOSE = {"similar": "close", "partly similar": "somewhat off", "different": "far off"}


def show(answer: dict[str, Any], console: Console) -> None:
    """Print an inspection: facts, warnings, and the first groups of copies."""
    lines = Table.grid(padding=(0, 2, 0, 0))
    for name, said in facts(answer).items():
        lines.add_row(name, Text(said))
    console.print()
    alike = sentence(answer)
    if alike:
        console.print(Text(alike, style="bold"))
        console.print()
    console.print(lines)
    for warning in answer["warnings"]:
        console.print(Text(f"\nWarning: {printable(warning)}", style="yellow"))
    for field, meaning in FINDINGS.items():
        found = groups(answer, field)
        if found:
            console.print(f"\nimages {meaning}:")
            for group in found[:SHOWN_GROUPS]:
                console.print(Text(f"  {_some(group, SHOWN_PATHS)}"), soft_wrap=True)
            if len(found) > SHOWN_GROUPS:
                console.print(f"  and {len(found) - SHOWN_GROUPS:,} more groups (--json: all)")


def sentence(profile: Profile) -> str:
    """Whether the images are like those of pretraining; empty where it was not measured."""
    found = profile.get("similarity")
    if not found:
        return ""
    why = f": {_why(found['quarters'])}" if found["quarters"] else ""
    return (
        f"Your images look {_LIKE[found['band']]} those the weights were trained on "
        f"({found['score']:.2f}{why})."
    )


def _why(quarters: list[float]) -> str:
    first, last = _CLOSE[band(quarters[0])], _CLOSE[band(quarters[-1])]
    if first == last:
        return f"colours, resolution and content are all {first}"
    return f"colours and resolution are {first}, content is {last}"


def facts(profile: Profile) -> dict[str, str]:
    """What was found, in a line for each thing, under the name of that thing."""
    said = {
        "images": _images(profile),
        "objects": _objects(profile),
        "splits": _splits(profile),
        "size": _size(profile),
        "files": _files(profile),
        "similarity": _similarity(profile),
        "folklore": _folklore(profile),
    }
    return {name: text for name, text in said.items() if text}


def groups(profile: Profile, field: str) -> list[list[str]]:
    """Groups of images of one of `FINDINGS`, each image by its path (and its label)."""
    found = profile.get(field) or []
    if field != "conflicting_labels":
        return [[printable(path) for path in group] for group in found]
    return [
        [
            printable(f"{path} ({label})")
            for path, label in zip(conflict["paths"], conflict["labels"], strict=True)
        ]
        for conflict in found
    ]


def view(profile: Profile, told: Collection[str] = ()) -> dict[str, Any]:
    """What the templates draw of a profile; rules that were `told` are not told again."""
    found = profile.get("similarity") or {}
    quarters = found.get("quarters") or []
    names = ("first quarter: colours, resolution", "second", "third", "last quarter: content")
    return {
        "facts": {name: said for name, said in facts(profile).items() if name not in told},
        "quarters": list(zip(names, quarters, strict=True)) if quarters else [],
        "findings": [
            (meaning, len(found), [_some(group, PAGE_PATHS) for group in found[:PAGE_GROUPS]])
            for field, meaning in FINDINGS.items()
            if (found := groups(profile, field))
        ],
        "broken": profile.get("broken") or [],
    }


def write(path: Path, answer: dict[str, Any]) -> Path:
    """Write an inspection as one HTML file, which asks for nothing and runs no script."""
    template = environment().get_template("inspection.html.j2")
    page = template.render(answer=answer, sentence=sentence(answer), seen=view(answer))
    records.write_text(path, page.encode("utf-8", "replace").decode("utf-8"))
    return path


def _images(profile: Profile) -> str:
    counts = profile["images_per_class"]
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    many = "class" if len(counts) == 1 else "classes"
    said = f"{profile['images']:,} of {len(counts):,} {many}"
    if counts[least] == counts[most]:
        return f"{said}, {counts[most]:,} of each"
    return (
        f"{said}, from {counts[least]:,} ({printable(least)}) to {counts[most]:,} "
        f"({printable(most)})"
    )


def _objects(profile: Profile) -> str:
    found = profile.get("objects")
    if not found:
        return ""
    names = sorted(found["classes"], key=lambda name: -found["classes"][name])
    named = [f"{printable(name)} {found['classes'][name]:,}" for name in names[:SHOWN_CLASSES]]
    more = f" and {len(names) - SHOWN_CLASSES} more classes" if len(names) > SHOWN_CLASSES else ""
    empty = f"; {found['negatives']:,} images show none" if found["negatives"] else ""
    sizes = ", ".join(f"{found[size]:.0%} {size}" for size in ("small", "medium", "large"))
    return (
        f"{found['instances']:,} ({' and '.join(found['kinds'])}, {found['layout']}): "
        f"{found['instances_mean']:.1f} an image, {found['instances_max']} at most{empty}; "
        f"{', '.join(named)}{more}; {found['median_side']:.0f} pixels at the median, {sizes}"
    )


def _splits(profile: Profile) -> str:
    sizes, made = profile["splits"], profile.get("splits_made", [])
    parts = [
        f"{number:,} {name}{'' if name not in made or len(made) == len(sizes) else ' (made here)'}"
        for name, number in sizes.items()
    ]
    here = ", all made here" if len(made) == len(sizes) else ""
    if not sizes["validation"]:
        return f"{', '.join(parts)}{here}"
    if profile.get("objects"):
        return f"{', '.join(parts)}{here}"
    power = 100 * profile["resolving_power"]
    return (
        f"{', '.join(parts)}{here}; {sizes['validation']:,} validation images cannot separate "
        f"strategies that differ by less than about {power:.1f} points"
    )


def _size(profile: Profile) -> str:
    side = profile.get("shorter_side")
    if not side:
        return ""
    spread = f", from {side['least']} to {side['most']}" if side["least"] < side["most"] else ""
    shown = (profile.get("similarity") or {}).get("image_size", 0)
    small = f"; enlarged to {shown}, which the first quarter of the depth shows"
    enlarged = small if side["median"] < shown else ""
    return f"{side['median']} pixels on the shorter side{spread}{enlarged}"


def _files(profile: Profile) -> str:
    if profile.get("duplicates") is None:
        return ""
    said = [f"{len(profile['broken']):,} that cannot be read"] if profile["broken"] else []
    for field, meaning in FINDINGS.items():
        number = len(profile[field])
        if number:
            said.append(f"{number:,} {'group' if number == 1 else 'groups'} {meaning}")
    return "; ".join(said) or "all can be read, and no two show the same picture"


def _similarity(profile: Profile) -> str:
    found = profile.get("similarity")
    if not found:
        return ""
    depth = ", ".join(f"{score:.2f}" for score in found["quarters"] or [])
    return (
        f"{found['score']:.2f}{f', by quarters of depth {depth}' if depth else ''}; 1 is as in "
        f"training, 0 as far off as noise ({found['images']:,} training images were looked at, at "
        f"{found['image_size']} pixels)"
    )


def _folklore(profile: Profile) -> str:
    found = profile.get("quadrant")
    if not found:
        return ""
    return f"{found['name']}: {found['advice']} ({found['source']}). A study measures it"


def _some(group: list[str], most: int) -> str:
    more = f" and {len(group) - most} more" if len(group) > most else ""
    return wording.listed(group) if not more else ", ".join(group[:most]) + more
