"""What several verbs take from the command line: a model, and texts."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from nlpkit.cli.records import holds_records, read_placed_records, refuse_column_of_lines, text_fields
from nlpkit.text_files import decode_lines, read_lines

Model = Annotated[
    str, typer.Option("--model", "-m", help="A folder, the name of a shipped model, or a repository on the Hub.")
]
InspectedModel = Annotated[
    str, typer.Argument(help="A folder, the name of a shipped model, or a repository on the Hub.")
]
Texts = Annotated[
    list[str] | None,
    typer.Argument(help="Texts; without any, lines of --file or of standard input.", show_default=False),
]
TextFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        help="Read texts from this file, one per line, or of .csv, .tsv, .json and .jsonl one column, "
        "see --text; - is standard input.",
        allow_dash=True,
    ),
]

TextName = Annotated[str, typer.Option(help="The text's name in JSON objects, .csv and .tsv.")]
Page = Annotated[Path | None, typer.Option(help="Write a page for a browser, with all texts, to this file.")]
AsObjects = Annotated[bool, typer.Option("--json", help="One JSON object per text, as for those given so.")]


#: How a line of a treebank begins: a comment or a word of CoNLL-U, or a tree in brackets.
_TREEBANKS = {
    "CoNLL-U, whose texts are its columns; nlpkit parse --conllu reads it": re.compile(
        r"# (sent_id|text|newdoc|newpar|global\.columns)\b|\d+([-.]\d+)?\t([^\t]*\t){6}"
    ),
    "trees in brackets; nlpkit parse --evaluate reads them": re.compile(
        r"\(\s*\([A-Z]+\b|\((ROOT|TOP|S|IP|CP|NP|VP)\s*(\(|$)"
    ),
}


def read_texts(texts: list[str] | None, file: Path | None = None, column: str | None = None) -> Iterator[str]:
    r"""The texts that a verb is given, blank ones included, so that answers keep their places.

    Args:
        texts: arguments; ``["-"]`` means standard input.
        file: lines of a UTF-8 file, plain, ``.gz`` or ``.xz``, split at ``\n`` only; ``-`` means standard input, which
            is read, too, if neither is given. Of JSON lines and tables, by its name, one column.
        column: of the text in these; by default ``text``, or the only one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: both are given, an argument is the name of a file, standard input is closed, a column is named
            where there is none, or, while iterating, a line is not UTF-8, the first one is a treebank's, or a record
            has no such column; the message lists those there are.

    Example:
        >>> list(read_texts(["酒店很好", ""]))
        ['酒店很好', '']
    """
    refuse_column_of_lines(column, file)
    if file is not None and holds_records(file):
        placed = read_placed_records(texts, file)
        return (text_fields(place, record, ["text"], column)["text"] for place, record in placed)
    given = read_given_lines(texts, file)
    return given if texts and texts != ["-"] else _no_treebank(given, file)


def read_given_lines(texts: list[str] | None, file: Path | None = None) -> Iterator[str]:
    """The lines that a verb is given, whatever they hold; otherwise as ``read_texts``."""
    if texts and texts != ["-"]:
        if file is not None:
            raise ValueError(f"give texts or --file, not both; got {texts[0]!r} and --file {file}")
        for text in texts:
            if text == "-":
                raise ValueError("- reads standard input only where it is the one text; leave the others out")
            if _names_a_file(text):
                raise ValueError(f"{text!r} is the name of a file; to read texts from it, give --file {text}")
        return iter(texts)
    if file is not None and str(file) != "-":
        return read_lines(file)
    if sys.stdin is None:  # as under a service manager, or with <&-
        raise ValueError("standard input is closed; give texts as arguments, or --file")
    if sys.stdin.isatty():
        typer.echo("nlpkit: reading texts from the keyboard, one per line; Ctrl-D ends them", err=True)
    return decode_lines(sys.stdin.buffer, "standard input")


def _no_treebank(lines: Iterable[str], file: Path | None) -> Iterator[str]:
    """Lines, unless the first that is not blank shows that they are no texts."""
    begun = False
    for line in lines:
        if not begun and line.strip():
            begun = True
            for kind, beginning in _TREEBANKS.items():
                if beginning.match(line):
                    raise ValueError(f"{file or 'standard input'} is no text per line, but {kind}")
        yield line


def _names_a_file(text: str) -> bool:
    looks_so = Path(text).suffix != "" or "/" in text
    return looks_so and len(text.encode("utf-8", "surrogatepass")) < 4096 and _is_file(text)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False
