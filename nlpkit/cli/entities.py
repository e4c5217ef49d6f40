"""``nlpkit entities``: the entities in texts, by a trained model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nlpkit.cli.engines import EngineName, Workers, find_engine, work_on
from nlpkit.cli.generate import Source, read_sources
from nlpkit.cli.inputs import AsObjects, Page, TextFile, TextName, Texts
from nlpkit.pretrained import open_config
from nlpkit.sources import find_model

if TYPE_CHECKING:
    from nlpkit.tasks.entities import Entity

#: Batches that are read at a time, so that each holds texts of about the same length.
_BATCHES = 8


def entities(
    texts: Texts = None,
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="A folder or a repository on the Hub, as nlpkit recipe entities trains."),
    ] = "",
    file: TextFile = None,
    text: TextName = "text",
    threshold: Annotated[float, typer.Option(help="Least probability, of models that score spans.")] = 0.5,
    overlaps: Annotated[
        bool, typer.Option("--overlaps/--flat", help="Whether entities may overlap, or the more probable one stays.")
    ] = True,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts per batch.")] = 32,
    html: Page = None,
    as_json: AsObjects = False,
    engine: EngineName = "here",
    workers: Workers = None,
) -> None:
    """Find the entities in texts, nested ones included, with a model that was trained to; in blank ones nothing."""
    from nlpkit.tasks.entities import save_entity_page

    if not model:
        raise ValueError("give --model: no model that finds entities is shipped; nlpkit recipe entities trains one")
    settings = {"threshold": threshold, "overlaps": overlaps, "batch_size": batch_size}
    shown: list[tuple[str, list[Entity]]] = []
    for chunk, found in work_on(
        find_engine(engine, workers),
        partial(_sources, text),
        texts,
        file,
        partial(finder, model, settings),
        size=_BATCHES * batch_size,
    ):
        for source, row in zip(chunk, found, strict=True):
            record = {text: source.text} if source.record is None and as_json else source.record
            typer.echo(as_line(source.text, row) if record is None else as_object(record, source.text, row))
        if html is not None:
            shown += zip([source.text for source in chunk], found, strict=True)
    if html is not None:
        save_entity_page([one for one, _ in shown], [row for _, row in shown], html)


def finder(model: str, settings: dict[str, Any]) -> Callable[[list[Source]], list[list[Entity]]]:
    """What finds the entities in texts.

    Args:
        model: a folder or a repository on the Hub.
        settings: of ``EntityRecognizer.predict``.

    Raises:
        ValueError: the model was not trained to find entities.
    """
    from nlpkit.tasks.entities import EntityConfig, EntityRecognizer

    if not isinstance(open_config(find_model(model)), EntityConfig):
        raise ValueError(
            f"{model} finds no entities: give --model a folder that nlpkit recipe entities wrote, such as "
            "runs/entities/pfr/global_pointer-words/seed-0/model"
        )
    recognizer = EntityRecognizer.from_pretrained(model)
    recognizer.model.to(best_device())
    return lambda sources: recognizer.predict([source.text for source in sources], **settings)


def _sources(column: str, texts: list[str] | None, file: Path | None) -> Iterator[Source]:
    return read_sources(texts, file, column)


def best_device() -> Any:
    """A GPU if there is one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def as_line(text: str, found: list[Entity]) -> str:
    """Types, entities and probabilities, with tabs between entities.

    Example:
        >>> from nlpkit.tasks.entities import Entity
        >>> as_line("在北京", [Entity(1, 3, "LOC", 0.98765)])
        'LOC 北京 0.988'
    """
    parts = (f"{one.label} {text[one.start : one.end]} {one.score:.3f}" for one in found)
    return "\t".join(parts).replace("\n", " ")


def as_object(record: dict[str, Any], text: str, found: list[Entity]) -> str:
    """The record with its entities, as a line of JSON."""
    rows = [{**one._asdict(), "score": round(one.score, 6), "text": text[one.start : one.end]} for one in found]
    return json.dumps({**record, "entities": rows}, ensure_ascii=False)
