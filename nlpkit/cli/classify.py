"""``nlpkit classify``: labels for texts from words that a masked LM would write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nlpkit.cli.inputs import Model, read_texts, resolve_model


def classify(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; a file or standard input by default.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="name=word or name=word,word; once for each label.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("--pattern", "-p", help="E.g. '{text}总之很{mask}。'; fields by their names.")
    ] = None,
    model: Model = "wobert-mini-zh",
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A text a line, or JSON objects of fields.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option(help="Take out what the model prefers anyway, as measured on these texts.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a text.")] = False,
) -> None:
    """Classify texts without training, or with a classifier saved after training."""
    from transformers.utils import logging

    from nlpkit.pet.classifiers.pet_classifier import PetClassifier

    logging.disable_progress_bar()
    classifier = PetClassifier.from_pretrained(resolve_model(model), pattern, read_labels(label) if label else None)
    if not classifier.labels:
        raise ValueError("no labels; give each with its word, e.g. --label good=满意 --label bad=失望")
    sources = texts or [line for line in read_texts(file) if line.strip()]
    examples = [json.loads(source) if source.startswith("{") else source for source in sources]
    if calibrate:
        classifier.calibrate(examples)
    for source, row in zip(sources, classifier.predict_proba(examples).tolist(), strict=True):
        shares = dict(zip(classifier.labels, row, strict=True))
        best = max(shares, key=lambda name: shares[name])
        if as_json:
            found = {"text": source, "label": best, "probabilities": {n: round(p, 6) for n, p in shares.items()}}
            typer.echo(json.dumps(found, ensure_ascii=False))
        else:
            typer.echo(f"{best}\t{shares[best]:.3f}\t{source}")


def read_labels(options: list[str]) -> dict[str, list[str]]:
    """Label words from ``name=word,word`` options.

    Raises:
        ValueError: an option is not of that form.

    Example:
        >>> read_labels(["good=满意,喜欢", "bad=失望"])
        {'good': ['满意', '喜欢'], 'bad': ['失望']}
    """
    words: dict[str, list[str]] = {}
    for option in options:
        name, equals, given = option.partition("=")
        if not (name and equals and given):
            raise ValueError(f"--label {option!r} must look like name=word or name=word,word")
        words.setdefault(name, []).extend(given.split(","))
    return words
