"""``nlpkit tokenize``: texts to word tokens, one JSON object a line, or beside character tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nlpkit.cli.engines import EngineName, Workers, find_engine, work_on
from nlpkit.cli.inputs import Model, TextFile, Texts, read_texts
from nlpkit.cli.records import TextColumn
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
    engine: EngineName = "here",
    workers: Workers = None,
    file: TextFile = None,
    text: TextColumn = None,
) -> None:
    """Tokenize texts: ids, pieces and offsets as JSON lines, or with --compare a table."""
    if fallback is not None and vocab is None:
        raise ValueError(
            "--fallback is for --vocabulary; a model's tokenizer has its own. Give a vocab.txt, or leave it out"
        )
    opening = partial(open_tokenizer, find_model(model) if vocab is None else vocab, fallback)
    reading = partial(read_texts, column=text)
    if compare:
        print_comparison(reading(texts, file), opening())
        return
    found = work_on(find_engine(engine, workers), reading, texts, file, partial(tokens_in_json, opening), size=_BATCH)
    for _, lines in found:
        typer.echo("\n".join(lines))


def open_tokenizer(source: str | Path, fallback: str | None = None) -> WoBertTokenizer:
    """A tokenizer.

    Args:
        source: its folder, or the file of a vocabulary.
        fallback: of a vocabulary.
    """
    from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

    if Path(source).is_file():
        return WoBertTokenizer(source, fallback=fallback or "faithful")  # type: ignore[arg-type]
    return WoBertTokenizer.from_pretrained(source)


def tokens_in_json(opening: Callable[[], WoBertTokenizer]) -> Callable[[list[str]], list[str]]:
    """What makes of texts the lines that the verb prints."""
    return partial(_tokens_in_json, opening())


def _tokens_in_json(tokenizer: WoBertTokenizer, texts: list[str]) -> list[str]:
    encoding = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    rows = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
    found = ({"ids": ids, "pieces": tokenizer.convert_ids_to_tokens(ids), "offsets": at} for ids, at in rows)
    return [json.dumps(row, ensure_ascii=False) for row in found]


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
