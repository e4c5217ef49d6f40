"""What several verbs take from the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from nlpkit.sources import model_path
from nlpkit.text_files import decode_lines, read_lines

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
    return decode_lines(sys.stdin.buffer, "standard input") if file is None else read_lines(file)
