"""Turn the questions of KgCLUE into a knowledge base and texts with links: what recipes/linking.py reads.

    python recipes/kgclue.py $NLPKIT_DATA/kgclue data/kgclue
    python recipes/kgclue.py $NLPKIT_DATA/kgclue data/kgclue-unknown --unknown 0.2

A question of KgCLUE has an answer ``entity（gloss） ||| relation ||| value``. The entities of all parts, with their
glosses, are the knowledge base, whose full form is not among the public files: so there are far fewer names to mistake
for others, and scores are higher than they would be with it. Relations and values are left out, since they tell which
question they belong to.

The link of a question is the place of its entity's name in it, the first one of several, whatever the capitals. Where
the name is not in the question, the whole question is linked, which no method finds. ``--unknown`` leaves a share of
the entities out of the knowledge base, by a fixed rule; their questions have no link.
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from nlpkit.files import write_text
from nlpkit.runs import run_recipe
from nlpkit.tasks.linking import fold
from nlpkit.text_files import read_records

PARTS = {"train": "train.json", "dev": "dev.json", "test": "test_public.json"}
_parts_of_an_entity = re.compile("(.+?)（(.*)）").fullmatch


def split_entity(entity: str) -> tuple[str, str]:
    """The name and the gloss of an entity; brackets in the middle belong to the name.

    Example:
        >>> split_entity("苹果（手机（旧款））"), split_entity("完美（中国）有限公司")
        (('苹果', '手机（旧款）'), ('完美（中国）有限公司', ''))
    """
    found = _parts_of_an_entity(entity)
    return (found[1], found[2]) if found else (entity, "")


def read_question(row: dict[str, Any]) -> tuple[str, str]:
    """The question of a record and its entity.

    Raises:
        ValueError: it has no question, or its answer is not in three parts.

    Example:
        >>> read_question({"question": "谁唱的风不息？", "answer": "风不息（专辑） ||| 歌手 ||| 郭富城"})
        ('谁唱的风不息？', '风不息（专辑）')
    """
    parts = row.get("answer", "").split(" ||| ")
    if len(parts) != 3 or not row.get("question"):
        raise ValueError(f"need a question, and an answer of entity ||| relation ||| value; got {row}")
    return row["question"], parts[0].strip()


def link(question: str, entity: str) -> list[Any]:
    """Where the name of an entity stands in a question, as a link.

    Example:
        >>> link("谁唱的风不息？", "风不息（专辑）"), link("谁唱的？", "风不息（专辑）")
        ([3, 6, '风不息（专辑）'], [0, 4, '风不息（专辑）'])
    """
    name = fold(split_entity(entity)[0])
    place = fold(question).find(name)
    return [0, len(question), entity] if place < 0 else [place, place + len(name), entity]


def is_unknown(entity: str, share: float) -> bool:
    """Whether an entity is left out of the knowledge base: the same ones whatever else there is."""
    return crc32(entity.encode()) < share * 2**32


def as_lines(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main(argv: Sequence[str]) -> None:
    """Convert the set in the folder named first into the folder named second."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the set's folder, see docs/data.md")
    parser.add_argument("folder", type=Path, help="for entities.jsonl, train.jsonl, dev.jsonl and test.jsonl")
    parser.add_argument("--unknown", type=float, default=0.0, help="share of the entities that are left out")
    given = parser.parse_args(argv)
    if not 0 <= given.unknown < 1:
        raise ValueError(f"--unknown {given.unknown} must be a share from 0 to below 1")
    parts = {
        part: [read_question(row) for _, row in read_records(_file(given.source, name))]
        for part, name in PARTS.items()
    }
    named = {entity for questions in parts.values() for _, entity in questions}
    known = sorted(entity for entity in named if not is_unknown(entity, given.unknown))
    names = {entity: split_entity(entity) for entity in known}
    entries = ({"id": entity, "name": name, "description": gloss} for entity, (name, gloss) in names.items())
    write_text(given.folder / "entities.jsonl", as_lines(entries))
    print(f"{len(known)} entities, {len({fold(name) for name, _ in names.values()})} names")
    for part, questions in parts.items():
        rows = [
            {"text": question, "links": [link(question, entity)] if entity in names else []}
            for question, entity in questions
        ]
        write_text(given.folder / f"{part}.jsonl", as_lines(rows))
        linked = [(question, names[entity][0]) for question, entity in questions if entity in names]
        lost = sum(fold(name) not in fold(question) for question, name in linked)
        print(f"{part}: {len(rows)} questions, {len(linked)} links, {lost} to names that are not in the question")


def _file(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.is_file() else folder / f"{name}.xz"


if __name__ == "__main__":
    run_recipe(main)
