"""A knowledge base: entities by id, and by their names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nlpkit.files import whole_file
from nlpkit.tasks.linking.knowledge.entry import Entry, checked_entry, read_entry
from nlpkit.text_files import read_records
from nlpkit.wobert.tokenizing.sources import not_unicode


class KnowledgeBase:
    """Entities by their ids, and the ids that each name may stand for.

    Args:
        entries: at least one, in an order that decides between candidates about which nothing else is known.

    Raises:
        TypeError: a field of an entry is of another kind.
        ValueError: there are no entries, an id comes twice, an id or a name is blank, ``same_as`` names an unknown
            id, or entries are the same as one another in a circle.

    Example:
        >>> base = KnowledgeBase([
        ...     Entry("Q1", "苹果", description="水果"),
        ...     Entry("Q2", "苹果公司", ("苹果",)),
        ...     Entry("Q3", "Apple", same_as="Q2"),
        ... ])
        >>> base.names()
        {'苹果': ('Q1', 'Q2'), '苹果公司': ('Q2',), 'Apple': ('Q2',)}
        >>> base["Q3"].name, len(base), "Q4" in base
        ('苹果公司', 2, False)
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: dict[str, Entry] = {}
        for number, entry in enumerate(entries):
            if not isinstance(entry, Entry):
                raise TypeError(f"entry {number} is a {type(entry).__name__}; give nlpkit.tasks.linking.Entry")
            try:
                checked = checked_entry(entry)
            except (TypeError, ValueError) as error:
                raise type(error)(f"entry {number}: {error}") from error
            if checked.id in self.entries:
                place = list(self.entries).index(checked.id)
                raise ValueError(f"entries {place} and {number} have one id, {checked.id!r}; give each its own")
            self.entries[checked.id] = checked
        if not self.entries:
            raise ValueError("the knowledge base is empty; give at least one entry")
        self._target = self._resolve()

    @classmethod
    def read(cls, path: str | Path) -> KnowledgeBase:
        """Read a file.

        Args:
            path: JSON lines of what ``read_entry`` takes, plain, ``.gz`` or ``.xz``.

        Raises:
            FileNotFoundError: no such file.
            TypeError: a field is of another kind; the message names file and line.
            ValueError: a line is broken, likewise; or as of the class.
        """
        entries = []
        for number, record in read_records(path):
            try:
                entries.append(read_entry(record))
            except (TypeError, ValueError) as error:
                raise type(error)(f"{path}, line {number}: {error}") from error
        try:
            return cls(entries)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write a file of JSON lines that ``read`` reads, whole or not at all.

        Raises:
            ValueError: a text holds half of a surrogate pair, which no file can hold.
        """
        try:
            self._write(path)
        except UnicodeEncodeError as error:
            facts = ([text for fact in entry.facts for text in fact] for entry in self.entries.values())
            rows = [
                (entry.id, *entry.names, entry.description, *own)
                for entry, own in zip(self.entries.values(), facts, strict=True)
            ]
            raise not_unicode(rows, error) from error

    def _write(self, path: str | Path) -> None:
        with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
            for entry in self.entries.values():
                record = {name: value for name, value in entry._asdict().items() if value}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def names(self) -> dict[str, tuple[str, ...]]:
        """Every name with the ids of the entities that it may stand for, in the order of the entries."""
        found: dict[str, dict[str, None]] = {}
        for entry in self.entries.values():
            for name in entry.names:
                found.setdefault(name, {})[self._target[entry.id]] = None
        return {name: tuple(ids) for name, ids in found.items()}

    def resolve(self, id: str) -> str:  # noqa: A002 - as entries call it
        """The id of the entity that an id stands for: itself, unless the entry is the same as another one.

        Raises:
            ValueError: there is no such id.
        """
        if id not in self._target:
            raise ValueError(f"the knowledge base has no entity {id!r}")
        return self._target[id]

    def __getitem__(self, id: str) -> Entry:  # noqa: A002
        return self.entries[self.resolve(id)]

    def __contains__(self, id: Any) -> bool:  # noqa: A002
        return id in self.entries

    def __iter__(self) -> Iterator[Entry]:
        """The entities, without further entries of theirs."""
        return (entry for entry in self.entries.values() if entry.same_as is None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _resolve(self) -> dict[str, str]:
        target: dict[str, str] = {}
        for id in self.entries:  # noqa: A001
            last = id
            chain = {last: None}
            while last not in target and (after := self.entries[last].same_as) is not None:
                if after not in self.entries:
                    raise ValueError(f"{last!r} is the same as {after!r}, which the knowledge base does not have")
                if after in chain:
                    names = list(chain)
                    circle = " -> ".join(map(repr, [*names[names.index(after) :], after]))
                    raise ValueError(
                        f"entries are the same as one another in a circle: {circle}; one of them must end it"
                    )
                chain[after] = None
                last = after
            target.update(dict.fromkeys(chain, target.get(last, last)))
        return target
