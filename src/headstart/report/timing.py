"""What runs were forecast to take, beside what they took."""

from __future__ import annotations

from typing import Any

from headstart.report import wording

APART = 1.1  # x: below it the whole plan and what ran of it are not told apart


def said(answer: dict[str, Any]) -> str:
    """Forecast and fact for the whole study; empty for an answer of an older version."""
    found = answer.get("seconds")
    if not found:
        return ""
    spent = f"spent {wording.duration(found['spent'])}"
    if found["forecast"] is None:
        return f"{spent}; not forecast: {found['reason']}"
    ran, whole = found["of_what_ran"], found["forecast"]
    plan = f" (the whole plan {wording.duration(whole)})" if whole > APART * ran else ""
    return f"forecast {wording.duration(ran)}, {spent}{plan}"


def rows(arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The seconds of each arm that ran and was forecast, and how many times that was spent."""
    found = []
    for arm in arms:
        seconds = arm.get("seconds")
        if seconds and seconds["of_what_ran"]:
            times = seconds["spent"] / seconds["of_what_ran"]
            found.append({"strategy": arm["strategy"], **seconds, "times": times})
    return found
