"""Launch files: their form, and that the commands in them are ones that headstart knows."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field
from typer.main import get_command

from headstart.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples"
SLURM = sorted(EXAMPLES.glob("*.sbatch"))
KUBERAY = EXAMPLES / "kuberay_job.yaml"
# Of sbatch's own page: those that the files use, and the form of their values.
DIRECTIVES = {
    "job-name": r"[\w-]+",
    "nodes": r"\d+",
    "ntasks-per-node": r"\d+",
    "gpus-per-node": r"\d+",
    "cpus-per-task": r"\d+",
    "exclusive": None,
    "time": r"\d+:\d\d:\d\d",
    "requeue": None,
    "open-mode": r"append|truncate",
    "output": r"[\w-]+-%j\.log",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Container(_Strict):
    name: str
    image: str
    resources: dict[Literal["requests", "limits"], dict[str, str]]
    volumeMounts: list[dict[Literal["name", "mountPath"], str]]  # noqa: N815


class _PodSpec(_Strict):
    containers: list[_Container] = Field(min_length=1)
    volumes: list[dict[str, Any]]


class _Template(_Strict):
    spec: _PodSpec


class _Head(_Strict):
    rayStartParams: dict[str, str]  # noqa: N815
    template: _Template


class _Workers(_Head):
    groupName: str  # noqa: N815
    replicas: int = Field(ge=0)
    minReplicas: int = Field(ge=0)  # noqa: N815
    maxReplicas: int = Field(ge=0)  # noqa: N815


class _Cluster(_Strict):
    rayVersion: str  # noqa: N815
    headGroupSpec: _Head  # noqa: N815
    workerGroupSpecs: list[_Workers]  # noqa: N815


class _Spec(_Strict):
    entrypoint: str
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]  # noqa: N815
    backoffLimit: int = Field(ge=0)  # noqa: N815
    shutdownAfterJobFinishes: bool  # noqa: N815
    ttlSecondsAfterFinished: int = Field(ge=0)  # noqa: N815
    rayClusterSpec: _Cluster  # noqa: N815


class _RayJob(_Strict):
    """The fields of KubeRay's reference (ray.io/v1) that the file uses, and no others."""

    apiVersion: Literal["ray.io/v1"]  # noqa: N815
    kind: Literal["RayJob"]
    metadata: dict[Literal["name", "generateName"], str]
    spec: _Spec


def _commands(text: str) -> list[list[str]]:
    """Every call of headstart: the command, and its arguments."""
    lines = text.replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:^|-m |entrypoint: )headstart (.*)", line) for line in lines]
    return [shlex.split(match[1]) for match in found if match]


@pytest.mark.parametrize("path", [*SLURM, KUBERAY], ids=lambda path: path.name)
def test_headstart_knows_the_commands(path: Path) -> None:
    calls = _commands(path.read_text(encoding="utf-8"))
    assert calls
    group: Any = get_command(app)
    for name, *arguments in calls:
        command = group.commands[name]
        # Raises for an option that there is not, and for a value that it does not take.
        context = command.make_context(name, arguments)
        assert context.params["data"]


@pytest.mark.parametrize("path", SLURM, ids=lambda path: path.name)
def test_slurm_reads_the_directives_and_bash_the_rest(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/bash\n")
    head, _, body = text.partition("\nset -euo pipefail\n")
    # Slurm reads no directive behind the first command.
    assert "#SBATCH" not in body
    found = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", head, re.MULTILINE))
    assert len(found) == head.count("#SBATCH")
    for name, value in found.items():
        form = DIRECTIVES[name]
        assert re.fullmatch(form, value) if form else value == ""
    assert {"nodes", "time", "requeue"} <= set(found)
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    subprocess.run([bash, "-n", str(path)], check=True)


def test_torchrun_knows_its_options_and_restarts_on_stores_of_their_own() -> None:
    from torch.distributed.run import get_args_parser

    text = (EXAMPLES / "slurm_torchrun.sbatch").read_text(encoding="utf-8")
    assert "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1\n" in text
    call = re.search(r" torchrun +(--.*)", text.replace("\\\n", " "))
    assert call is not None
    read = get_args_parser().parse_args(shlex.split(call[1]))
    assert (read.rdzv_backend, read.max_restarts, read.module) == ("c10d", 3, True)
    assert read.training_script == "headstart"
    gpus = re.search(r"#SBATCH --gpus-per-node=(\d+)", text)
    assert gpus is not None
    assert gpus[1] == read.nproc_per_node


def test_kuberay_knows_the_fields() -> None:
    job = _RayJob.model_validate(yaml.safe_load(KUBERAY.read_text(encoding="utf-8")))
    cluster = job.spec.rayClusterSpec
    for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs):
        [container] = group.template.spec.containers
        volumes = {volume["name"] for volume in group.template.spec.volumes}
        assert {mount["name"] for mount in container.volumeMounts} <= volumes
        # Kubernetes wants whole GPUs, and as many as the limit.
        assert container.resources["requests"] == container.resources["limits"]
    for group in cluster.workerGroupSpecs:
        assert group.minReplicas <= group.replicas <= group.maxReplicas
    assert (
        len(
            {
                c.image
                for g in (cluster.headGroupSpec, *cluster.workerGroupSpecs)
                for c in g.template.spec.containers
            }
        )
        == 1
    )  # one version of headstart everywhere
