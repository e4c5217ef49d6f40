"""The little of SVG that the drawings need: text of any script, and the document around it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import combining, east_asian_width
from xml.sax.saxutils import escape, quoteattr

from nlpkit.pictures import CHINESE_FONTS

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text_width(text: str, size: float) -> float:
    """About how wide a text is drawn: a full em for East Asian wide characters, 0.6 em for others.

    Args:
        text: one line.
        size: of the font, in pixels.

    Returns:
        Pixels; an estimate, as the reader's font is not known.

    Example:
        >>> text_width("计算", 10), text_width("ab", 10)
        (20.0, 12.0)
    """
    ems = (0.0 if combining(c) else 1.0 if east_asian_width(c) in "WF" else 0.6 for c in text)
    return size * sum(ems)


def text_element(text: str, x: float, y: float, *, anchor: str = "middle", extra: str = "") -> str:
    """A line of text; characters that XML cannot hold become the replacement character.

    Args:
        text: to draw.
        x: pixels from the left of the anchor.
        y: pixels from the top of the baseline.
        anchor: ``"start"``, ``"middle"`` or ``"end"``.
        extra: further attributes, as they stand.

    Returns:
        The element.

    Example:
        >>> text_element("a<b", 1, 2)
        '<text x="1.0" y="2.0" text-anchor="middle">a&lt;b</text>'
    """
    attributes = f' text-anchor="{anchor}"' + (f" {extra}" if extra else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape_text(text)}</text>'


def escape_text(text: str) -> str:
    """Text as XML holds it.

    Example:
        >>> escape_text("R&D\\x00")
        'R&amp;D\\ufffd'
    """
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def document(width: float, height: float, elements: Iterable[str], *, title: str, size: float) -> str:
    """A whole SVG file on a white ground.

    Args:
        width: pixels.
        height: pixels.
        elements: in the order of painting.
        title: read aloud, and shown under the pointer.
        size: of the font, in pixels.

    Returns:
        The text of the file, to be written as UTF-8.

    Example:
        >>> "Noto Sans CJK SC" in document(10, 10, [], title="nothing", size=12)
        True
    """
    families = quoteattr(", ".join([*(f"'{name}'" for name in CHINESE_FONTS), "sans-serif"]))
    body = "\n".join(elements)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family={families} font-size="{size:g}">\n'
        f"<title>{escape_text(title)}</title>\n"
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )
