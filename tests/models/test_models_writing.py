"""Predictions as JSON and CSV: complete, parsable, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.models import (
    FoundObject,
    ImageObjects,
    Prediction,
    objects_to_csv,
    to_csv,
    to_json,
)

CAT = Prediction("a.jpg", "cat", 0.75, {"cat": 0.75, "dog": 0.2, "owl": 0.05})


def test_json_has_one_object_an_image() -> None:
    assert json.loads(to_json([CAT])) == [
        {"image": "a.jpg", "label": "cat", "score": 0.75, "probabilities": CAT.probabilities}
    ]
    assert json.loads(to_json([])) == []


def test_csv_ranks_the_classes() -> None:
    one = Prediction("b.jpg", "dog", 0.9, {"dog": 0.9})
    assert to_csv([CAT, one]) == (
        "image,label,score,label_2,score_2,label_3,score_3\n"
        "a.jpg,cat,0.75,dog,0.2,owl,0.05\n"
        "b.jpg,dog,0.9\n"
    )
    assert to_csv([one]) == "image,label,score\nb.jpg,dog,0.9\n"
    assert to_csv([]) == "image,label,score\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_csv_cells_are_never_formulas(start: str) -> None:
    text = f'{start}HYPERLINK("x"),1'
    written = to_csv([Prediction(text, text, 0.5, {text: 0.5, f"{text}2": 0.4})])
    row = list(csv.reader(io.StringIO(written, newline="")))[1]
    text = text.replace("\r", "\n")
    assert row == [f"'{text}", f"'{text}", "0.5", f"'{text}2", "0.4"]


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, unique=True
    )
)
def test_any_name_survives_the_way_through_text(names: list[str]) -> None:
    row = Prediction(names[0], names[0], 0.5, dict.fromkeys(names, 0.5))
    read = list(csv.reader(io.StringIO(to_csv([row]), newline="")))[1]
    for cell, name in zip([read[0], read[1], *read[3::2]], [names[0], *names], strict=True):
        assert cell.removeprefix("'") == name.replace("\r", "\n").removeprefix("'")
    assert list(json.loads(to_json([row]))[0]["probabilities"]) == names


def test_names_of_files_that_are_no_text_can_be_printed() -> None:
    odd = Prediction(b"\xff.png".decode("utf-8", "surrogateescape"), "cat", 1.0, {"cat": 1.0})
    for text in (to_json([odd]), to_csv([odd])):
        assert "?.png" in text
        text.encode("utf-8")


def test_a_line_for_each_object_and_empty_cells_for_points_that_were_not_found() -> None:
    box = (1.0, 2.0, 3.5, 4.0)
    found = [
        ImageObjects("a.jpg", 9, 8, ()),
        ImageObjects("=b", 9, 8, (FoundObject("@cat", 0.5, box, keypoints={"nose": (1.5, 2.5)}),)),
    ]
    assert objects_to_csv(found, ("nose", "tail")) == (
        "image,label,score,x0,y0,x1,y1,nose x,nose y,tail x,tail y\n"
        "'=b,'@cat,0.5,1.0,2.0,3.5,4.0,1.5,2.5,,\n"
    )
    assert objects_to_csv([]) == "image,label,score,x0,y0,x1,y1\n"
    assert json.loads(to_json(found)) == [
        {"image": "a.jpg", "width": 8, "height": 9, "objects": []},
        {
            "image": "=b",
            "width": 8,
            "height": 9,
            "objects": [
                {"label": "@cat", "score": 0.5, "box": [*box], "keypoints": {"nose": [1.5, 2.5]}}
            ],
        },
    ]
