"""Texts with their entities marked, on one page for a browser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from nlpkit.files import whole_file
from nlpkit.labels.spans import Span
from nlpkit.one_text import refuse_one_text
from nlpkit.tasks.entities.entity import Entity
from nlpkit.wobert.tokenizing.sources import not_unicode

_STYLE = """:root { color-scheme: light; }
body { margin: 0 auto; padding: 1.5rem; max-width: 60rem; color: #2e3440; background: #fff;
  font: 17px/2.4 "Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.3rem; }
p { border-top: 1px solid #e5e7eb; margin: 0; padding: .6rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
p.gold { border-top: 0; padding-top: 0; font-size: .85em; color: #6b7280; }
mark { color: inherit; padding: .15em .2em; border: 1px solid; border-radius: .3em; }
mark.goes-on { border-right-style: dashed; border-top-right-radius: 0; border-bottom-right-radius: 0; }
mark.comes-from { border-left-style: dashed; border-top-left-radius: 0; border-bottom-left-radius: 0; }
mark b { font-size: .65em; font-weight: 600; margin-left: .35em; user-select: none; }
"""


def save_entity_page(
    texts: Sequence[str],
    entities: Sequence[Iterable[Entity | Span]],
    path: str | Path,
    *,
    gold: Sequence[Iterable[Entity | Span]] | None = None,
    title: str = "Entities",
) -> None:
    """Write one HTML file that shows texts with their entities in boxes, one within another where they are nested.

    The file holds its style and needs no network. Pointing at a box shows the entity's probability. Entities that
    cross are drawn in two boxes, which are open where they go on.

    Args:
        texts: to show.
        entities: of each text.
        path: the file to write or replace.
        gold: what should have been found, shown below each text where it differs.
        title: at the head of the page.

    Raises:
        TypeError: one text is given in place of a list.
        ValueError: there are not as many texts as rows of entities, an entity does not lie in its text, or a text
            holds half of a surrogate pair, which no file can hold.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "page.html")
        ...     save_entity_page(["北京大学"], [[Entity(0, 4, "ORG", 0.9), Entity(0, 2, "LOC", 0.8)]], path)
        ...     print(path.read_text("utf-8").splitlines()[-3])
        <p><mark ... title="ORG 0.900"><mark ... title="LOC 0.800">北京<b>LOC</b></mark>大学<b>ORG</b></mark></p>
    """
    try:
        with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(entity_page_lines(texts, entities, gold=gold, title=title))
    except UnicodeEncodeError as error:
        raise not_unicode([(text,) for text in texts], error) from error


def entity_page_lines(
    texts: Sequence[str],
    entities: Sequence[Iterable[Entity | Span]],
    *,
    gold: Sequence[Iterable[Entity | Span]] | None = None,
    title: str = "Entities",
) -> Iterator[str]:
    """The text of the page, piece by piece; the arguments are those of ``save_entity_page``."""
    refuse_one_text("texts", texts)
    sides = {"texts": texts, "entities": entities, **({} if gold is None else {"gold": gold})}
    if len({len(side) for side in sides.values()}) > 1:
        raise ValueError(f"{', '.join(f'{len(side)} {name}' for name, side in sides.items())}; give as many of each")
    found = [_sorted(row) for row in entities]
    wanted = None if gold is None else [_sorted(row) for row in gold]
    kinds = sorted({one.label for row in [*found, *(wanted or [])] for one in row})
    colours = {kind: f"{(137.5 * number) % 360:.0f}" for number, kind in enumerate(kinds)}
    yield (
        '<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
    )
    for number, text in enumerate(texts):
        yield f"<p>{marked(text, found[number], colours)}</p>\n"
        if wanted is not None and _spans(wanted[number]) != _spans(found[number]):
            yield f'<p class="gold">{marked(text, wanted[number], colours)}</p>\n'
    yield "</body>\n</html>\n"


def marked(text: str, entities: Sequence[Entity | Span], colours: dict[str, str]) -> str:
    """A text as HTML with its entities in boxes.

    Args:
        text: any.
        entities: by start, longer ones first.
        colours: hue of each type, in degrees.

    Raises:
        ValueError: an entity does not lie in the text.
    """
    for one in entities:
        if not 0 <= one.start < one.end <= len(text):
            raise ValueError(f"entity {tuple(one)} does not lie in a text of {len(text)} characters")
    borders = sorted({0, len(text), *(place for one in entities for place in (one.start, one.end))})
    waiting, html = list(entities), ""
    opened: list[Entity | Span] = []
    for begin, end in zip(borders, [*borders[1:], len(text)], strict=True):
        again = []
        while any(one.end == begin for one in opened):  # what was opened within it is closed, and goes on behind it
            last = opened.pop()
            html += f"<b>{escape(last.label)}</b></mark>" if last.end == begin else "</mark>"
            if last.end > begin:
                again.append(last)
        while waiting and waiting[0].start == begin:
            again.append(waiting.pop(0))
        for one in sorted(again, key=lambda one: -one.end):
            closes_within = any(one.start < other.end < one.end for other in opened)
            html += _open(one, colours[one.label], comes_from=one.start < begin, goes_on=closes_within)
            opened.append(one)
        html += escape(text[begin:end])
    return html


def _open(one: Entity | Span, hue: str, *, comes_from: bool, goes_on: bool) -> str:
    classes = " ".join(["comes-from"] * comes_from + ["goes-on"] * goes_on)
    says = f"{one.label} {one.score:.3f}" if isinstance(one, Entity) else one.label
    style = f"background:hsl({hue} 80% 93%);border-color:hsl({hue} 60% 60%)"
    return f'<mark{f" class={classes!r}" if classes else ""} style="{style}" title="{escape(says)}">'


def _sorted(row: Iterable[Entity | Span]) -> list[Entity | Span]:
    return sorted(row, key=lambda one: (one.start, -one.end, one.label))


def _spans(row: Iterable[Entity | Span]) -> list[tuple[int, int, str]]:
    return [(one.start, one.end, one.label) for one in row]
