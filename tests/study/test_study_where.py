"""Where trials run: what does not go together is refused before anything is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_study import Ended, Finished
from threadpoolctl import threadpool_info

from headstart.errors import HeadstartError
from headstart.study import Where


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on": "slurm"}, "--on slurm is neither local nor ray"),
        ({"address": "auto"}, "--address is for --on ray"),
        ({"records": "s3://bucket"}, "--records is for --on ray"),
        ({"gpus_per_trial": 0.5}, "--gpus-per-trial is for --on ray"),
        ({"cpus_per_trial": 0}, "--cpus-per-trial 0 is less than 1"),
        ({"on": "ray", "gpus_per_trial": 1.5}, "--gpus-per-trial 1.5 is neither a share"),
        ({"on": "ray", "gpus_per_trial": -1}, "--gpus-per-trial -1 is neither a share"),
        ({"on": "ray", "records": "nowhere://x"}, "--records nowhere://x is no place"),
    ],
)
def test_options_that_do_not_go_together_are_named(options: dict[str, Any], said: str) -> None:
    if options.get("on") == "ray":
        pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(HeadstartError, match=said):
        Where(**options)


def test_ray_that_is_not_installed_is_asked_for_before_anything_is_written(
    finished: Finished,
    call: Callable[..., Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    ended = call(*finished.command, "--out", tmp_path / "study", "--on", "ray")
    assert ended.code == 2
    assert "pip install headstart[ray]" in ended.err
    assert not (tmp_path / "study").exists()


def test_trials_compute_with_as_many_threads_as_asked_and_nothing_else_does() -> None:
    before = torch.get_num_threads()
    with Where(cpus_per_trial=3).executor():
        assert torch.get_num_threads() == 3
        assert {pool["num_threads"] for pool in threadpool_info()} == {3}
    assert torch.get_num_threads() == before
    with Where().executor():
        assert torch.get_num_threads() == before


def test_who_does_not_ask_for_ray_does_not_meet_it(finished: Finished) -> None:
    code = "import sys, headstart.cli, headstart.study; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
