"""What several verbs take from the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from nlpkit.shipped import model_path

Model = Annotated[str, typer.Option("--model", "-m", help="A folder, or the name of a shipped model.")]


def resolve_model(name: str) -> Path:
    """The folder that ``--model`` means.

    Raises:
        FileNotFoundError: neither a folder nor a shipped model.
    """
    return Path(name) if Path(name).is_dir() else model_path(name)


def read_texts(file: Path | None) -> Iterator[str]:
    """Lines of a UTF-8 file, or of standard input, without their line ends; split at ``\\n`` only.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line is not UTF-8.
    """
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"file {file} does not exist")
    with sys.stdin.buffer if file is None else file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield line.decode("utf-8").removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError as error:
                name = "standard input" if file is None else file
                raise ValueError(f"{name}, line {number} is not UTF-8; convert it, e.g. with iconv") from error
