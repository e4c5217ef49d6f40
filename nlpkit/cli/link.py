"""``nlpkit link``: the entities of a knowledge base that names in texts stand for, by a trained model."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nlpkit.cli.entities import best_device
from nlpkit.cli.generate import read_sources
from nlpkit.cli.inputs import AsObjects, Page, TextFile, TextName, Texts
from nlpkit.pretrained import open_config
from nlpkit.sources import find_model

if TYPE_CHECKING:
    from nlpkit.tasks.linking import EntityLinker, Link

#: Batches that are read at a time.
_BATCHES = 8


def link(
    texts: Texts = None,
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="A folder or a repository on the Hub, as nlpkit recipe linking trains."),
    ] = "",
    file: TextFile = None,
    text: TextName = "text",
    knowledge_base: Annotated[
        Path | None, typer.Option(help="JSON lines of entities, in place of those that are saved with the model.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Probability of an entity beside none that must be exceeded.")
    ] = 0.5,
    most: Annotated[int | None, typer.Option(min=1, help="Links per text at most.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Mentions per batch.")] = 32,
    html: Page = None,
    as_json: AsObjects = False,
) -> None:
    """Link the names in texts to entities of a knowledge base, with a model that was trained to; else leave them."""
    from nlpkit.tasks.entities import save_entity_page

    if not model:
        raise ValueError("give --model: no model that links is shipped; nlpkit recipe linking trains one")
    sources = read_sources(texts, file, text)
    linker = trained_linker(model, knowledge_base)
    shown: list[tuple[str, list[Link]]] = []
    while chunk := list(islice(sources, _BATCHES * batch_size)):
        found = linker.predict(
            [source.text for source in chunk], threshold=threshold, most=most, batch_size=batch_size
        )
        for source, row in zip(chunk, found, strict=True):
            record = {text: source.text} if source.record is None and as_json else source.record
            typer.echo(as_line(row) if record is None else as_object(record, row))
        if html is not None:
            shown += zip([source.text for source in chunk], found, strict=True)
    if html is not None:
        links = [[one.labelled for one in row] for _, row in shown]
        save_entity_page([one for one, _ in shown], links, html, title="Entities by their ids")


def trained_linker(model: str, knowledge_base: Path | None) -> EntityLinker:
    """The linker in a folder, with its own knowledge base or another one.

    Args:
        model: a folder or a repository on the Hub.
        knowledge_base: a file of JSON lines.

    Raises:
        ValueError: the model was not trained to link.
    """
    from nlpkit.tasks.linking import EntityLinker, KnowledgeBase, LinkingConfig

    if not isinstance(open_config(find_model(model)), LinkingConfig):
        raise ValueError(
            f"{model} links nothing: give --model a folder that nlpkit recipe linking wrote, such as "
            "runs/linking/kgclue/seed-0/model"
        )
    linker = EntityLinker.from_pretrained(
        model, None if knowledge_base is None else KnowledgeBase.read(knowledge_base)
    )
    linker.model.to(best_device())
    return linker


def as_line(found: list[Link]) -> str:
    """Entities, mentions and probabilities, with tabs between links.

    Example:
        >>> from nlpkit.tasks.linking import Link
        >>> as_line([Link(1, 3, "北京", "Q956", 0.98765)])
        'Q956 北京 0.988'
    """
    return "\t".join(f"{one.entity} {one.mention} {one.score:.3f}" for one in found).replace("\n", " ")


def as_object(record: dict[str, Any], found: list[Link]) -> str:
    """The record with its links, as a line of JSON."""
    rows = [{**one._asdict(), "score": round(one.score, 6)} for one in found]
    return json.dumps({**record, "links": rows}, ensure_ascii=False)
