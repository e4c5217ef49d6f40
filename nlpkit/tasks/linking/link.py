"""What is found in a text: a name, and the entity that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nlpkit.checked_number import checked_number
from nlpkit.tasks.entities.entity import Entity
from nlpkit.tasks.linking.knowledge.knowledge_base import KnowledgeBase


class Link(NamedTuple):
    """A range of characters that stands for an entity.

    Args:
        start: first character.
        end: one past the last character.
        mention: the characters.
        entity: the id of the entity.
        score: probability in [0, 1] that it is this one, of all candidates and of none of them.

    Example:
        >>> Link(1, 3, "北京", "Q956", 0.9).labelled
        Entity(start=1, end=3, label='Q956', score=0.9)
    """

    start: int
    end: int
    mention: str
    entity: str
    score: float = 1.0

    @property
    def labelled(self) -> Entity:
        """The same as ``save_entity_page`` shows it: the id is the label."""
        return Entity(self.start, self.end, self.entity, self.score)


def read_links(example: Mapping[str, Any], knowledge_base: KnowledgeBase | None = None) -> list[Link]:
    """The links of a labelled text.

    Args:
        example: ``text``, and ``links`` of ``[start, end, entity]`` or of mappings with these fields. An entity
            ``None``, or ``"NIL"`` where that is no id, is no link: what is not known is left alone.
        knowledge_base: in which every other entity must be, and that gives its own id to each.

    Returns:
        By start.

    Raises:
        TypeError: a field is of another kind.
        ValueError: a link does not lie in the text, its entity is unknown, or one span has two entities.

    Example:
        >>> read_links({"text": "在北京", "links": [[1, 3, "Q956"], [0, 1, None]]})
        [Link(start=1, end=3, mention='北京', entity='Q956', score=1.0)]
    """
    if "text" not in example or "links" not in example:
        raise ValueError(f"an example needs 'text' and 'links' (links [] where there are none); got {sorted(example)}")
    text = example["text"]
    if not isinstance(text, str):
        raise TypeError(f"text is {text!r}, a {type(text).__name__}; give a text")
    found: dict[tuple[int, int], Link] = {}
    links = example["links"]
    if not isinstance(links, Sequence) or isinstance(links, str):
        raise TypeError(f"links is {links!r}; give a list, [] where there are none")
    for link in links:
        start, end, entity = _fields(link)
        if not 0 <= start < end <= len(text):
            raise ValueError(f"link {(start, end, entity)} does not lie in a text of {len(text)} characters")
        if entity is None or (entity == "NIL" and (knowledge_base is None or entity not in knowledge_base)):
            continue
        if knowledge_base is not None:
            entity = knowledge_base.resolve(entity)
        if (start, end) in found and found[start, end].entity != entity:
            raise ValueError(
                f"characters {start} to {end} have two entities, {found[start, end].entity!r} and {entity!r}"
            )
        found[start, end] = Link(start, end, text[start:end], entity)
    return sorted(found.values())


def _fields(link: Any) -> tuple[int, int, str | None]:
    if isinstance(link, Mapping):
        link = [link.get(name) for name in ("start", "end", "entity")]
    elif isinstance(link, Link):
        link = [link.start, link.end, link.entity]
    if not isinstance(link, Sequence) or isinstance(link, str) or len(link) != 3:
        raise TypeError(f"links hold {link!r}; each is [start, end, entity]")
    start, end, entity = link
    for name, place in (("start", start), ("end", end)):
        checked_number(f"a link's {name}", place, whole=True, hint="of a character")
    if entity is not None and not isinstance(entity, str):
        raise TypeError(f"a link's entity is {entity!r}, a {type(entity).__name__}; give an id, a text")
    return int(start), int(end), entity
