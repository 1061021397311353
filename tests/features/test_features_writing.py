"""Files of codes: whole or not at all, and readable by the libraries that others use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from features_small import SIZE, chain_from, draw, store_of
from safetensors import safe_open

from headstart.backbones import LAST, Chain
from headstart.data import Dataset
from headstart.errors import HeadstartError
from headstart.features import extraction, writing
from headstart.features.extraction import Extraction
from headstart.features.pooling import CodeName, code_names
from headstart.features.writing import check_target, write_codes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("writing")


@pytest.fixture(scope="module")
def dataset(root: Path) -> Dataset:
    found = draw(root / "pictures", 12)
    given = np.array(["train", "validation", ""] * 4)
    object.__setattr__(found, "given", given)
    return found


@pytest.fixture(scope="module")
def chain(root: Path) -> Chain:
    return chain_from(root)


POSITIONS = np.array([7, 2, 2, 11, 0])


def write(path: Path, dataset: Dataset, chain: Chain) -> dict[CodeName, np.ndarray]:
    names = code_names(chain, ("layer1", LAST), ("avg", "max"), SIZE)
    reading = Extraction(chain, dataset, store_of(dataset, chain), names, SIZE)
    write_codes(path, dataset, POSITIONS, reading.stream(POSITIONS), reading.about)
    return Extraction(chain, dataset, store_of(dataset, chain), names, SIZE).all(POSITIONS)


@pytest.fixture(params=[1, 256])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "CHUNK", request.param)
    monkeypatch.setattr(writing, "ROW_GROUP_BYTES", request.param)


@pytest.mark.usefixtures("_chunks")
def test_safetensors(tmp_path: Path, dataset: Dataset, chain: Chain) -> None:
    codes = write(tmp_path / "codes.safetensors", dataset, chain)
    with safe_open(tmp_path / "codes.safetensors", "np") as file:
        assert sorted(file.keys()) == ["labels", "last", "layer1/avg", "layer1/max"]
        for name, code in codes.items():
            np.testing.assert_array_equal(file.get_tensor(str(name)), code)
        np.testing.assert_array_equal(file.get_tensor("labels"), dataset.labels[POSITIONS])
        told = {key: json.loads(value) for key, value in file.metadata().items()}
    assert told["ids"] == [dataset.ids[p] for p in POSITIONS]
    assert told["splits"] == ["validation", "", "", "", "train"]
    assert told["classes"] == ["a", "b"]
    assert told["headstart"]["image_size"] == SIZE


@pytest.mark.usefixtures("_chunks")
def test_parquet(tmp_path: Path, dataset: Dataset, chain: Chain) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    codes = write(tmp_path / "codes.parquet", dataset, chain)
    table = parquet.read_table(tmp_path / "codes.parquet")
    assert table.column_names == ["id", "label", "split", "layer1/avg", "layer1/max", "last"]
    assert table["id"].to_pylist() == [dataset.ids[p] for p in POSITIONS]
    assert table["label"].to_pylist() == [dataset.classes[dataset.labels[p]] for p in POSITIONS]
    assert table["split"].to_pylist() == ["validation", None, None, None, "train"]
    for name, code in codes.items():
        np.testing.assert_array_equal(np.array(table[str(name)].to_pylist(), np.float32), code)
    about = json.loads(table.schema.metadata[b"headstart"])
    assert about["backbone"] == chain.origin.name


@pytest.mark.parametrize("name", ["codes.parquet", "codes.safetensors"])
def test_what_failed_leaves_the_old_file(
    tmp_path: Path, dataset: Dataset, chain: Chain, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "CHUNK", 2)
    (tmp_path / name).write_text("old")
    names = code_names(chain, (LAST,), ("avg",), SIZE)
    reading = Extraction(chain, dataset, store_of(dataset, chain), names, SIZE)

    def breaking():  # type: ignore[no-untyped-def]
        yield next(reading.stream(POSITIONS))
        raise HeadstartError("the images are gone")

    with pytest.raises(HeadstartError, match="are gone"):
        write_codes(tmp_path / name, dataset, POSITIONS, breaking(), reading.about)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"


@pytest.mark.parametrize(("name", "said"), [("codes.csv", "ends in .parquet"), ("", "folder")])
def test_a_target_that_cannot_be_is_refused(tmp_path: Path, name: str, said: str) -> None:
    folder = tmp_path / "folder.parquet"
    folder.mkdir()
    with pytest.raises(HeadstartError, match=said):
        check_target(tmp_path / name if name else folder)
