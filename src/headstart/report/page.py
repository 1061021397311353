"""report.html: one file that opens offline, asks for nothing and runs no script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from headstart import records
from headstart.report import (
    figures,
    inspection,
    objects,
    palette,
    probe,
    sizes,
    timing,
    transplants,
    verification,
)
from headstart.report.figures import ENDS
from headstart.report.limits import gloss, limits
from headstart.report.material import Material, gather
from headstart.report.templating import environment


def write(study_folder: Path) -> Path:
    """Draw ``report.html`` in a study folder from its records, and return its path.

    The same records give the same page. Nothing is run, and nothing but the page is written.

    Raises:
        HeadstartError: where the folder holds no readable study.json.
    """
    path = study_folder / "report.html"
    records.write_text(path, render(gather(study_folder)))
    return path


def render(material: Material) -> str:
    """The page as text."""
    template = environment(material.metric).get_template("report.html.j2")
    page = template.render(_context(material))
    return page.encode("utf-8", "replace").decode("utf-8")


def _context(material: Material) -> dict[str, Any]:
    answer = material.answer
    chosen = next(
        (arm for arm in material.arms if arm["strategy"] == answer["verdict"]["choice"]), None
    )
    other = next(
        (
            arm["strategy"]
            for arm in material.arms
            if arm["strategy"] != material.subject and material.judged(arm["strategy"])
        ),
        None,
    )
    headline, *rest = re.split(r"(?<=[.!?])\s+(?=[A-Z])", answer["verdict"]["sentence"], maxsplit=1)
    tables = {name: held[0].record.table for name, held in material.seeds.items() if held}
    told = {rule["rule"] for rule in answer["verdict"].get("rules", [])}
    records_of_arms = [seed.record for held in material.seeds.values() for seed in held]
    return {
        "answer": answer,
        "question": answer["question"],
        "profile": answer["profile"],
        "verdict": answer["verdict"],
        "headline": headline,
        "standfirst": " ".join(rest),
        "arms": material.arms,
        "chosen": chosen,
        "subject": material.subject,
        "subject_seeds": len(material.judged(material.subject)) if material.subject else 0,
        "other": other,
        "looks": figures.looks(material),
        "slots": figures.slots(material),
        "colours": palette.COLOURS,
        "gloss": {
            arm["strategy"]: gloss(arm["strategy"], material.metric) for arm in material.arms
        },
        "span": _span(material.arms),
        "reach": max([1e-9] + [abs(p[end]) for p in answer["verdict"]["pairs"] for end in ENDS]),
        "curves": figures.curves(material),
        "costs": figures.cost(material),
        **objects.view(material),
        **_transplants(material),
        **probe.view(answer.get("probe"), told),
        **sizes.view(
            answer.get("sizes"), [arm["strategy"] for arm in material.arms], material.metric
        ),
        "tuning": answer.get("tuning"),
        "outlook": answer.get("outlook"),
        "verification": verification.view(material.folder),
        "seen": inspection.view(answer["profile"], told),
        "time": timing.said(answer),
        "times": timing.rows(material.arms),
        **_classes(material, other),
        "study_yaml": material.question,
        "trials": records_of_arms,
        "protocols": sorted({record.protocol for record in records_of_arms}),
        "limits": limits(answer, tables),
    }


def _classes(material: Material, other: str | None) -> dict[str, Any]:
    """What is drawn of single classes and images; of labels alone, not of objects."""
    return {
        "recall": figures.recall(material, other),
        "class_lines": figures.class_lines(material, other),
        "shown_classes": figures.SHOWN_CLASSES,
        "confusion": figures.confusion_figure(material),
        "confused": figures.confused(material),
        "mistakes": figures.mistakes(material),
    }


def _transplants(material: Material) -> dict[str, Any]:
    found = material.answer.get("transplants")
    return {
        "transplants": found,
        "transplant_figure": figures.transplants(material),
        "transplant_words": transplants.said(found) if found else [],
        "transplant_terms": transplants.TERMS,
        "transplant_meaning": transplants.MEANING,
    }


def _span(arms: list[dict[str, Any]]) -> tuple[float, float]:
    """The values between which the table draws its intervals."""
    ends = [arm["metric"][end] for arm in arms if arm["metric"] for end in ENDS]
    return (min(ends), max(max(ends), min(ends) + 1e-6)) if ends else (0.0, 1.0)
