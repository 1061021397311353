"""The steps of an extraction on Ray, one behind the other in this process."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from features_small import SIZE, chain_from, store_of

from headstart.data import open_dataset
from headstart.data.many import Listed, Place, list_source
from headstart.data.many.parts import Decoded, Encoded
from headstart.errors import HeadstartError
from headstart.features import CodeName, Extraction
from headstart.features.cluster import Cluster, Workers
from headstart.features.extraction import about_codes
from headstart.features.many import piece_names
from headstart.features.many_coding import Coder, Order
from headstart.features.many_pipeline import PieceCoder, read_part
from headstart.features.many_question import ManyQuestion, hold, refuse_another
from headstart.features.writing import write_codes

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from many_sources import write_folder, write_shards

pa = pytest.importorskip("pyarrow", reason="files of codes need pyarrow")
pytest.importorskip("fsspec", reason="many images need fsspec: headstart[ray]")
import pyarrow.parquet as pq  # noqa: E402

NAMES = [CodeName("layer1", "avg"), CodeName("last", "own")]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    chain_from(folder)
    return next(folder.glob("*.safetensors"))


def order_of(weights: Path, source: Path) -> Order:
    chain = chain_from(weights.parent)
    chain.learn(set())
    about = about_codes(chain, chain.preprocessing.at(SIZE), SIZE, "torch")
    codes = [(name.stage, name.pooling) for name in NAMES]
    question = ManyQuestion(str(source), codes, about, "torch", 4)
    return Order(question, "timm/test_resnet", str(weights), has_labels=True, has_splits=False)


def extract(order: Order, source: Path, to: Path, *, begun: frozenset[str] = frozenset()) -> Listed:
    place = Place.of(str(to))
    listed = list_source(str(source), place, order.question.images_per_file)
    coder = PieceCoder(order, place)
    for part in range(listed.parts):
        read = read_part(
            pa.table({"part": [part]}), place=place, listed=listed, begun=begun,
            preprocessing=order.question.about["preprocessing"], size=4,
        )  # fmt: skip
        for batch in read:
            coder(batch)
    return listed


def test_codes_labels_and_order_are_those_of_the_local_extractor(
    tmp_path: Path, weights: Path
) -> None:
    source = write_folder(tmp_path / "f", 24)
    (source / "dog" / "zz.png").write_bytes(b"nothing")
    extract(order_of(weights, source), source, tmp_path / "out")
    chain, dataset = chain_from(weights.parent), open_dataset(source)
    reading = Extraction(chain, dataset, store_of(dataset, chain), NAMES, SIZE)
    positions = np.arange(len(dataset))
    to = tmp_path / "local.parquet"
    write_codes(to, dataset, positions, reading.stream(positions), reading.about)
    ours, theirs = pq.read_table(tmp_path / "out" / "codes"), pq.read_table(to)
    assert ours.equals(theirs)
    (side,) = (tmp_path / "out" / "broken").iterdir()
    told = json.loads(side.read_text())
    assert told == {"id": "dog/zz.png", "reason": "not an image that Pillow can read"}


def test_what_is_there_is_not_done_again(tmp_path: Path, weights: Path) -> None:
    source = write_shards(tmp_path / "w", 11, 1)
    order, out = order_of(weights, source), tmp_path / "out"
    extract(order, source, out)
    whole = pq.read_table(out / "codes")
    place = Place.of(str(out))
    (out / "codes" / "00000000-00001.parquet").unlink()
    left = frozenset(piece_names(place))
    moments = {file: file.stat().st_mtime_ns for file in (out / "codes").iterdir()}
    extract(order, source, out, begun=left)
    assert pq.read_table(out / "codes").equals(whole)
    assert all(file.stat().st_mtime_ns == moment for file, moment in moments.items())


def test_a_code_that_is_not_finite_is_a_broken_image(tmp_path: Path, weights: Path) -> None:
    coder = Coder(order_of(weights, tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, SIZE, SIZE), np.uint8)
    images = [Encoded(name, label="cat") for name in "abc"]
    run = coder._run

    def overflowing(given: np.ndarray) -> list[np.ndarray]:
        parts = run(given)
        parts[0][1, 2] = np.inf
        return parts

    coder._run = overflowing  # type: ignore[method-assign]
    coded = coder(Decoded(images, pixels, [("x", "was broken")]))
    assert coded.broken == [("x", "was broken"), ("b", "its code is not finite")]
    assert pq.read_table(pa.BufferReader(coded.parquet))["id"].to_pylist() == ["a", "c"]


def test_a_piece_of_broken_images_is_a_file_without_rows(tmp_path: Path, weights: Path) -> None:
    source = write_folder(tmp_path / "f", 8)
    for file in (source / "cat").iterdir():
        file.write_bytes(b"nothing")
    extract(order_of(weights, source), source, tmp_path / "out")
    first, second = sorted((tmp_path / "out" / "codes").iterdir())
    assert pq.read_table(first).num_rows == 0
    assert pq.read_table(first).schema == pq.read_table(second).schema
    assert pq.read_table(second).num_rows == 4


def test_other_weights_on_a_worker_are_refused(tmp_path: Path, weights: Path) -> None:
    order = order_of(weights, tmp_path)
    chain_from(tmp_path / "other", seed=9)
    other = next((tmp_path / "other").glob("*.safetensors"))
    with pytest.raises(HeadstartError, match="these are other weights"):
        Coder(replace(order, weights=str(other)))


def test_a_place_holds_one_question(tmp_path: Path, weights: Path) -> None:
    question = order_of(weights, tmp_path).question
    place = Place.of(str(tmp_path / "out"))
    refuse_another(place, question)
    hold(place, question)
    refuse_another(place, question)
    about = question.about | {"weights": "others"}
    with pytest.raises(HeadstartError, match=r"another question: about\.weights was"):
        refuse_another(place, replace(question, about=about))


def test_workers_fit_the_cluster() -> None:
    assert Workers().on(Cluster(2, 0)) == Workers(2, 0.0, 1)
    assert Workers(gpus=0.5).on(Cluster(16, 2)) == Workers(4, 0.5, 1)
    assert Workers(threads=4).on(Cluster(16, 0)).count == 4
    for workers, said in (
        (Workers(9), "too many for the 4 cores"),
        (Workers(3, gpus=0.5), "the cluster has 1"),
        (Workers(0), "1 or more"),
    ):
        with pytest.raises(HeadstartError, match=said):
            workers.on(Cluster(4, 1 if workers.gpus else 0))
