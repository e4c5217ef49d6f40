"""Influence matrices as heat maps: SVG without further packages, PNG with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nlpkit.extras import install_hint
from nlpkit.files import whole_folder
from nlpkit.perturbed_masking.drawings.svg import FONT_FAMILIES, document, escape_text, text_element, text_width
from nlpkit.perturbed_masking.trees.influence import as_influence

_CELL, _SIZE, _MARGIN = 26.0, 14.0, 16.0
_RAMP = np.array([(255, 255, 255), (168, 206, 228), (51, 132, 187), (8, 48, 107)], dtype=np.float64)
_DIAGONAL = "#eeeeee"
_ROWS, _COLUMNS = "predicted", "masked beside it"


def heat_map_svg(influence: ArrayLike, words: Sequence[str]) -> str:
    """Draw an influence matrix: the darker a cell, the more its column's unit sways its row's.

    Args:
        influence: ``influence[i, j]`` of ``j`` on ``i``, shape ``(n, n)``; the diagonal is left grey.
        words: the units' names, one each.

    Returns:
        The text of an SVG file; where the pointer rests, viewers show the cell's words and number.

    Raises:
        ValueError: the matrix is not square or not finite, or the words do not fit it.

    Example:
        >>> heat_map_svg([[0.0, 1.0], [2.0, 0.0]], ["我", "来"]).count("<title>")
        3
    """
    scores = _checked(influence, words)
    length = len(words)
    colours, low, high = _colours(scores)
    longest = max((text_width(word, _SIZE) for word in words), default=0.0)
    left = _MARGIN + _SIZE * 1.5 + longest + 8
    top = _MARGIN + _SIZE * 1.5 + longest * cos(pi / 4) + 12
    elements = []
    for row in range(length):
        y = top + row * _CELL
        elements.append(text_element(words[row], left - 8, y + _CELL / 2 + _SIZE * 0.35, anchor="end"))
        x = left + row * _CELL + _CELL / 2
        turned = f'transform="rotate(-45 {x:.1f} {top - 8:.1f})"'
        elements.append(text_element(words[row], x, top - 8, anchor="start", extra=turned))
        for column in range(length):
            place = f'x="{left + column * _CELL:.1f}" y="{y:.1f}" width="{_CELL:g}" height="{_CELL:g}"'
            if row == column:
                elements.append(f'<rect {place} fill="{_DIAGONAL}"/>')
                continue
            title = escape_text(f"{words[column]} → {words[row]}: {scores[row, column]:.4g}")
            elements.append(f'<rect {place} fill="{colours[row][column]}"><title>{title}</title></rect>')

    bottom = top + length * _CELL
    middle = (top + bottom) / 2
    turned = f'transform="rotate(-90 {_MARGIN + _SIZE / 2:.1f} {middle:.1f})" fill="#666666"'
    elements.append(text_element(_ROWS, _MARGIN + _SIZE / 2, middle, extra=turned))
    elements.append(text_element(_COLUMNS, left, _MARGIN + _SIZE / 2, anchor="start", extra='fill="#666666"'))
    ramp = [_hex(colour) for colour in _RAMP]
    for step, colour in enumerate(ramp if length > 1 else []):
        elements.append(
            f'<rect x="{left + step * _CELL:.1f}" y="{bottom + 14:.1f}" width="{_CELL:g}" height="8" fill="{colour}" '
            'stroke="#cccccc"/>'
        )
    if length > 1:
        after = left + len(ramp) * _CELL + 6
        elements.append(text_element(f"{low:.3g} – {high:.3g}", after, bottom + 23, anchor="start"))
    width = max(left + length * _CELL + longest * cos(pi / 4), left + 4 * _CELL + 110) + _MARGIN
    return document(width, bottom + 30 + _MARGIN, elements, title=" ".join(words), size=_SIZE)


def save_heat_map_png(influence: ArrayLike, words: Sequence[str], destination: str | Path, *, dpi: int = 150) -> None:
    """Draw an influence matrix into a PNG file; the file appears when it is whole.

    Args:
        influence: as for ``heat_map_svg``.
        words: the units' names, one each.
        destination: file to write or replace.
        dpi: pixels an inch; a cell is a quarter of an inch.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the matrix or the words do not fit, or no installed font has the words' characters (the pictures
            of other libraries then show boxes).

    Note:
        Chinese needs a font on this machine, unlike in SVG, where the reader's is used.
    """
    scores = _checked(influence, words)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"PNG heat maps need matplotlib (SVG needs nothing); {install_hint('viz')}") from error
    families = _installed_families("".join(words))
    side = max(len(words) * 0.25, 1.0)
    longest = max((text_width(word, 10.0) for word in words), default=0.0) / 72
    figure = Figure(figsize=(side + longest + 1.2, side + longest + 0.8), dpi=dpi, layout="tight")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    shown = np.ma.masked_array(scores, mask=np.eye(len(scores), dtype=bool))
    image = axes.imshow(shown, cmap="Blues")
    axes.set_facecolor(_DIAGONAL)
    places = range(len(words))
    # Words are never markup: a dollar sign would start a formula.
    names = [word.replace("$", r"\$") for word in words]
    axes.set_xticks(places, names, rotation=45, ha="left", rotation_mode="anchor", fontfamily=families)
    axes.set_yticks(places, names, fontfamily=families)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0)
    axes.set_xlabel(_COLUMNS)
    axes.set_ylabel(_ROWS)
    if len(words) > 1:
        figure.colorbar(image, shrink=0.6)
    destination = Path(destination)
    with whole_folder(destination.parent) as draft:
        figure.savefig(draft / destination.name, format="png")


def _installed_families(characters: str) -> list[str]:
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    families = [name for name in FONT_FAMILIES if name in installed] + ["DejaVu Sans"]
    fonts: list[Any] = [font_manager.get_font(font_manager.findfont(name)) for name in families]
    drawn = {character for character in characters if character.isprintable()}
    missing = sorted(c for c in drawn if not any(font.get_char_index(ord(c)) for font in fonts))
    if missing:
        raise ValueError(
            f"no installed font has {''.join(missing[:10])!r}; install one (on Debian fonts-noto-cjk), or draw SVG"
        )
    return families


def _checked(influence: ArrayLike, words: Sequence[str]) -> NDArray[np.float64]:
    scores = as_influence(influence)
    if len(scores) == 0 or len(words) != len(scores):
        raise ValueError(
            f"{len(words)} words for an influence matrix of shape {scores.shape}; give one a row, 1 or more"
        )
    return scores


def _colours(scores: NDArray[np.float64]) -> tuple[list[list[str]], float, float]:
    """The colour of each cell, and the numbers that the ends of the ramp stand for: 0 or less, and the greatest."""
    others = scores[~np.eye(len(scores), dtype=bool)]
    low, high = (min(float(others.min()), 0.0), float(others.max())) if len(others) else (0.0, 0.0)
    places = np.clip((scores - low) / ((high - low) or 1.0), 0.0, 1.0) * (len(_RAMP) - 1)
    below = np.minimum(places.astype(int), len(_RAMP) - 2)
    weight = (places - below)[..., None]
    mixed = _RAMP[below] * (1 - weight) + _RAMP[below + 1] * weight
    return [[_hex(colour) for colour in row] for row in mixed], low, high


def _hex(colour: NDArray[np.float64]) -> str:
    red, green, blue = (round(float(part)) for part in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"
