"""Where verbs that read whole corpora do their work: in this process, in several, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from nlpkit.scale import Engine, FileParts, RayData, Stretch, engine_of, so_many
from nlpkit.scale.engines import Make
from nlpkit.scale.file_parts import Cut

Item = TypeVar("Item")
Result = TypeVar("Result")
#: What a verb is asked about: of arguments, or of a file.
Read = Callable[[list[str] | None, Path | None], Iterator[Item]]

EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Where the work is done: here, or by ray, on the cluster of RAY_ADDRESS or on this machine; ray reads "
        "--file, which all machines must see.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that work, each on one core; here one by default, with ray all cores."),
]


def find_engine(engine: str, workers: int | None) -> Engine:
    """The engine of ``--engine`` and ``--workers``.

    Raises:
        ValueError: an engine that is not known.
        ImportError: Ray is not installed.
    """
    if engine == "ray":
        return RayData(workers)
    if engine != "here":
        raise ValueError(f"engine={engine} is unknown; give here or ray")
    return engine_of(workers or 1)


def work_on(
    engine: Engine,
    read: Read[Item],
    texts: list[str] | None,
    file: Path | None,
    make: Make[Item, Result],
    *,
    size: int,
) -> Iterator[tuple[list[Item], Result]]:
    """What is read, in parts, each with what comes of it, in order.

    Args:
        engine: does the work.
        read: a function of a module, or a ``partial`` of one.
        texts: arguments.
        file: or a file; with Ray it must be one.
        make: makes what takes a part, in each process that works.
        size: of a part.

    Raises:
        ValueError: with Ray: no file.
    """
    cut: Cut[Item] = so_many(size)
    if not isinstance(engine, RayData):
        return engine.map(cut(read(texts, file)), make)
    if texts or file is None or str(file) == "-":
        raise ValueError("engine=ray reads a file wherever there is room; give it with --file")
    return engine.map(FileParts((Stretch(file),), partial(_of_file, read), cut), make)


def _of_file(read: Read[Item], file: Path) -> Iterator[Item]:
    return read(None, file)
