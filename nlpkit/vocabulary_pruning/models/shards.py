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
        if not isinstance(names, dict):
            raise ValueError(f"{folder / _INDEX} has no weight_map; copy it again")
        files = [folder / name for name in sorted(set(names.values()))]
    else:
        files = [folder / _SINGLE]
    if missing := [path for path in files if not path.is_file()]:
        raise FileNotFoundError(
            f"there is no {missing[0]}; weights are read from safetensors: load the model and save it again"
        )
    return files


def write_with_rows(
    source: Path, destination: Path, tables: Mapping[str, int | None], kept: Tensor, old_rows: int
) -> Sizes:
    """Copy a model's weights, of some of them only the kept rows.

    Args:
        source: folder of the model.
        destination: folder to write, with files of the same names.
        tables: the weights of the model's class, and the dimension of the tokens of those that have one.
        kept: ids, shape ``(rows,)``.
        old_rows: of the model.

    Raises:
        ValueError: a file is damaged, or holds a weight with as many rows that the model class does not know.
    """
    files = weight_files(source)
    of_files = dict(_tables_of_files(files, tables, old_rows))
    parameters, size = [0, 0], [0, 0]
    for path in files:
        with _opened(path) as weights:
            written = {}
            for name in weights.keys():  # noqa: SIM118  a file of safetensors, not a mapping
                weight = weights.get_tensor(name)
                found = weight
                if name in of_files:
                    found = weight.index_select(of_files[name], kept)
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


def _tables_of_files(files: list[Path], tables: Mapping[str, int | None], old_rows: int) -> Iterator[tuple[str, int]]:
    """The weights of the files that have a row for each token.

    Files saved from the base model lack its prefix in their names, and those of a larger class have one more.
    """
    by_name = {_tail(name): dimension for name, dimension in tables.items() if "." in _tail(name)} | dict(tables)
    for path in files:
        with _opened(path) as weights:
            for name in weights.keys():  # noqa: SIM118  a file of safetensors, not a mapping
                shape = weights.get_slice(name).get_shape()
                known = name if name in by_name else _tail(name)
                dimension = by_name.get(known)
                if dimension is not None and len(shape) > dimension and shape[dimension] == old_rows:
                    yield name, dimension
                elif dimension is not None or (known not in by_name and old_rows in shape):
                    raise ValueError(
                        f"{path} holds {name} of shape {tuple(shape)}, of which it is not known whether its rows are "
                        f"the {old_rows} tokens; load the model and give it to prune_vocabulary"
                    )


def _tail(name: str) -> str:
    return name.split(".", 1)[-1]


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    """A file of safetensors; if it cannot be opened, the error names it."""
    try:
        file = safe_open(path, "pt")
    except Exception as error:
        raise ValueError(f"{path} is damaged or cut off ({error}); copy it again") from error
    with file as weights:
        yield weights
