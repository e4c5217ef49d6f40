"""Commas of any script, which may stand between several names or words."""

from __future__ import annotations

import unicodedata


def split_at_commas(text: str) -> list[str]:
    """The parts of a text between commas of any script, without spaces around them; empty ones, too.

    Args:
        text: in which ``,``, ``，``, ``、``, ``،`` and the like part one from the next.

    Example:
        >>> split_at_commas("房间，服务、早餐, 位置"), split_at_commas("")
        (['房间', '服务', '早餐', '位置'], [''])
    """
    parts = "".join("," if _is_comma(character) else character for character in text).split(",")
    return [part.strip() for part in parts]


def _is_comma(character: str) -> bool:
    return unicodedata.category(character) == "Po" and "COMMA" in unicodedata.name(character, "")
