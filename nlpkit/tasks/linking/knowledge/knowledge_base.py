"""A knowledge base: entities by id, and by their names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nlpkit.files import whole_file
from nlpkit.tasks.linking.knowledge.entry import Entry, read_entry
from nlpkit.text_files import read_records


class KnowledgeBase:
    """Entities by their ids, and the ids that each name may stand for.

    Args:
        entries: at least one, in an order that decides between candidates about which nothing else is known.

    Raises:
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
            if not all(name.strip() for name in (entry.id, *entry.names)):
                raise ValueError(
                    f"entry {number} has the id {entry.id!r} and the names {entry.names}; none may be blank"
                )
            if entry.id in self.entries:
                place = list(self.entries).index(entry.id)
                raise ValueError(f"entries {place} and {number} have one id, {entry.id!r}; give each its own")
            self.entries[entry.id] = entry
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
        """Write a file of JSON lines that ``read`` reads, whole or not at all."""
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
            chain = [id]
            while chain[-1] not in target and (after := self.entries[chain[-1]].same_as) is not None:
                if after not in self.entries:
                    raise ValueError(f"{chain[-1]!r} is the same as {after!r}, which the knowledge base does not have")
                if after in chain:
                    circle = " -> ".join(map(repr, [*chain[chain.index(after) :], after]))
                    raise ValueError(
                        f"entries are the same as one another in a circle: {circle}; one of them must end it"
                    )
                chain.append(after)
            target |= dict.fromkeys(chain, target.get(chain[-1], chain[-1]))
        return target
