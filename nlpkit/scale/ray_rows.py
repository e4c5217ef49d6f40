"""Rows of Ray Data: a part of a corpus each, pickled, and then its result.

What is unpickled comes from the processes of the same program, as all that Ray moves does; never from a file.
"""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Datasource, ExecutionResources, ReadTask
from ray.data.block import BlockMetadata

from nlpkit.scale.engines import Item, Make, Result
from nlpkit.scale.file_parts import FileParts, Stretch

# One file is one task of reading, and gives work to everybody all the same.
warnings.filterwarnings("ignore", "The minimum number of concurrent actors", UserWarning)

#: Bytes of parts and results that wait for their turn, over all machines.
_WAITING = 256 << 20
#: What is wrong with texts or work: an error that Ray passes on itself is its text alone.
_TOLD = (OSError, TypeError, ValueError)
#: Bytes from which on a block is full: it holds a part, or a few of them if they are small.
_BLOCK = 1 << 16


def results(parts: FileParts[Item], make: Make[Item, Result], workers: int) -> Iterator[Result]:
    """What comes of each part, in order.

    Args:
        parts: of files.
        make: makes what takes a part, once in each worker.
        workers: processes of one core each.
    """
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its plans are of no use to whoever waits for results
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = context.target_min_block_size = _BLOCK
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=_WAITING)
    with DataContext.current(context):
        # Reading takes no core from the workers, who are as many as there are.
        rows = ray.data.read_datasource(_Parts(parts), num_cpus=0, override_num_blocks=len(parts.stretches))
        # Nobody has a second part laid by: it would wait behind the first, while a worker that comes later has none.
        pool = ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1)
        done = rows.map(_Worker, fn_constructor_args=(make,), num_cpus=1, compute=pool)
        for row in done.iter_rows():
            if row["failed"]:  # told as it would be without Ray
                raise pickle.loads(row["content"])
            yield pickle.loads(row["content"])


class _Parts(Datasource):
    """A task for each file, which reads it part by part."""

    def __init__(self, parts: FileParts[Any]) -> None:
        super().__init__()
        self._parts = parts

    def estimate_inmemory_data_size(self) -> int | None:
        return sum(stretch.path.stat().st_size for stretch in self._parts.stretches)

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        return [
            ReadTask(
                partial(_read, self._parts, stretch),
                BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=(str(stretch.path),)),
            )
            for stretch in self._parts.stretches
        ]


def _read(parts: FileParts[Any], stretch: Stretch) -> Iterator[pyarrow.Table]:
    try:
        for part in parts.of(stretch):
            yield _row(part)
    except _TOLD as error:
        yield _row(error, failed=True)


def _row(content: Any, *, failed: bool = False) -> pyarrow.Table:
    """A row that travels between this process and its own workers; what they unpickle comes from no file."""
    pickled = pyarrow.array([pickle.dumps(content)], pyarrow.large_binary())
    return pyarrow.table({"content": pickled, "failed": [failed]})


class _Worker:
    """Works on the part of each row that it is given."""

    def __init__(self, make: Make[Any, Any]) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a worker for each core
        self._work = make()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["failed"]:
            return row
        try:
            return {"content": pickle.dumps(self._work(pickle.loads(row["content"]))), "failed": False}
        except _TOLD as error:
            return {"content": pickle.dumps(error), "failed": True}
