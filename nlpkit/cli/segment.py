"""``nlpkit segment``: texts to words without a dictionary, by counts over a corpus or by perturbed masking."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from nlpkit.cli.engines import EngineName, Workers, find_engine, work_on
from nlpkit.cli.inputs import TextFile, Texts, read_texts
from nlpkit.cli.records import TextColumn, refuse_column_of_lines
from nlpkit.sources import find_model

if TYPE_CHECKING:
    from nlpkit.perturbed_masking import LinkSource
    from nlpkit.perturbed_masking.words.segmentation import LinkedText, Threshold

_MODEL, _COUNTS = "wobert-mini-zh", "counts-zh"
_BATCH = 1000
_SOURCES = ("counts", "impact", "both")


def segment(
    texts: Texts = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="What tells how strongly characters are linked: counts over a corpus, impact in a masked language "
            "model, or both. By default counts, or impact where --model is given.",
            show_default=False,
        ),
    ] = None,
    counts: Annotated[
        str | None,
        typer.Option(
            help=f"Counted links: a folder, or a repository on the Hub. {_COUNTS} by default.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help=f"A folder, the name of a shipped model, or a repository on the Hub. By default {_MODEL}.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Least strength that holds characters together; found on the texts by default."),
    ] = None,
    mean_length: Annotated[
        float | None, typer.Option(help="Find the threshold at which words have so many characters on average.")
    ] = None,
    absolute: Annotated[bool, typer.Option(help="Compare strengths themselves, not with those beside them.")] = False,
    sample: Annotated[int, typer.Option(min=1, help="Texts from the beginning to find the threshold on.")] = 1000,
    layer: Annotated[int, typer.Option(help="Of the model: hidden layer to compare, from 1; -1 is the last.")] = -1,
    distance: Annotated[
        str, typer.Option(help="Of the model: euclidean, cosine, probability or jensen_shannon.")
    ] = "euclidean",
    units: Annotated[str, typer.Option(help="Of the model: characters, or its tokens.")] = "characters",
    overlong: Annotated[
        bool, typer.Option("--split", help="Of the model: handle texts over its limit in parts.")
    ] = False,
    bf16: Annotated[bool, typer.Option(help="Of the model: multiply in bf16, where the processor can.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list of words per text.")] = False,
    engine: EngineName = "here",
    workers: Workers = None,
    file: TextFile = None,
    text: TextColumn = None,
) -> None:
    """Cut texts into words that nobody taught: without a dictionary, and without labels."""
    from nlpkit.perturbed_masking import CountedLinks, MeanWordLength, MixedLinks, iter_segment, otsu
    from nlpkit.perturbed_masking.words.segmentation import find_threshold

    if threshold is not None and mean_length is not None:
        raise ValueError("give --threshold or --mean-length, not both: each decides alone where texts are cut")
    chosen = source or ("counts" if model is None else "impact")
    if chosen not in _SOURCES:
        raise ValueError(f"--source {chosen} is unknown; use {', '.join(_SOURCES)}")
    of_model = {"--model": model is not None, "--layer": layer != -1, "--distance": distance != "euclidean"}
    of_model |= {"--units": units != "characters", "--split": overlong, "--bf16": bf16}
    given = [option for option, is_given in of_model.items() if is_given]
    if chosen == "counts" and given:
        raise ValueError(
            f"--source counts uses no model; leave out {', '.join(given)}, or give --source impact or --source both"
        )
    if chosen == "impact" and counts is not None:
        raise ValueError("--source impact uses no counts; leave out --counts, or give --source both")
    refuse_column_of_lines(text, file)
    worker = find_engine(engine, workers)
    links: list[LinkSource] = []
    if chosen != "impact":
        links.append(CountedLinks.from_pretrained(counts or _COUNTS))
    if chosen != "counts":
        from nlpkit.perturbed_masking import Measure, PerturbedMasking

        masking = PerturbedMasking.from_pretrained(
            find_model(model or _MODEL),
            measure=Measure(layer, distance),  # type: ignore[arg-type]
            units=units,  # type: ignore[arg-type]
            overlong="split" if overlong else "refuse",
            bf16=bf16,
        )
        links.append(masking)
    mixed = links[0] if len(links) == 1 else MixedLinks(links, sample=sample)
    rule: Threshold = otsu if mean_length is None else MeanWordLength(mean_length)
    rule = rule if threshold is None else threshold
    if engine == "here" and workers is None:
        rows: Iterator[list[str]] = iter_segment(
            mixed, read_texts(texts, file, text), rule, relative=not absolute, sample=sample
        )
    else:
        if texts or file is None or str(file) == "-" or (file.exists() and not file.is_file()):
            raise ValueError("several processes read a file, after the threshold is found on it; give it with --file")
        first = list(islice(read_texts(None, file, text), sample))
        fixed = mixed.fit(first) if isinstance(mixed, MixedLinks) else mixed
        if callable(rule):
            rule = find_threshold(rule, linked(fixed, first, relative=not absolute))
        make = partial(cutter, fixed, rule, relative=not absolute)
        reading = partial(read_texts, column=text)
        found = work_on(worker, reading, None, file, make, size=_BATCH)
        rows = (words for _, part in found for words in part)
    for words in rows:
        typer.echo(json.dumps(words, ensure_ascii=False) if as_json else " ".join(words))


def linked(source: LinkSource, texts: Iterable[str], *, relative: bool) -> Iterator[LinkedText]:
    """Texts with their links, as they are compared with a threshold."""
    return (text.relative() if relative else text for text in source.linked_texts(texts))


def cutter(source: LinkSource, threshold: float, *, relative: bool) -> Callable[[list[str]], list[list[str]]]:
    """What cuts texts into words at links below a threshold."""
    return lambda texts: [text.cut(threshold) for text in linked(source, texts, relative=relative)]
