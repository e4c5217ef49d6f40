"""One entity of a knowledge base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """An entity, or another id of one.

    Args:
        id: its own, by which links name it.
        name: as it is mostly called.
        aliases: further names; ``name`` is one anyway.
        description: what it is, in a few words.
        facts: pairs of a predicate and its value, the most telling ones first.
        same_as: the id of the entity that this is another entry of, and whose id links are to have.

    Example:
        >>> Entry("Q1", "苹果", ("苹果公司",), "科技公司").names
        ('苹果', '苹果公司')
    """

    id: str
    name: str
    aliases: tuple[str, ...] = ()
    description: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    same_as: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the main one first, each once."""
        return tuple(dict.fromkeys((self.name, *self.aliases)))


def read_entry(record: Mapping[str, Any]) -> Entry:
    """An entry out of a record, as a line of a file holds it.

    Args:
        record: ``id`` and ``name``, and perhaps ``aliases``, ``description``, ``facts`` and ``same_as``; other fields
            are passed over.

    Raises:
        TypeError: a field is of another kind.
        ValueError: ``id`` or a name is missing or blank.

    Example:
        >>> read_entry({"id": "Q1", "name": "苹果", "aliases": ["苹果公司"], "facts": [["总部", "库比蒂诺"]]})
        Entry(id='Q1', name='苹果', aliases=('苹果公司',), description='', facts=(('总部', '库比蒂诺'),), same_as=None)
    """
    for field in ("id", "name"):
        if field not in record:
            raise ValueError(f"an entry needs 'id' and 'name'; there is no {field!r}")
    given = {name: record[name] for name in Entry._fields if record.get(name) is not None}
    return checked_entry(Entry(**{"id": record["id"], "name": record["name"], **given}))


def checked_entry(entry: Entry) -> Entry:
    """An entry whose fields are what they should be, with tuples for lists.

    Args:
        entry: made by a user, or read.

    Raises:
        TypeError: a field is of another kind, such as one text for the aliases.
        ValueError: an id, a name or a predicate is blank.

    Example:
        >>> checked_entry(Entry("Q1", "苹果", ["苹果公司"])).aliases
        ('苹果公司',)
    """
    return Entry(
        _text(entry.id, "id"),
        _text(entry.name, "name"),
        tuple(_text(alias, "an alias") for alias in _list(entry.aliases, "aliases")),
        _text(entry.description, "description", blank=True),
        tuple(_fact(fact) for fact in _list(entry.facts, "facts")),
        None if entry.same_as is None else _text(entry.same_as, "same_as"),
    )


def _text(value: Any, field: str, *, blank: bool = False) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{field} is {value!r}, a {type(value).__name__}; give a text")
    if not blank and not value.strip():
        raise ValueError(f"{field} is {value!r}; give one that is not blank")
    return value


def _list(value: Any, field: str) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"{field} is {value!r}; give a list")
    return value


def _fact(fact: Any) -> tuple[str, str]:
    if not isinstance(fact, Sequence) or isinstance(fact, str) or len(fact) != 2:
        raise TypeError(f"facts hold {fact!r}; each is a pair [predicate, value]")
    return _text(fact[0], "the predicate of a fact"), _text(fact[1], "the value of a fact", blank=True)
