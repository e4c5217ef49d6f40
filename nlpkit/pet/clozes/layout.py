"""An example in its pattern before it is tokenised: stretches of text, and the markers between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nlpkit.pet.clozes.pattern import Kind, Pattern

#: In place of a field's number: of the pattern.
PATTERN = -1


class Stretch(NamedTuple):
    """Text between two markers.

    Args:
        text: is tokenised as a whole.
        owners: the number of the field that each of its characters is of, -1 for the pattern.
    """

    text: str
    owners: tuple[int, ...]

    def owner(self, start: int, end: int) -> int:
        """The field of a token over these characters; the pattern where it reaches over a border or has none."""
        owners = self.owners[start:end]
        return owners[0] if owners and owners.count(owners[0]) == len(owners) else PATTERN


class Marker(NamedTuple):
    """Tokens that come from no text.

    Args:
        kind: ``"mask"``, ``"soft"`` or ``"separator"``.
        length: how many tokens, of ``"soft"``.
    """

    kind: Kind
    length: int = 1


Layout = list[Stretch | Marker]


def lay_out(
    pattern: Pattern, fields: Mapping[str, str], mask_takes_space: tuple[bool, bool] = (False, False)
) -> Layout:
    """The pattern around the texts of an example.

    Args:
        pattern: the pattern.
        fields: texts by name.
        mask_takes_space: whether the mask token swallows the spaces before it, and those after it, as the tokenizer
            would in the rendered text.

    Returns:
        Stretches and markers in turn, with a stretch at both ends.

    Raises:
        ValueError: a field is missing.

    Example:
        >>> lay_out(Pattern("{mask}好。{text}"), {"text": "快"})
        [Stretch(text='', owners=()), Marker(kind='mask', length=1), Stretch(text='好。快', owners=(-1, -1, 0))]
    """
    pattern.check_fields(fields)
    layout: Layout = []
    text, owners, number = "", list[int](), 0
    for part in pattern.parts:
        if part.kind in ("text", "field"):
            content = part.content if part.kind == "text" else fields[part.content]
            owners += [PATTERN if part.kind == "text" else number] * len(content)
            number += part.kind == "field"
            text += content
        else:
            layout += [Stretch(text, tuple(owners)), Marker(part.kind, part.count)]
            text, owners = "", []
    layout.append(Stretch(text, tuple(owners)))
    return list(_without_spaces_at_masks(layout, *mask_takes_space))


def lay_out_plainly(pattern: Pattern, fields: Mapping[str, str], has_separator: bool) -> Layout:
    """The texts that a pattern takes, without the pattern and masks, a separator between two where there is one."""
    pattern.check_fields(fields)
    layout: Layout = []
    for number, name in enumerate(pattern.fields):
        if number and has_separator:
            layout.append(Marker("separator"))
        layout.append(Stretch(fields[name], (number,) * len(fields[name])))
    return layout


def _without_spaces_at_masks(layout: Layout, before: bool, after: bool) -> Iterator[Stretch | Marker]:
    masks = {place for place, piece in enumerate(layout) if isinstance(piece, Marker) and piece.kind == "mask"}
    for place, piece in enumerate(layout):
        if isinstance(piece, Stretch):
            kept = piece.text.rstrip() if before and place + 1 in masks else piece.text
            start = len(kept) - len(kept.lstrip()) if after and place - 1 in masks else 0
            piece = Stretch(kept[start:], piece.owners[start : len(kept)])
        yield piece
