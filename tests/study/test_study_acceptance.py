"""A frozen network with a linear head is what anyone would build of the same parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstart.execution import Trial, run
from headstart.strategies import named
from headstart.study import plan, question_from
from headstart.training import Hooks


def test_the_frozen_arm_is_scikit_learns_pipeline_on_the_same_codes(tmp_path: Path) -> None:
    asked = question_from(data="shapes", strategies=["linear"], steps=1, seeds=1, image_size=64)
    study = plan.prepare(asked, tmp_path)
    setting = study.setting
    linear = named("linear", setting.stages)
    record = run(Trial(linear, seed=0), setting, tmp_path, Hooks())
    codes = setting.codes(linear, 0, setting.reference)
    data, splits = setting.data, study.splits

    theirs = make_pipeline(
        StandardScaler(), LogisticRegression(C=record.chosen["penalty"], max_iter=5000, tol=1e-6)
    )
    theirs.fit(codes.train["last"], data.labels(data.training))

    expected = theirs.score(codes.validation["last"], data.labels(splits.validation))
    assert record.accuracy == pytest.approx(expected, abs=0.003)
    assert expected > 0.5  # of six classes: the codes say something
