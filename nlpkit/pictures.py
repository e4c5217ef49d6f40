"""Pictures by matplotlib: files that appear whole, in fonts that have every character."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category

from nlpkit.extras import install_hint
from nlpkit.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMATS = (".png", ".svg", ".pdf")

#: Fonts that hold Chinese, one or two for each of the systems in use. A reader of an SVG has one of them.
CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "SimHei",
)


@contextmanager
def picture(path: str | Path, texts: Iterable[str], *, dpi: int = 150) -> Iterator[Figure]:
    """A matplotlib figure that is written when the block ends without an error; the same figure gives the same file.

    Args:
        path: the file to write or replace: ``.png``, ``.svg`` or ``.pdf``. In SVG, texts stay text, drawn with the
            viewer's fonts.
        texts: what will be written in it, for which fonts are looked for unless it is SVG.
        dpi: pixels per inch.

    Yields:
        An empty figure with constrained layout.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: the kind of picture is unknown, or no installed font has a character.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with picture(Path(folder, "one.svg"), ["天"]) as figure:
        ...         _ = figure.text(0.5, 0.5, "天")
        ...     "天" in Path(folder, "one.svg").read_text("utf-8")
        True
    """
    path = Path(path)
    check_picture(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    fonts = ["DejaVu Sans", *CHINESE_FONTS] if path.suffix == ".svg" else fonts_for(texts)
    settings: dict[Any, Any] = {
        "font.family": [*fonts, "sans-serif"],
        "svg.fonttype": "none",
        "svg.hashsalt": path.name,
    }
    with rc_context(settings), _fonts_may_be_missing():
        figure = Figure(layout="constrained", dpi=dpi)
        yield figure
        with whole_file(path) as draft:
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(draft, metadata=metadata)


def check_picture(path: Path) -> None:
    """See that a picture can be drawn, before the work that it is to show.

    Args:
        path: the file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: the kind of picture is unknown.
    """
    if path.suffix not in _FORMATS:
        raise ValueError(f"{path} must end in one of {', '.join(_FORMATS)}")
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"pictures need matplotlib; {install_hint('viz')}", name="matplotlib") from error


def fonts_for(texts: Iterable[str]) -> list[str]:
    """Families of installed fonts that together have every character of some texts.

    Args:
        texts: what is to be drawn.

    Returns:
        Family names for matplotlib, its default first, then those of ``CHINESE_FONTS``, then any others that are
        needed.

    Raises:
        ValueError: a character is in no installed font.

    Note:
        Opens font files until the characters are found; with Latin text only, just the default one.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    drawn = {character for text in texts for character in text if not character.isspace()}
    missing = {ord(character) for character in drawn if category(character) not in ("Cc", "Cf")}
    default = font_manager.fontManager.findfont(font_manager.FontProperties())
    known = {entry.fname: entry.name for entry in font_manager.fontManager.ttflist if entry.fname != default}
    families: list[str] = []
    for file in (default, *sorted(known, key=lambda file: (known[file] not in CHINESE_FONTS, file))):
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
        f"no installed font has {characters!r}; install one that does, e.g. Noto Sans CJK for Chinese (on Debian "
        "fonts-noto-cjk), or write SVG"
    )


@contextmanager
def _fonts_may_be_missing() -> Iterator[None]:
    """Without matplotlib's warnings of fonts that the reader of an SVG may have, and this machine has not."""
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            yield
    finally:
        log.setLevel(before)
