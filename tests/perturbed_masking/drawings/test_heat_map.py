"""Impact matrices as heat maps."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from nlpkit.perturbed_masking.drawings.heat_map import save_heat_map

pytest.importorskip("matplotlib")

SVG = "{http://www.w3.org/2000/svg}"
IMPACT = [[9.0, 1.0, 4.0], [2.0, 9.0, 0.0], [3.0, 0.5, 9.0]]


def cells(path: Path) -> list[tuple[float, float, str]]:
    """From top to bottom and from left to right, the place of each cell but the diagonal's, and its colour."""
    mesh = next(group for group in ElementTree.parse(path).iter(f"{SVG}g") if "QuadMesh" in str(group.get("id")))
    found = []
    for shape in mesh.iter(f"{SVG}path"):
        colour = re.search(r"fill: (#[0-9a-f]{6})", str(shape.get("style")))
        x, y = map(float, str(shape.get("d")).split()[1:3])
        if colour is not None:
            found.append((round(y, 2), round(x, 2), colour[1]))
    return sorted(found)


def brightness(colour: str) -> int:
    return sum(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def test_cells_stand_where_the_matrix_has_them_and_greater_impact_is_darker(tmp_path: Path) -> None:
    save_heat_map(IMPACT, ["我", "<b>", "书"], tmp_path / "a.svg")
    found = cells(tmp_path / "a.svg")
    values = [IMPACT[row][column] for row in range(3) for column in range(3) if row != column]
    assert len(found) == len(values)  # the diagonal has no colour of its own
    order = [brightness(colour) for _, (*_, colour) in sorted(zip(values, found, strict=True))]
    assert order == sorted(order, reverse=True) and len(set(order)) == 6
    texts = [str(text.text) for text in ElementTree.parse(tmp_path / "a.svg").iter(f"{SVG}text")]
    assert [texts.count(word) for word in ("我", "<b>", "书")] == [2, 2, 2]


@pytest.mark.parametrize("impact", [[[0.0]], np.zeros((2, 2)), -np.ones((2, 2))])
def test_matrices_without_contrast(impact: list[list[float]], tmp_path: Path) -> None:
    save_heat_map(impact, ["a", "b"][: len(impact)], tmp_path / "a.svg")
    ElementTree.parse(tmp_path / "a.svg")


def test_png(tmp_path: Path) -> None:
    save_heat_map(IMPACT, ["a", "$b$", "é"], tmp_path / "new" / "map.png", dpi=100)
    data = (tmp_path / "new" / "map.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and 100 < width < 1000 and 100 < height < 1000


def test_png_refuses_characters_no_font_has(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no installed font has '𒀀'; install one"):
        save_heat_map([[0.0]], ["𒀀"], tmp_path / "map.png")
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"2 words for an impact matrix of shape \(3, 3\)"):
        save_heat_map(IMPACT, ["a", "b"], tmp_path / "a.svg")
    with pytest.raises(ValueError, match="0 words"):
        save_heat_map([], [], tmp_path / "a.svg")
    assert list(tmp_path.iterdir()) == []
