"""``nlpkit classify``: labels for texts from words that a masked LM would write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from nlpkit.cli.inputs import Model, TextFile, Texts, read_texts
from nlpkit.sources import find_model


def classify(
    texts: Texts = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="name=word or name=word,word; once for each label.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("--pattern", "-p", help="E.g. '{text}总之很{mask}。'; fields by their names.")
    ] = None,
    model: Model = "wobert-mini-zh",
    file: TextFile = None,
    calibrate: Annotated[
        bool, typer.Option(help="Take out what the model prefers anyway, as measured on these texts.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per text.")] = False,
) -> None:
    """Classify texts without training, or with a classifier saved after training; blank texts get no label."""
    from nlpkit.pet.classifiers.pet_classifier import PetClassifier

    classifier = PetClassifier.from_pretrained(find_model(model), pattern, read_labels(label) if label else None)
    if not classifier.labels:
        raise ValueError("no labels; give each with its word, e.g. --label good=满意 --label bad=失望")
    sources = list(read_texts(texts, file))
    examples = [read_example(source, classifier.fields) for source in sources if source.strip()]
    if calibrate and examples:
        classifier.calibrate(examples)
    rows = iter(classifier.predict_proba(examples).tolist())
    for source in sources:
        shares = dict(zip(classifier.labels, next(rows), strict=True)) if source.strip() else {}
        best = max(shares, key=lambda name: shares[name], default=None)
        if as_json:
            found = {"text": source, "label": best, "probabilities": {n: round(p, 6) for n, p in shares.items()}}
            typer.echo(json.dumps(found, ensure_ascii=False))
        else:
            line = source.replace("\n", " ")  # of an argument; lines of files hold none
            typer.echo("" if best is None else f"{best}\t{shares[best]:.3f}\t{line}")


def read_example(source: str, fields: Sequence[str]) -> str | dict[str, str]:
    """A text, or the fields of a pattern by name from a JSON object.

    Args:
        source: what the user gave.
        fields: names of the pattern's texts.

    Raises:
        ValueError: the pattern takes several texts, and this is no JSON object.

    Example:
        >>> read_example('{"a": "天气", "b": "好"}', ["a", "b"]), read_example("{笑}很好", ["text"])
        ({'a': '天气', 'b': '好'}, '{笑}很好')
    """
    try:
        found = json.loads(source) if source.lstrip().startswith("{") else None
    except ValueError:
        found = None
    if isinstance(found, dict) and (len(fields) > 1 or set(fields) <= set(found)):
        return found
    if len(fields) > 1:
        raise ValueError(f"{source[:40]!r} must be a JSON object with the pattern's texts: {', '.join(fields)}")
    return source


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
