"""Scores as a picture: a panel per task, a box per method."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nlpkit.extras import install_hint
from nlpkit.fewshot.grid.results import RunResult
from nlpkit.fewshot.report.tables import TITLES, cells_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMATS = (".png", ".svg", ".pdf")
#: A dot for each split lies over its box, spread by this much to either side.
_SPREAD = 0.12


def plot_scores(results: Sequence[RunResult], path: str | Path, part: str = "test") -> Path:
    """Draw a box over the splits for every method, in one panel per task, and a dot for every split.

    Args:
        results: one per run; tasks without any score of that part get no panel.
        path: the picture to write: ``.png``, ``.svg`` or ``.pdf``. In SVG, names stay text, which is drawn with the
            fonts of whoever looks at it.
        part: ``"test"``, ``"other_dev"`` or ``"dev"``.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: nothing has a score, the kind of picture is unknown, or, unless it is SVG, no installed font has
            the characters of a name; Chinese names need a Chinese font, e.g. Noto Sans CJK.
    """
    path = Path(path)
    if path.suffix not in _FORMATS:
        raise ValueError(f"{path} must end in one of {', '.join(_FORMATS)}")
    scores = {place: list(cell.split_scores.values()) for place, cell in cells_of(results, part).items()}
    scores = {place: values for place, values in scores.items() if values}
    if not scores:
        raise ValueError(f"none of {len(results)} results has a score on {part}")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"plots need matplotlib; {install_hint('viz')}") from error

    names = [name for place in scores for name in place] if path.suffix != ".svg" else []
    fonts = [*fonts_for(names), "sans-serif"]
    with rc_context({"font.family": fonts, "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(layout="constrained")
        _draw(figure, scores, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.tmp")
        figure.savefig(draft, format=path.suffix.removeprefix("."), dpi=150)
        draft.replace(path)
    return path


def fonts_for(texts: Iterable[str]) -> list[str]:
    """Families of installed fonts that together have every character of some texts.

    Args:
        texts: what is to be drawn.

    Returns:
        Family names for matplotlib, its default first.

    Raises:
        ValueError: a character is in no installed font.

    Note:
        Opens font files until the characters are found; with Latin text only, just the default one.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    missing = {ord(character) for text in texts for character in text if not character.isspace()}
    default = font_manager.fontManager.findfont(font_manager.FontProperties())
    families: list[str] = []
    others = sorted({entry.fname for entry in font_manager.fontManager.ttflist} - {str(default)})
    for file in (default, *others):
        font = FT2Font(str(file))
        # matplotlib brings a font that claims every character and draws boxes.
        found = set() if font.family_name.startswith("Last Resort") else missing & set(font.get_charmap())
        if found or not families:
            families.append(font.family_name)
            missing -= found
        if not missing:
            return families
    characters = "".join(map(chr, sorted(missing)))
    raise ValueError(
        f"no installed font has {characters!r}; install one that does, e.g. Noto Sans CJK for Chinese, or write SVG"
    )


def _draw(figure: Figure, scores: dict[tuple[str, str], list[float]], part: str) -> None:
    tasks = list(dict.fromkeys(task for _, task in scores))
    methods = list(dict.fromkeys(method for method, _ in scores))
    columns = min(3, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure.set_size_inches(1.2 + columns * (1.2 + 0.45 * len(methods)), 0.6 + 2.6 * rows)
    for number, task in enumerate(tasks):
        axes = figure.add_subplot(rows, columns, number + 1)
        for place, method in enumerate(methods):
            values = [100 * value for value in scores.get((method, task), [])]
            if not values:
                continue
            colour = f"C{place % 10}"
            box = axes.boxplot([values], positions=[place], widths=0.6, patch_artist=True, showfliers=False)
            box["boxes"][0].set(facecolor=colour, alpha=0.35)
            box["medians"][0].set(color=colour, linewidth=2)
            middle = (len(values) - 1) / 2
            spread = [place + _SPREAD * (index - middle) / max(middle, 1) for index in range(len(values))]
            axes.plot(spread, values, "o", color=colour, markersize=3)
        axes.set_title(task, fontsize=10)
        axes.set_xlim(-0.6, len(methods) - 0.4)
        axes.set_xticks(range(len(methods)), methods, rotation=40, ha="right", fontsize=8)
        axes.tick_params(axis="y", labelsize=8)
        axes.grid(axis="y", alpha=0.3)
    figure.supylabel(f"score on {TITLES[part]}, %", fontsize=10)
