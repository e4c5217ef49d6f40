"""Cloze patterns: text with slots for the input's fields and for the words that a model fills in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Literal
from unicodedata import category

Kind = Literal["text", "field", "mask", "soft", "separator"]
#: Where a word stands: at the beginning of a text or behind what opens a quotation or a bracket, behind a space, or
#: directly behind other text.
Place = Literal["beginning", "after_space", "inside"]


@dataclass(frozen=True)
class Part:
    """A stretch of a pattern.

    Args:
        kind: ``"text"`` is the pattern's own; ``"field"`` is a text of the example; ``"mask"`` is to be filled in;
            ``"soft"`` are trainable tokens; ``"separator"`` is the model's separator token.
        content: the text, or the name of the field; empty for the others.
        count: how many tokens, of ``"soft"``.
        keep: the end of a field that stays when it is too long.
    """

    kind: Kind
    content: str = ""
    count: int = 1
    keep: Literal["head", "tail"] = "head"


class Pattern:
    """A cloze question around the texts of an example.

    Source: PET (Schick and Schuetze, 2021, arXiv 2001.07676, section 3.1); kexue.fm/archives/7764.

    Args:
        template: text with ``{mask}`` where a label word stands, ``{name}`` for the texts of the example, ``{sep}``
            for the model's separator, and ``{soft}`` or ``{soft:4}`` for one or more trainable tokens (P-tuning).
            Braces themselves are doubled. A field that is too long loses its end, or its beginning in ``{name:tail}``.

    Raises:
        ValueError: no ``{mask}``, no field, or braces that do not match.

    Note:
        With several ``{mask}`` a label word is one part for each of them, in their order. How many mask *tokens* stand
        in a slot depends on the tokens of the label's word, see ``nlpkit.pet.clozes.verbalizer.Verbalizer``.

    Example:
        >>> Pattern("{mask}满意。{text}").render({"text": "屏幕很清楚"}, ["很"])
        '很满意。屏幕很清楚'
        >>> Pattern("{text_a}{mask}，{text_b}").fields
        ('text_a', 'text_b')
    """

    def __init__(self, template: str) -> None:
        self.template = template
        self.parts = tuple(_parse(template))
        if not self.slots:
            raise ValueError(f"pattern {template!r} has no {{mask}}: write one where the label word stands")
        if not self.fields:
            raise ValueError(f"pattern {template!r} has no field: write {{text}} where the input stands")

    @classmethod
    def of(cls, given: Pattern | str) -> Pattern:
        """A pattern, or that of a template.

        Raises:
            TypeError: it is neither.
        """
        if not isinstance(given, (cls, str)):
            raise TypeError(f"a pattern is a text such as '{{mask}}满意。{{text}}'; got {given!r}")
        return cls(given) if isinstance(given, str) else given

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts it takes, in order of appearance."""
        return tuple(dict.fromkeys(part.content for part in self.parts if part.kind == "field"))

    @property
    def slots(self) -> int:
        """Number of places to be filled in."""
        return sum(part.kind == "mask" for part in self.parts)

    @property
    def soft_tokens(self) -> int:
        """Number of trainable tokens."""
        return sum(part.count for part in self.parts if part.kind == "soft")

    def places(self) -> list[Place]:
        """Where the word of each slot stands, which decides by which tokens it is written.

        Example:
            >>> Pattern("{mask}: {text} It is {mask}, “{mask}”").places()
            ['beginning', 'after_space', 'beginning']
        """
        before = (Part("separator"), *self.parts)  # a text begins where it would behind a separator
        return [_place_behind(before[number]) for number, part in enumerate(self.parts) if part.kind == "mask"]

    def check_fields(self, fields: Mapping[str, str]) -> None:
        """Refuse an example that lacks a text of the pattern.

        Raises:
            ValueError: a field is missing; the message lists the fields that the example has.
        """
        missing = [name for name in self.fields if name not in fields]
        if missing:
            raise ValueError(
                f"pattern {self.template!r} needs the field {missing[0]!r}; the example has {sorted(fields)}"
            )

    def render(self, fields: Mapping[str, str], words: list[str]) -> str:
        """The text with the slots filled, without separators and trainable tokens.

        Args:
            fields: texts by name.
            words: one per slot.
        """
        self.check_fields(fields)
        fillings = iter(words)
        shown = {"text": lambda part: part.content, "field": lambda part: fields[part.content]}
        shown |= {"mask": lambda part: next(fillings), "soft": lambda part: "", "separator": lambda part: " "}
        return "".join(shown[part.kind](part) for part in self.parts)

    def __repr__(self) -> str:
        return f"Pattern({self.template!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.template == self.template

    def __hash__(self) -> int:
        return hash(self.template)


def _place_behind(part: Part) -> Place:
    if part.kind in ("separator", "soft"):
        return "beginning"
    if part.kind != "text":
        return "inside"
    last, earlier = part.content[-1], part.content[-2:-1]
    if last.isspace():
        return "after_space"
    opens = category(last) in ("Ps", "Pi") or (last in "\"'" and (not earlier or earlier.isspace()))
    return "beginning" if opens else "inside"


def template_fields(template: str) -> tuple[str, ...]:
    """Names in braces in a template without slots, in order of appearance.

    Raises:
        ValueError: braces that do not match.

    Example:
        >>> template_fields("{text_a}。{text_b}")
        ('text_a', 'text_b')
    """
    return tuple(dict.fromkeys(name for _, name in template_parts(template) if name))


def template_parts(template: str) -> list[tuple[str, str | None]]:
    """Text, and the name in braces behind it if there is one, from the beginning of a template to its end.

    Raises:
        ValueError: braces that do not match.

    Example:
        >>> template_parts("{text_a}。{text_b}!")
        [('', 'text_a'), ('。', 'text_b'), ('!', None)]
    """
    return [(text, name) for text, name, _, _ in Formatter().parse(template)]


def _parse(template: str) -> Iterator[Part]:
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(
            f"pattern {template!r} is broken: {error}; double the braces that are meant as text"
        ) from error
    for text, name, detail, conversion in pieces:
        if text:
            yield Part("text", text)
        if name is None:
            continue
        if conversion or not name.isidentifier() or (detail and name in ("mask", "sep")):
            raise ValueError(
                f"pattern {template!r} has a slot {{{name}}} that cannot be read; slots look like {{mask}}, {{text}}, "
                "{sep} or {soft:4}"
            )
        if name == "soft":
            if detail and not (detail.isdecimal() and int(detail) > 0):
                raise ValueError(f"pattern {template!r}: {{soft:{detail}}} must say how many tokens, e.g. {{soft:4}}")
            yield Part("soft", count=int(detail or 1))
        elif name in ("mask", "sep"):
            yield Part("mask" if name == "mask" else "separator")
        elif detail in ("", "head", "tail"):
            yield Part("field", name, keep="tail" if detail == "tail" else "head")
        else:
            raise ValueError(
                f"pattern {template!r}: {{{name}:{detail}}} must say which end stays when it is cut, head or tail"
            )
