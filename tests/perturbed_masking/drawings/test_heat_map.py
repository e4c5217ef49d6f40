"""Influence matrices as heat maps."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from nlpkit.perturbed_masking.drawings.heat_map import heat_map_svg, save_heat_map_png

SVG = "{http://www.w3.org/2000/svg}"
INFLUENCE = [[9.0, 1.0, 4.0], [2.0, 9.0, 0.0], [3.0, 0.5, 9.0]]


def brightness(cell: ElementTree.Element) -> int:
    colour = str(cell.get("fill"))
    return sum(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def test_greater_influence_is_darker_and_the_diagonal_is_out_of_it() -> None:
    root = ElementTree.fromstring(heat_map_svg(INFLUENCE, ["我", "<b>", "书"]))
    cells = [cell for cell in root.iter(f"{SVG}rect") if cell.find(f"{SVG}title") is not None]
    titles = [str(cell.find(f"{SVG}title").text) for cell in cells]  # type: ignore[union-attr]
    assert titles == ["<b> → 我: 1", "书 → 我: 4", "我 → <b>: 2", "书 → <b>: 0", "我 → 书: 3", "<b> → 书: 0.5"]
    by_value = sorted(cells, key=lambda cell: float(titles[cells.index(cell)].split(": ")[1]))
    order = [brightness(cell) for cell in by_value]
    assert order == sorted(order, reverse=True) and len(set(order)) == 6
    assert order[0] == 3 * 255 and order[-1] == 8 + 48 + 107  # the ends of the ramp
    assert [text.text for text in root.iter(f"{SVG}text")].count("书") == 2


def test_rows_and_columns_stand_where_the_matrix_has_them() -> None:
    root = ElementTree.fromstring(heat_map_svg(INFLUENCE, ["a", "b", "c"]))
    cells = {
        str(cell.find(f"{SVG}title").text)[:5]: (float(str(cell.get("y"))), float(str(cell.get("x"))))  # type: ignore[union-attr]
        for cell in root.iter(f"{SVG}rect")
        if cell.find(f"{SVG}title") is not None
    }
    assert cells["b → a"] < cells["c → a"] < cells["a → b"]
    assert cells["b → a"][1] == cells["b → c"][1]


@pytest.mark.parametrize("influence", [[[0.0]], np.zeros((2, 2)), -np.ones((2, 2))])
def test_matrices_without_contrast(influence: object) -> None:
    words = ["a", "b"][: len(influence)]  # type: ignore[arg-type]
    ElementTree.fromstring(heat_map_svg(influence, words))  # type: ignore[arg-type]


def test_png(tmp_path: Path) -> None:
    save_heat_map_png(INFLUENCE, ["a", "$b$", "é"], tmp_path / "new" / "map.png", dpi=100)
    data = (tmp_path / "new" / "map.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and 100 < width < 1000 and 100 < height < 1000


def test_png_refuses_characters_no_font_has(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no installed font has '𒀀'; install one"):
        save_heat_map_png([[0.0]], ["𒀀"], tmp_path / "map.png")
    assert list(tmp_path.iterdir()) == []


def test_png_names_the_extra_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[viz\]' in a clone"):
        save_heat_map_png([[0.0]], ["a"], tmp_path / "map.png")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 words for an influence matrix of shape \(3, 3\)"):
        heat_map_svg(INFLUENCE, ["a", "b"])
    with pytest.raises(ValueError, match="0 words"):
        heat_map_svg([], [])
