"""``nlpkit fill-mask``: what a masked LM writes into the gaps of a text."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from nlpkit.cli.inputs import Model, TextFile, Texts, read_texts
from nlpkit.cli.records import TextColumn
from nlpkit.pretrained import open_tokenizer
from nlpkit.probes.gaps import fill_gaps
from nlpkit.sources import find_model


def fill_mask(
    texts: Texts = None,
    model: Model = "wobert-mini-zh",
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Fillings for each gap.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per text.")] = False,
    file: TextFile = None,
    text: TextColumn = None,
) -> None:
    """Show which words a model would write in place of each [MASK], with probabilities."""
    from transformers import pipeline

    from nlpkit.pet.classifiers.pet_classifier import load_masked_lm

    given = read_texts(texts, file, text)
    tokenizer = open_tokenizer(find_model(model))
    network = load_masked_lm(model)
    if top_k > network.config.vocab_size:
        raise ValueError(f"--top-k {top_k} is more than the {network.config.vocab_size} tokens of the vocabulary")
    fill = pipeline("fill-mask", model=network, tokenizer=tokenizer, top_k=top_k)
    for one in given:
        fillings = [] if not one.strip() else fill_gaps(one, fill)
        if as_json:
            typer.echo(json.dumps({"text": one, "fillings": fillings}, ensure_ascii=False))
        else:
            print_fillings(one, fillings)


def print_fillings(text: str, fillings: list[list[tuple[str, float]]]) -> None:
    """Print a text and, one line per gap, its fillings."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(text, style="bold", markup=False, emoji=False, soft_wrap=True)
    for gap in fillings:
        words: list[Any] = [f"{word} {probability:.1%}" for word, probability in gap]
        console.print("  " + "   ".join(words), markup=False, emoji=False, soft_wrap=True)
