"""``nlpkit convert``: a published checkpoint becomes a WoBERT folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nlpkit.sources import expand_home, find_folder


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="TensorFlow checkpoint (folder or prefix), or a BERT or RoFormer of transformers: a folder, the name "
            "of one in NLPKIT_MODELS, or a repository on the Hub."
        ),
    ],
    destination: Annotated[Path, typer.Argument(help="Folder to write.")],
    architecture: Annotated[str | None, typer.Option(help="bert or roformer, where the source does not say.")] = None,
    vocabulary: Annotated[Path | None, typer.Option(help="A vocab.txt in place of the source's own.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier conversion.")] = False,
) -> None:
    """Convert a released BERT, WoBERT or RoFormer checkpoint, and report on every tensor."""
    place = find_checkpoint(source)
    from nlpkit.wobert import convert_checkpoint

    options: dict[str, Any] = {"architecture": architecture, "vocabulary": vocabulary, "overwrite": overwrite}
    typer.echo(str(convert_checkpoint(place, destination, **options)))


def find_checkpoint(source: str) -> Path:
    """A TensorFlow checkpoint here, by its prefix or one of its files, or the folder of a model wherever it is.

    Raises:
        FileNotFoundError: it is neither.
    """
    prefix = expand_home(source)
    if prefix.is_file() or Path(f"{prefix}.index").is_file():
        return prefix
    try:
        return find_folder(source)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; nor is there a TensorFlow checkpoint {source}.index") from error
