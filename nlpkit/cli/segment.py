"""``nlpkit segment``: texts to words by perturbed masking, without a dictionary."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from nlpkit.cli.inputs import Model, TextFile, Texts, read_texts
from nlpkit.sources import find_model


def segment(
    texts: Texts = None,
    model: Model = "wobert-mini-zh",
    threshold: Annotated[
        float | None,
        typer.Option(help="Least strength that holds characters together; found on the texts by default."),
    ] = None,
    mean_length: Annotated[
        float | None, typer.Option(help="Find the threshold at which words have so many characters on average.")
    ] = None,
    absolute: Annotated[bool, typer.Option(help="Compare strengths themselves, not with those beside them.")] = False,
    sample: Annotated[int, typer.Option(min=1, help="Texts from the beginning to find the threshold on.")] = 1000,
    layer: Annotated[int, typer.Option(help="Hidden layer to compare, from 1; -1 is the last.")] = -1,
    distance: Annotated[str, typer.Option(help="euclidean, cosine, probability or jensen_shannon.")] = "euclidean",
    units: Annotated[str, typer.Option(help="characters, or tokens of the model.")] = "characters",
    overlong: Annotated[bool, typer.Option("--split", help="Handle texts over the model's limit in parts.")] = False,
    bf16: Annotated[bool, typer.Option(help="Multiply in bf16, where the processor can.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list of words per text.")] = False,
    file: TextFile = None,
) -> None:
    """Cut texts into words with a masked language model that was never taught any."""
    from nlpkit.perturbed_masking import MeanWordLength, Measure, PerturbedMasking, otsu

    if threshold is not None and mean_length is not None:
        raise ValueError("give --threshold or --mean-length, not both: each decides alone where texts are cut")
    options: dict[str, Any] = {"measure": Measure(layer, distance), "units": units, "bf16": bf16}  # type: ignore[arg-type]
    masking = PerturbedMasking.from_pretrained(
        find_model(model), overlong="split" if overlong else "refuse", **options
    )
    chosen = MeanWordLength(mean_length) if mean_length is not None else otsu
    cuts: dict[str, Any] = {"threshold": chosen if threshold is None else threshold, "relative": not absolute}
    for words in masking.iter_segment(read_texts(texts, file), sample=sample, **cuts):
        typer.echo(json.dumps(words, ensure_ascii=False) if as_json else " ".join(words))
