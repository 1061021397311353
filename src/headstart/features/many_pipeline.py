"""Pieces of a source through Ray Data, to the files that keep their codes.

Two steps, which run at the same time: tasks read a part's images, decode them and cut the part
into pieces; workers (actors, which load the network once) compute a piece's codes and write them
to ``codes/PIECE.parquet``. Ray Data passes pieces on, holds readers back where workers are
slower, and runs again what was lost with a process or a machine. A piece whose file is there is
done; it appears whole or not at all.

Ray Data's own readers of images are not used: they stop at a broken image or leave it out without
its name, and decode in another way than training does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.data import Preprocessing
from headstart.data.many import Listed, Place, needed, patient_pieces
from headstart.data.many.parts import Decoded, Encoded, decode, part_of
from headstart.errors import HeadstartError
from headstart.features.cluster import Workers, told_to_the_user
from headstart.features.many_coding import Coder, Order, reasons

TASKS = 20_000  # reading tasks at most: Ray keeps notes of each
BLOCK = 2**20  # bytes; Ray Data passes on a piece as soon as it is there
SUFFIX = ".parquet"


def run_pieces(
    place: Place,
    listed: Listed,
    order: Order,
    workers: Workers,
    todo: npt.NDArray[np.int64],
    begun: frozenset[str],
) -> Iterator[dict[str, int]]:
    """Run the two steps; one row a piece that was written."""
    data = needed("ray.data")
    context = data.DataContext.get_current()
    # An error of ours is to arrive as such, not as an account of where it was raised.
    ours = {
        "target_max_block_size": BLOCK,
        "enable_progress_bars": False,
        "raise_original_map_exception": True,
    }
    before = {name: getattr(context, name) for name in ours}
    for name, value in ours.items():
        setattr(context, name, value)
    preprocessing = order.question.about["preprocessing"]
    try:
        numbers = data.from_items(
            [{"part": int(part)} for part in todo], override_num_blocks=min(len(todo), TASKS)
        )
        reading = {"place": place, "listed": listed, "begun": begun} | {
            "preprocessing": preprocessing, "size": order.question.images_per_file,
        }  # fmt: skip
        decoded = numbers.map_batches(
            read_part, batch_size=1, batch_format="pyarrow", fn_kwargs=reading, **workers.reading
        )
        coded = decoded.map_batches(
            PieceCoder,
            batch_size=1,
            batch_format="pyarrow",
            fn_constructor_args=[order, place],
            compute=data.ActorPoolStrategy(size=workers.count),
            **workers.computing,
        )
        with told_to_the_user():
            yield from coded.iter_rows()
    finally:
        for name, value in before.items():
            setattr(context, name, value)


def read_part(
    batch: Any,
    *,
    place: Place,
    listed: Listed,
    begun: frozenset[str],
    preprocessing: dict[str, Any],
    size: int,
) -> Iterator[Any]:
    """The pieces of a part that are not there yet, decoded: a table of one row each."""
    how = Preprocessing.from_json(preprocessing)
    for number in batch.column("part").to_pylist():
        for piece in patient_pieces(part_of(listed, number, place), size, begun):
            yield _packed(piece.name, decode(piece, how))


def _packed(name: str, decoded: Decoded) -> Any:
    """A piece as a table of one row, which Ray Data never splits."""
    arrow = needed("pyarrow")
    told = {
        "name": name,
        "images": [(image.id, image.label, image.split) for image in decoded.images],
        "broken": decoded.broken,
    }
    return arrow.table(
        {
            "told": arrow.array([json.dumps(told)], arrow.large_string()),
            "pixels": arrow.array([decoded.pixels.reshape(-1).data], arrow.large_binary()),
        }
    )


def _unpacked(batch: Any, image_size: int) -> tuple[str, Decoded]:
    told = json.loads(batch.column("told")[0].as_py())
    pixels = np.frombuffer(batch.column("pixels")[0].as_buffer(), np.uint8)
    images = [Encoded(key, label=label, split=split) for key, label, split in told["images"]]
    shaped = pixels.reshape(len(images), 3, image_size, image_size)
    broken = [(key, why) for key, why in told["broken"]]
    # A copy: torch wants memory that may be written to, and Ray's store may not.
    return told["name"], Decoded(images, shaped.copy(), broken)


class PieceCoder:
    """A worker's `Coder`, fed with tables; it keeps what it has coded.

    Tasks that only write would need processes of their own, each of which loads torch, and which
    Ray ends where they wait: on two cores that took four fifths of the time.

    An error of the user's to mend is raised with the first piece: one in an actor's making
    reaches nobody but as text.
    """

    def __init__(self, order: Order, place: Place) -> None:
        self._place = place
        self._coder: Coder | HeadstartError
        try:
            self._coder = Coder(order)
        except HeadstartError as error:
            self._coder = error
        self._size = int(order.question.about["image_size"])

    def __call__(self, batch: Any) -> Any:
        """Code a piece and keep it: what is broken first, since its codes' file says it is done."""
        if isinstance(self._coder, HeadstartError):
            raise self._coder
        name, decoded = _unpacked(batch, self._size)
        coded = self._coder(decoded)
        if coded.broken:
            self._place.write(f"broken/{name}.jsonl", reasons(coded.broken))
        self._place.write(f"codes/{name}{SUFFIX}", coded.parquet)
        told = {"images": coded.images, "broken": len(coded.broken)}
        counted = {key: [value] for key, value in told.items()}
        return needed("pyarrow").table(counted | {"last": [int(name.endswith("-last"))]})
