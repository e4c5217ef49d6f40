"""``nlpkit convert``: a published checkpoint becomes a WoBERT folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def convert(
    source: Annotated[Path, typer.Argument(help="TensorFlow checkpoint or transformers folder.")],
    destination: Annotated[Path, typer.Argument(help="Folder to write.")],
    architecture: Annotated[str | None, typer.Option(help="bert or roformer, where the source does not say.")] = None,
    vocabulary: Annotated[Path | None, typer.Option(help="A vocab.txt in place of the source's own.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier conversion.")] = False,
) -> None:
    """Convert a released BERT, WoBERT or RoFormer checkpoint, and report on every tensor."""
    from nlpkit.wobert import convert_checkpoint

    options: dict[str, Any] = {"architecture": architecture, "vocabulary": vocabulary, "overwrite": overwrite}
    typer.echo(str(convert_checkpoint(source, destination, **options)))
