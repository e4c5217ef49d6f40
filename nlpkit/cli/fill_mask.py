"""``nlpkit fill-mask``: what a masked LM writes into the gaps of a text."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from nlpkit.cli.inputs import Model, read_texts, resolve_model


def fill_mask(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts with [MASK]; standard input by default.")] = None,
    model: Model = "wobert-mini-zh",
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Fillings for each gap.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a text.")] = False,
) -> None:
    """Fill the [MASK]s of texts, with probabilities."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = resolve_model(model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForMaskedLM.from_pretrained(folder, dtype="float32")
    fill = pipeline("fill-mask", model=network, tokenizer=tokenizer, top_k=top_k)
    for text in texts or read_texts(None):
        if tokenizer.mask_token not in text:
            raise ValueError(f"no {tokenizer.mask_token} in {text!r}; put one where a word is to be found")
        found: list[Any] = fill(text)  # rows of one gap, or a list of rows for each of several gaps
        gaps = found if isinstance(found[0], list) else [found]
        fillings = [[(row["token_str"], row["score"]) for row in gap] for gap in gaps]
        if as_json:
            typer.echo(json.dumps({"text": text, "fillings": fillings}, ensure_ascii=False))
        else:
            print_fillings(text, fillings)


def print_fillings(text: str, fillings: list[list[tuple[str, float]]]) -> None:
    """Print a text and, a line a gap, its fillings."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(text, style="bold", markup=False)
    for gap in fillings:
        words: list[Any] = [f"{word} {probability:.1%}" for word, probability in gap]
        console.print("  " + "   ".join(words), markup=False)
