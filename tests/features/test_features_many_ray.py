"""Extraction on Ray: the codes of the local extractor, whatever dies meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from features_small import SIZE, chain_from, store_of
from safetensors.numpy import load_file

from headstart.data import open_dataset
from headstart.errors import HeadstartError
from headstart.features import CodeName, Extraction
from headstart.features.many import ManyCodes, extract_many
from headstart.features.streamed_solving import solve_head
from headstart.features.writing import write_codes
from s3_server import S3

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from many_sources import write_folder, write_parquet, write_shards

ray = pytest.importorskip("ray", reason="Ray is not installed: headstart[ray]")
pq = pytest.importorskip("pyarrow.parquet", reason="files of codes need pyarrow")
pytestmark = pytest.mark.slow  # a cluster takes seconds to start, and its workers import torch

BACKBONE = "timm/test_resnet"
IMAGES = 30


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    folder = tempfile.mkdtemp(prefix="hs")  # sockets lie in it: their paths must be short
    ray.init(
        "local", num_cpus=2, include_dashboard=False, object_store_memory=200 * 10**6,
        _temp_dir=folder, logging_level="error", log_to_driver=False,
    )  # fmt: skip
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    chain_from(folder)
    return next(folder.glob("*.safetensors"))


def options(weights: Path) -> dict[str, Any]:
    return {
        "backbone": BACKBONE, "weights": str(weights), "image_size": SIZE, "engine": "torch",
        "stages": ["layer1", "last"], "images_per_file": 4,
    }  # fmt: skip


def run(source: Path, to: Path, weights: Path, **more: Any) -> ManyCodes:
    return extract_many(str(source), str(to), **(options(weights) | more))


def table(place: Path) -> dict[str, Any]:
    """All rows, in order; the names of columns and their types with them."""
    found = pq.read_table(place)
    return {"schema": found.schema.remove_metadata()} | found.to_pydict()


def local(source: Path, to: Path, weights: Path) -> dict[str, Any]:
    """What `headstart extract` writes."""
    chain = chain_from(weights.parent)
    dataset = open_dataset(source)
    names = [CodeName("layer1", "avg"), CodeName("last", "own")]
    reading = Extraction(chain, dataset, store_of(dataset, chain), names, SIZE)
    positions = np.arange(len(dataset))
    write_codes(to, dataset, positions, reading.stream(positions), reading.about)
    return table(to)


def assert_same_images(ours: dict[str, Any], known: dict[str, Any]) -> None:
    """Of shards or Parquet files, which are in the order of the pictures' numbers."""
    assert ours["schema"] == known["schema"]
    order = np.argsort([name[4:] for name in known["id"]])
    for column in ("label", "layer1/avg", "last"):
        assert ours[column] == [known[column][i] for i in order]


@pytest.mark.usefixtures("_cluster")
def test_codes_have_the_bits_of_the_local_extractor(tmp_path: Path, weights: Path) -> None:
    source = write_folder(tmp_path / "f", IMAGES)
    (source / "cat" / "broken.png").write_bytes(b"nothing")
    done = run(source, tmp_path / "out", weights)
    assert (done.images, done.broken, done.parts) == (IMAGES, 1, 8)
    known = local(source, tmp_path / "local.parquet", weights)
    assert table(tmp_path / "out" / "codes") == known
    (told,) = (tmp_path / "out" / "broken").iterdir()
    assert '"id": "cat/broken.png"' in told.read_text()

    for other in (
        write_shards(tmp_path / "w", IMAGES, 3),
        write_parquet(tmp_path / "p", IMAGES, 2, 9),
    ):
        place = tmp_path / f"{other.name}-out"
        assert run(other, place, weights).images == IMAGES
        assert_same_images(table(place / "codes"), known)

    again = run(source, tmp_path / "out", weights)
    assert (again.images, again.done_before) == (0, 8)
    with pytest.raises(HeadstartError, match="of another question: codes was"):
        run(source, tmp_path / "out", weights, stages=["last"])


@pytest.mark.usefixtures("_cluster")
def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path, weights: Path) -> None:
    source = write_folder(tmp_path / "f", IMAGES)
    killed: list[int] = []

    def kill(done: int, of: int) -> None:
        if not killed:
            killed.extend(workers()[:1])
            os.kill(killed[0], signal.SIGKILL)

    run(source, tmp_path / "out", weights, images_per_file=1, workers=1, progress=kill)
    assert len(killed) == 1
    ours = table(tmp_path / "out" / "codes")
    assert ours == local(source, tmp_path / "local.parquet", weights)


def workers() -> list[int]:
    """The processes of this process's Ray that compute codes."""
    parents, found = {}, []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parents[int(entry.name)] = int(
                (entry / "stat").read_text().rpartition(")")[2].split()[1]
            )
        except OSError:  # it has ended
            continue
        if words[0].startswith(b"ray::MapWorker"):
            found.append(int(entry.name))

    def ours(process: int) -> bool:
        return process == os.getpid() or (process in parents and ours(parents[process]))

    return [process for process in found if ours(process)]


KILLED = """
import os, signal, sys
from headstart.features.many import extract_many
def stop(done, of):
    if done >= 3:
        os.kill(os.getpid(), signal.SIGKILL)
extract_many(sys.argv[1], sys.argv[2], progress=stop, **eval(sys.argv[3]))
"""


@pytest.mark.usefixtures("_cluster")
def test_a_driver_that_is_killed_goes_on_where_it_was(tmp_path: Path, weights: Path) -> None:
    source = write_folder(tmp_path / "f", IMAGES)
    given = options(weights) | {"images_per_file": 2}
    words = [sys.executable, "-c", KILLED, str(source), str(tmp_path / "out"), repr(given)]
    folder = tempfile.mkdtemp(prefix="hs")
    ended = subprocess.run(words, env={**os.environ, "RAY_TMPDIR": folder}, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    there = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "codes").iterdir()}
    whole = [file for file in there if not file.name.startswith(".")]
    assert 3 <= len(whole) < 15
    done = run(source, tmp_path / "out", weights, images_per_file=2)
    assert done.done_before == len(whole)
    assert done.images == IMAGES - 2 * len(whole)
    assert all(file.stat().st_mtime_ns == there[file] for file in whole)
    ours = table(tmp_path / "out" / "codes")
    assert ours == local(source, tmp_path / "local.parquet", weights)


@pytest.mark.usefixtures("_cluster")
def test_heads_have_the_same_bits_on_ray(tmp_path: Path, weights: Path) -> None:
    source = write_folder(tmp_path / "f", 60)
    run(source, tmp_path / "out", weights, images_per_file=2)  # 30 files: two groups
    heads = [
        solve_head(
            tmp_path / "out", tmp_path / f"{on}-{kind}.safetensors",
            head=kind, code="last", on=on, penalty=0.01,
        )
        for on in ("local", "ray")
        for kind in ("ridge", "softmax")
    ]  # fmt: skip
    for ours, theirs in zip(heads[:2], heads[2:], strict=True):
        np.testing.assert_array_equal(ours.head.weight, theirs.head.weight)
        np.testing.assert_array_equal(ours.head.bias, theirs.head.bias)
        assert ours.accuracy == theirs.accuracy


@pytest.mark.usefixtures("_cluster")
def test_weights_that_differ_from_those_asked_for_end_it_in_one_line(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.features import many_pipeline

    source = write_folder(tmp_path / "f", 8)
    copy = tmp_path / "own.safetensors"
    shutil.copy(weights, copy)
    real = many_pipeline.run_pieces

    def changed(*arguments: Any) -> Any:
        chain_from(tmp_path / "other", seed=9)  # as another machine might have them
        shutil.copy(next((tmp_path / "other").glob("*.safetensors")), copy)
        return real(*arguments)

    monkeypatch.setattr("headstart.features.many.run_pieces", changed)
    with pytest.raises(HeadstartError, match="on one of the machines these are other weights"):
        run(source, tmp_path / "out", copy)


STORED = """
import sys
import ray
from headstart.features.many import extract_many
from headstart.features.streamed_solving import solve_head

ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=200 * 10**6)
for name in ("f", "w", "p", "f"):
    done = extract_many(f"s3://bucket/in/{name}", f"s3://bucket/out/{name}", **eval(sys.argv[1]))
    print(done.images, done.broken, done.done_before)
solve_head("s3://bucket/out/f", sys.argv[2], head="ridge", code="last", penalty=0.01)
"""


def test_an_object_store_gives_the_bits_of_folders(s3: S3, tmp_path: Path, weights: Path) -> None:
    folder = write_folder(tmp_path / "in" / "f", IMAGES)
    (folder / "dog" / "029.png").rename(folder / "dog" / "029 [1]*.png")
    (folder / "dog" / "broken.png").write_bytes(b"nothing")
    write_shards(tmp_path / "in" / "w", IMAGES, 3)
    write_parquet(tmp_path / "in" / "p", IMAGES, 2, 9)
    for file in (tmp_path / "in").rglob("*.*"):
        s3.put(file.relative_to(tmp_path).as_posix(), file.read_bytes())

    head, short = tmp_path / "head.safetensors", tempfile.mkdtemp(prefix="hs")
    words = [sys.executable, "-c", STORED, repr(options(weights)), str(head)]
    ended = subprocess.run(words, env={**os.environ, "RAY_TMPDIR": short}, capture_output=True)
    shutil.rmtree(short, ignore_errors=True)
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    done = [f"{IMAGES} 1 0", f"{IMAGES} 0 0", f"{IMAGES} 0 0", "0 0 8"]
    assert ended.stdout.decode().splitlines()[-4:] == done

    for name in s3.names():
        if name.startswith("out/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(s3.get(name))
    stored = {name: table(tmp_path / "out" / name / "codes") for name in ("f", "w", "p")}
    known = local(folder, tmp_path / "local.parquet", weights)
    assert stored["f"] == known
    assert_same_images(stored["w"], known)
    assert_same_images(stored["p"], known)
    solved = solve_head(
        tmp_path / "out" / "f",
        tmp_path / "ours.safetensors",
        head="ridge",
        code="last",
        penalty=0.01,
    )
    np.testing.assert_array_equal(load_file(head)["weight"], solved.head.weight)
