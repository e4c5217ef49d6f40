"""Dependency trees as arcs: over the words in SVG, beside them in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from nlpkit.perturbed_masking.drawings.svg import document, text_element, text_width
from nlpkit.perturbed_masking.drawings.terminal import on_one_line

_SIZE, _GAP, _STEP, _MARGIN = 16.0, 18.0, 22.0, 16.0
_PLAIN, _RIGHT, _WRONG = "#3b4252", "#2a7f3e", "#c0392b"

_UP, _DOWN, _LEFT, _RIGHT_SIDE = 1, 2, 4, 8
_BOXES = " │││─┘┐┤─└┌├─┴┬┼"  # by the sum of the sides on which lines leave a cell


def arcs_svg(words: Sequence[str], heads: Sequence[int], *, gold: Sequence[int] | None = None) -> str:
    """Draw a dependency tree over its words: arrows point from head to dependent, the root has one from above.

    Args:
        words: of the sentence.
        heads: 1-based, 0 for a root.
        gold: the right heads; arcs that agree are then green and others red.

    Returns:
        The text of an SVG file.

    Raises:
        ValueError: the lengths differ, or a head is out of range.

    Example:
        >>> arcs_svg(["我", "来"], [2, 0]).count("<path")
        4
    """
    _check(words, heads, gold)
    centres, right = [], _MARGIN
    for word in words:
        width = max(text_width(word, _SIZE), _GAP)
        centres.append(right + width / 2)
        right += width + _GAP
    levels = arc_levels(heads)
    ground = _MARGIN + _STEP * (max(levels.values(), default=0) + 1.5)
    elements = []
    for unit, head in enumerate(heads, start=1):
        colour = _PLAIN if gold is None else _RIGHT if gold[unit - 1] == head else _WRONG
        x = centres[unit - 1]
        if head == 0:
            line = f"M {x:.1f} {_MARGIN:.1f} V {ground:.1f}"
        else:
            side = 4.0 if head < unit else -4.0  # arcs that leave a word by the same side start beside its middle
            start, x = centres[head - 1] + side, x - side / 2
            top = ground - _STEP * levels[unit] * 4 / 3  # a cubic reaches three quarters of the way to its handles
            line = f"M {start:.1f} {ground:.1f} C {start:.1f} {top:.1f} {x:.1f} {top:.1f} {x:.1f} {ground:.1f}"
        elements.append(f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        elements.append(f'<path d="M {x:.1f} {ground + 3:.1f} l -4 -8 h 8 z" fill="{colour}"/>')
    baseline = ground + 3 + _SIZE * 1.2
    elements += [text_element(word, x, baseline) for word, x in zip(words, centres, strict=True)]
    width = max(right - _GAP, _MARGIN) + _MARGIN
    return document(width, baseline + _MARGIN, elements, title=" ".join(words), size=_SIZE)


def arcs_text(words: Sequence[str], heads: Sequence[int], *, notes: Sequence[str] | None = None) -> str:
    """Draw a dependency tree in characters, one line per word, so that sentences of any length fit a terminal.

    An arrowhead stands beside the corner of the arc that ends at its word; the root has a dot.

    Args:
        words: of the sentence.
        heads: 1-based, 0 for a root.
        notes: shown in a column after the words, e.g. parts of speech.

    Returns:
        Lines joined by line ends.

    Raises:
        ValueError: the lengths differ, or a head is out of range.

    Example:
        >>> print(arcs_text(["我", "喜欢", "读", "书"], [2, 0, 2, 3]))
          ┌► 我
          ├● 喜欢
        ┌─┴► 读
        └►── 书
    """
    _check(words, heads, None)
    if notes is not None and len(notes) != len(words):
        raise ValueError(f"notes has {len(notes)} items for {len(words)} words; give one per word")
    levels = arc_levels(heads)
    depth = max(levels.values(), default=0)
    grid = [[0] * (2 * depth + 1) for _ in words]
    arrows = {}
    for unit, level in levels.items():
        head, column = heads[unit - 1], 2 * (depth - level)
        top, bottom = sorted((unit - 1, head - 1))
        grid[top][column] |= _DOWN
        grid[bottom][column] |= _UP
        for row in range(top + 1, bottom):
            grid[row][column] |= _UP | _DOWN
        for row in (top, bottom):
            grid[row][column] |= _RIGHT_SIDE
            for place in range(column + 1, 2 * depth + 1):
                grid[row][place] |= _LEFT | _RIGHT_SIDE
        arrows[unit - 1] = column + 1

    widest = max((cell_len(on_one_line(word)) for word in words), default=0)
    lines = []
    for row, word in enumerate(words):
        cells = [_BOXES[cell] for cell in grid[row][:-1]]
        if heads[row] == 0:
            cells[-1:] = ["●"] if cells else []
        elif row in arrows:
            cells[arrows[row]] = "►"
        shown = on_one_line(word)
        note = "" if notes is None else " " * (widest - cell_len(shown)) + f"  {on_one_line(notes[row])}"
        lines.append(f"{''.join(cells) or '●'} {shown}{note}".rstrip())
    return "\n".join(lines)


def arc_levels(heads: Sequence[int]) -> dict[int, int]:
    """How high each arc is drawn, so that none runs over another: shorter ones below longer ones.

    Args:
        heads: 1-based, 0 for a root.

    Returns:
        Dependent to level, from 1; roots have none. Arcs that only share an end at the head of both may be level.

    Example:
        >>> arc_levels([2, 0, 2, 3])
        {1: 1, 3: 1, 4: 2}
    """
    arcs = sorted((abs(unit - head), unit, head) for unit, head in enumerate(heads, start=1) if head)
    placed: list[tuple[int, int, int, int]] = []
    for _, unit, head in arcs:
        low, high = min(unit, head), max(unit, head)
        taken = {
            level
            for level, other_low, other_high, other_head in placed
            if low <= other_high and other_low <= high and not _meet_at_head(head, low, high, other_low, other_head)
        }
        placed.append((max(taken, default=0) + 1, low, high, head))
    return dict(sorted((unit, level) for (_, unit, _), (level, *_) in zip(arcs, placed, strict=True)))


def _meet_at_head(head: int, low: int, high: int, other_low: int, other_head: int) -> bool:
    """Whether two arcs of the same head leave it on different sides."""
    return head == other_head and (head == low) != (other_head == other_low)


def _check(words: Sequence[str], heads: Sequence[int], gold: Sequence[int] | None) -> None:
    for name, values in (("heads", heads), ("gold", gold)):
        if values is not None and (len(values) != len(words) or not all(0 <= head <= len(words) for head in values)):
            raise ValueError(f"{name} {list(values)} do not fit {len(words)} words; give 0 to {len(words)} for each")
