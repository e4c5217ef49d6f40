"""``nlpkit tokenize``: texts to word tokens, one JSON object a line, or beside character tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nlpkit.cli.inputs import Model, TextFile, Texts, read_texts
from nlpkit.sources import find_model

if TYPE_CHECKING:
    from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

_BATCH = 1000


def tokenize(
    texts: Texts = None,
    model: Model = "wobert-mini-zh",
    vocab: Annotated[Path | None, typer.Option("--vocabulary", help="A vocab.txt instead of a model.")] = None,
    fallback: Annotated[
        str | None, typer.Option(help="With --vocabulary: faithful (the default) or constrained.")
    ] = None,
    compare: Annotated[bool, typer.Option(help="Show character tokens beside word tokens.")] = False,
    file: TextFile = None,
) -> None:
    """Tokenize texts: ids, pieces and offsets as JSON lines, or with --compare a table."""
    from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

    if fallback is not None and vocab is None:
        raise ValueError(
            "--fallback is for --vocabulary; a model's tokenizer has its own. Give a vocab.txt, or leave it out"
        )
    if vocab is not None:
        tokenizer = WoBertTokenizer(vocab, fallback=fallback or "faithful")  # type: ignore[arg-type]
    else:
        tokenizer = WoBertTokenizer.from_pretrained(find_model(model))
    lines = read_texts(texts, file)
    if compare:
        print_comparison(lines, tokenizer)
        return
    while batch := list(islice(lines, _BATCH)):
        encoding = tokenizer(batch, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        for row, ids in enumerate(encoding["input_ids"]):
            pieces = tokenizer.convert_ids_to_tokens(ids)
            offsets = encoding["offset_mapping"][row]
            typer.echo(json.dumps({"ids": ids, "pieces": pieces, "offsets": offsets}, ensure_ascii=False))


def print_comparison(texts: Iterable[str], words: WoBertTokenizer) -> None:
    """Print each text's character and word tokens, and how many of each there are."""
    from rich.console import Console
    from rich.table import Table
    from transformers import BertTokenizer

    characters = BertTokenizer(vocab=words.get_vocab())
    table = Table("tokens", "", title="character tokens against word tokens", show_lines=True)
    counts = {"characters": 0, "words": 0}
    for text in texts:
        cells = []
        for name, tokenizer in (("characters", characters), ("words", words)):
            pieces = tokenizer.tokenize(text)
            counts[name] += len(pieces)
            cells.append((str(len(pieces)), " ".join(pieces)))
        table.add_row("\n".join(number for number, _ in cells), "\n".join(pieces for _, pieces in cells))
    console = Console()
    console.print(table, markup=False)
    if counts["characters"]:
        ratio = counts["words"] / counts["characters"]
        console.print(f"{counts['characters']} character tokens, {counts['words']} word tokens: {ratio:.2f} of them")
