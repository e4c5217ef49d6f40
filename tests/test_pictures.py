"""Pictures: whole, the same each time, and with characters that can be read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nlpkit.pictures import fonts_for, picture

pytest.importorskip("matplotlib")


def draw(path: Path, text: str) -> bytes:
    with picture(path, [text]) as figure:
        figure.text(0.5, 0.5, text)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_same_figure_gives_the_same_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"a.{suffix}"
    assert draw(path, "one") == draw(path, "one") != draw(path, "two")
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_figure_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    before = draw(tmp_path / "a.svg", "one")
    with pytest.raises(RuntimeError), picture(tmp_path / "a.svg", []):
        raise RuntimeError
    assert (tmp_path / "a.svg").read_bytes() == before


def test_chinese_stays_text_in_svg_and_names_fonts_that_have_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    drawn = draw(tmp_path / "a.svg", "情感").decode()
    assert ">情感</text>" in drawn and "Noto Sans CJK SC" in drawn
    assert not recwarn.list and not caplog.records


def test_a_missing_matplotlib_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pictures need matplotlib; .*\[viz\]"):
        draw(tmp_path / "a.svg", "one")


def test_other_kinds_of_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.bmp must end in one of \.png, \.svg, \.pdf"):
        draw(tmp_path / "a.bmp", "one")


def test_fonts_have_the_characters_that_the_default_lacks() -> None:
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    default = FT2Font(font_manager.fontManager.findfont(font_manager.FontProperties()))
    assert fonts_for(["pet ± 5 %"]) == [default.family_name]
    charmaps: dict[str, set[int]] = {}
    for entry in font_manager.fontManager.ttflist:
        font = FT2Font(entry.fname)
        charmaps.setdefault(font.family_name, set()).update(font.get_charmap())
    rare = {
        code
        for family, codes in charmaps.items()
        for code in codes
        if not family.startswith("Last Resort") and not chr(code).isspace()
    } - set(default.get_charmap())
    character = chr(max(rare))
    families = fonts_for([f"pet {character}"])
    assert len(families) == 2
    assert ord(character) in charmaps[families[1]]
