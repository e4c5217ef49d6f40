"""Safetensors files with other rows, written one after the other: never more than one file in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from nlpkit.files import read_json, write_json

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"


class Sizes(NamedTuple):
    """Parameters and bytes, before and after."""

    parameters: tuple[int, int]
    size: tuple[int, int]


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights.

    Raises:
        FileNotFoundError: there are none, or one that the index names is missing.
        ValueError: the index is damaged.
    """
    if (folder / _INDEX).is_file():
        names = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise ValueError(f"{folder / _INDEX} has no weight_map of names of files; copy it again")
        files = [folder / name for name in sorted(set(names.values()))]
    else:
        files = [folder / _SINGLE]
    if missing := [path for path in files if not path.is_file()]:
        raise FileNotFoundError(
            f"there is no {missing[0]}; weights are read from safetensors: load the model and save it again"
        )
    return files


class Rows(NamedTuple):
    """Which rows are taken of a weight, and in which dimension they are."""

    dimension: int
    numbers: Tensor


def write_with_rows(source: Path, destination: Path, taken: Mapping[str, Rows]) -> Sizes:
    """Copy a model's weights, of some of them only some rows.

    Args:
        source: folder of the model.
        destination: folder to write, with files of the same names.
        taken: by the names in the files; all other weights are copied whole.

    Raises:
        ValueError: a file is damaged.
    """
    files = weight_files(source)
    parameters, size = [0, 0], [0, 0]
    for path in files:
        with _opened(path) as weights:
            written = {}
            for name in weights.keys():  # noqa: SIM118  a file of safetensors, not a mapping
                weight = weights.get_tensor(name)
                found = weight
                if name in taken:
                    found = weight.index_select(*taken[name])
                written[name] = found.contiguous()
                for at, one in enumerate((weight, found)):
                    parameters[at] += one.numel()
                    size[at] += one.numel() * one.element_size()
            save_file(written, destination / path.name, metadata=weights.metadata() or {"format": "pt"})
    if len(files) > 1 or (source / _INDEX).is_file():
        index = read_json(source / _INDEX)
        index["metadata"] = {**index.get("metadata", {}), "total_size": size[1], "total_parameters": parameters[1]}
        write_json(destination / _INDEX, index)
    return Sizes((parameters[0], parameters[1]), (size[0], size[1]))


def shapes_of_files(folder: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the weights of a model, of which none is read.

    Raises:
        FileNotFoundError: there are no files of weights.
        ValueError: one is damaged.
    """
    shapes = {}
    for path in weight_files(folder):
        with _opened(path) as weights:
            for name in weights.keys():  # noqa: SIM118  a file of safetensors, not a mapping
                shapes[name] = tuple(weights.get_slice(name).get_shape())
    return shapes


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    """A file of safetensors; if it cannot be opened, the error names it."""
    try:
        file = safe_open(path, "pt")
    except Exception as error:
        raise ValueError(f"{path} is damaged or cut off ({error}); copy it again") from error
    with file as weights:
        yield weights
