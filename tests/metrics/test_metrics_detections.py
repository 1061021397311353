"""Detections on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from detections_made_up import detections_of, truth_of

from headstart.errors import HeadstartError
from headstart.metrics.detections import (
    Detections,
    decode_masks,
    encode_masks,
    read_detections,
    write_detections,
)
from headstart.metrics.precision import average_precision


def test_detections_are_read_as_they_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = truth_of(rng, points=4)
    detections = detections_of(rng, truth, masks=True)
    indices = np.arange(len(detections))[::-1].copy()
    write_detections(tmp_path / "detections.npz", indices, detections)
    again, read = read_detections(tmp_path / "detections.npz")
    np.testing.assert_array_equal(again, indices)
    for one, other in zip(detections, read, strict=True):
        for name in ("boxes", "scores", "labels", "keypoints"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.masks == other.masks
    texts = [tuple({**rle, "counts": rle["counts"]} for rle in found.masks) for found in detections]
    as_text = [replace(d, masks=masks) for d, masks in zip(detections, texts, strict=True)]
    write_detections(tmp_path / "texts.npz", indices, as_text)  # as JSON has them
    assert read_detections(tmp_path / "texts.npz")[1][0].masks == detections[0].masks
    assert average_precision(truth, as_text, "masks") == average_precision(truth, read, "masks")
    plain = [Detections(d.boxes, d.scores, d.labels) for d in detections]
    write_detections(tmp_path / "plain.npz", indices, plain)
    assert all(
        d.masks is None and d.keypoints is None for d in read_detections(tmp_path / "plain.npz")[1]
    )
    write_detections(tmp_path / "none.npz", indices[:0], [])
    assert read_detections(tmp_path / "none.npz")[1] == []


def test_files_that_hold_no_detections_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("nothing")
    for name in ("x.npz", "missing.npz"):
        with pytest.raises(HeadstartError, match=name):
            read_detections(tmp_path / name)


def test_masks_are_decoded_as_they_were_encoded() -> None:
    masks = np.random.default_rng(0).random((5, 7, 9)) < 0.4
    np.testing.assert_array_equal(decode_masks(encode_masks(masks), 7, 9), masks)
    assert decode_masks((), 7, 9).shape == (0, 7, 9)
    with pytest.raises(ValueError, match="other lengths"):
        Detections(np.zeros((2, 4), np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64))
