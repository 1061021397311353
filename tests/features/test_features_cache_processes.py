"""One cache, many processes, one of them killed: no code is wrong and none is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from features_small import SIZE, chain_from, draw, store_of

from headstart.backbones import LAST
from headstart.features.cache import Cache
from headstart.features.extraction import Extraction, average_names

COUNT = 240
PATIENCE = 180.0
# A shard for every few batches, and a pause after each, so that the three really write together.
PROGRAM = f"""
import sys, time
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
sys.path.insert(0, {str(Path(__file__).parent)!r})
from features_small import SIZE, chain_from, store_of
from headstart.backbones import LAST
from headstart.data import open_dataset
from headstart.features import cache_writing, extraction
from headstart.features.cache import Cache

cache_writing.SHARD_BYTES = 1
extraction.CHUNK = 32
root, order, pause, out = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
dataset, chain = open_dataset(root / "pictures"), chain_from(root)
names = extraction.average_names(("layer2", LAST))
positions = np.arange(len(dataset))[:: -1 if order == "backwards" else 1]
reading = extraction.Extraction(
    chain, dataset, store_of(dataset, chain), names, SIZE, cache=Cache(root)
)
parts = []
for chunk in reading.stream(positions):
    parts.append(np.concatenate([chunk.codes[name] for name in names], axis=1))
    time.sleep(pause)
np.save(out, np.concatenate(parts)[np.argsort(positions)])
"""


@pytest.mark.slow
def test_two_extract_into_one_cache_while_a_third_is_killed(tmp_path: Path) -> None:
    dataset, chain = draw(tmp_path / "pictures", COUNT), chain_from(tmp_path)
    names = average_names(("layer2", LAST))

    def start(order: str, pause: float, name: str) -> subprocess.Popen[bytes]:
        arguments = [str(tmp_path), order, str(pause), str(tmp_path / name)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], env=environment)

    victim = start("forwards", 0.3, "victim.npy")
    others = [start("forwards", 0.05, "one.npy"), start("backwards", 0.05, "two.npy")]
    begun = time.monotonic()
    while not any(tmp_path.glob("features/*/*.npy")):
        assert time.monotonic() - begun < PATIENCE
        assert victim.poll() is None
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert [process.wait(PATIENCE) for process in others] == [0, 0]

    positions = np.arange(COUNT)
    plain = Extraction(chain, dataset, store_of(dataset, chain), names, SIZE)
    clean = plain.all(positions)
    expected = np.concatenate([clean[name] for name in names], axis=1)
    for name in ("one.npy", "two.npy"):
        np.testing.assert_array_equal(np.load(tmp_path / name), expected)
    kept = Extraction(chain, dataset, store_of(dataset, chain), names, SIZE, cache=Cache(tmp_path))
    found = kept.all(positions)
    assert kept.reused == COUNT
    for name in names:
        np.testing.assert_array_equal(found[name], clean[name])
