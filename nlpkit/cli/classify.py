"""``nlpkit classify``: labels for texts from words that a masked LM would write."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nlpkit.cli.engines import EngineName, Workers, find_engine, work_on
from nlpkit.cli.inputs import Model, TextFile, Texts, read_texts
from nlpkit.cli.label_lines import print_labels
from nlpkit.cli.records import TextColumn, holds_records, read_placed_records, refuse_column_of_lines, text_fields
from nlpkit.scale import Here
from nlpkit.sources import find_model
from nlpkit.text_files import Record

if TYPE_CHECKING:
    from nlpkit.pet import Ensemble, TextClassifier

#: Texts that are read at a time; fewer where several share the work, for whom a model's minutes should end together.
_BATCH, _SHARED = 1000, 256
#: A text as it was given, and the fields of a pattern by name.
Asked = tuple[str, dict[str, str]]


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
    text: TextColumn = None,
    calibrate: Annotated[
        bool, typer.Option(help="Take out what the model prefers anyway, as measured on these texts.")
    ] = False,
    calibrate_on: Annotated[
        Path | None, typer.Option("--calibrate-on", help="The same, as measured on the texts of this file.")
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(help="Of the texts' probabilities, to calibrate: geometric, the default, or arithmetic."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Save the classifier to this folder, which --model takes later.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per text.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A table with a column for each label.")] = False,
    engine: EngineName = "here",
    workers: Workers = None,
) -> None:
    """Classify texts without training, or with a classifier saved after training; blank texts get no label."""
    if as_json and as_csv:
        raise ValueError("give --json or --csv, not both")
    if calibrate and calibrate_on is not None:
        raise ValueError("give --calibrate or --calibrate-on, not both")
    if mean is not None and not calibrate and calibrate_on is None:
        raise ValueError(f"mean={mean} is of calibration; give --calibrate or --calibrate-on, too, or leave it out")
    if mean not in (None, "geometric", "arithmetic"):
        raise ValueError(f"mean={mean} is unknown; use geometric or arithmetic")
    refuse_column_of_lines(text, file, calibrate_on)
    worker = find_engine(engine, workers)
    classifier = read_classifier(model, pattern, read_labels(label) if label else None)
    if calibrate_on is not None:
        unlabelled = read_sources(None, calibrate_on, classifier.fields, text)
        classifier.calibrate([example for _, example in unlabelled if not is_blank(example)], mean=mean or "geometric")  # type: ignore[arg-type]
    if save is not None and not calibrate:
        classifier.save_pretrained(save)
        if not texts and file is None and (sys.stdin is None or sys.stdin.isatty()):
            return  # nothing to classify, and nobody to wait for
    reading = partial(read_sources, fields=classifier.fields, column=text)
    if calibrate:
        seen = list(reading(texts, file))
        if any(not is_blank(example) for _, example in seen):
            classifier.calibrate([example for _, example in seen if not is_blank(example)], mean=mean or "geometric")  # type: ignore[arg-type]
            if save is not None:
                classifier.save_pretrained(save)
        if engine == "here":  # where standard input is not to be read twice
            reading = partial(_held, seen)
    size = _BATCH if isinstance(worker, Here) else _SHARED
    found = work_on(worker, reading, texts, file, partial(judge, classifier), size=size)
    print_labels(
        ((source, row) for part, rows in found for (source, _), row in zip(part, rows, strict=True)),
        [str(name) for name in classifier.classes_.tolist()],
        one_label=classifier.one_label,
        as_json=as_json,
        as_csv=as_csv,
    )


def judge(classifier: TextClassifier | Ensemble) -> Callable[[list[Asked]], list[list[float] | None]]:
    """What gives texts the probabilities of labels, and blank ones nothing."""

    def judged(asked: list[Asked]) -> list[list[float] | None]:
        examples = [example for _, example in asked if not is_blank(example)]
        rows = iter(classifier.predict_proba(examples).tolist() if examples else [])
        return [None if is_blank(example) else next(rows) for _, example in asked]

    return judged


def _held(asked: list[Asked], *_: object) -> Iterator[Asked]:
    return iter(asked)


def read_classifier(model: str, pattern: str | None, words: dict[str, list[str]] | None) -> TextClassifier | Ensemble:
    """A classifier of words in a pattern, or a saved one of whatever kind.

    Args:
        model: a folder, the name of a shipped model, or a repository on the Hub.
        pattern: its template; ``None`` where the classifier was saved with one, like the following.
        words: of each label.

    Raises:
        ValueError: there is no pattern, or there are no labels.
    """
    from nlpkit.pet import PetClassifier, load_classifier
    from nlpkit.pet.classifiers.loading import saved_kind

    folder = find_model(model)
    if pattern is None and words is None:
        if saved_kind(folder) is None:
            raise ValueError(
                f"{model} was not saved as a classifier; give --pattern and --label, such as "
                "-p '{text}总之，我很{mask}。' -l good=满意 -l bad=失望, or --model with one that was"
            )
        return load_classifier(folder)
    classifier = PetClassifier.from_pretrained(folder, pattern, words)
    if not classifier.labels:
        raise ValueError("no labels; give each with its word, e.g. --label good=满意 --label bad=失望")
    return classifier


def read_sources(
    texts: list[str] | None, file: Path | None, fields: Sequence[str], column: str | None
) -> Iterator[Asked]:
    """Texts as they were given, each with the fields of a pattern by name, blank ones included.

    Args:
        texts: arguments.
        file: lines, JSON lines, or a table, by its name.
        fields: names of the pattern's texts.
        column: of the text, in a file of records.

    Raises:
        ValueError: a text that does not fit the pattern, or a column that is not there; the message lists those
            there are.
    """
    if file is not None and holds_records(file):
        return (_of_record(place, record, fields, column) for place, record in read_placed_records(texts, file))
    return ((line, read_example(line, fields)) for line in read_texts(texts, file))


def _of_record(place: str, record: Record, fields: Sequence[str], column: str | None) -> Asked:
    found = text_fields(place, record, fields, column)
    if len(fields) == 1 or not record:
        return found[fields[0]], found
    return json.dumps(found, ensure_ascii=False), found


def is_blank(example: dict[str, str]) -> bool:
    """Whether there is nothing to classify."""
    return not any(text.strip() for text in example.values())


def read_example(source: str, fields: Sequence[str]) -> dict[str, str]:
    """The fields of a pattern by name, from a text or from a JSON object.

    Args:
        source: what the user gave.
        fields: names of the pattern's texts.

    Raises:
        ValueError: the pattern takes several texts, and this is no JSON object of them.

    Example:
        >>> read_example('{"a": "天气", "b": "好"}', ["a", "b"]), read_example("{笑}很好", ["text"])
        ({'a': '天气', 'b': '好'}, {'text': '{笑}很好'})
    """
    try:
        found: Any = json.loads(source) if source.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and all(isinstance(found.get(name), str) for name in fields):
        return {name: found[name] for name in fields}
    if len(fields) > 1 and source.strip():
        raise ValueError(f"{source[:40]!r} must be a JSON object with the pattern's texts: {', '.join(fields)}")
    return dict.fromkeys(fields, source)


def read_labels(options: list[str]) -> dict[str, list[str]]:
    """Label words from ``name=word,word`` options; commas of other scripts, ``，`` and ``、``, divide words, too.

    Raises:
        ValueError: an option is not of that form.

    Example:
        >>> read_labels(["good=满意,喜欢，开心", "bad=失望、难过"])
        {'good': ['满意', '喜欢', '开心'], 'bad': ['失望', '难过']}
    """
    from nlpkit.pet.clozes.commas import split_at_commas

    words: dict[str, list[str]] = {}
    for option in options:
        name, equals, given = option.partition("=")
        if not (name and equals and given):
            raise ValueError(f"--label {option!r} must look like name=word or name=word,word")
        found = split_at_commas(given)
        if not all(found):
            raise ValueError(f"--label {option!r} holds an empty word; leave out the comma that has none beside it")
        words.setdefault(name, []).extend(found)
    return words
