"""Dependency trees as arcs."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from rich.cells import cell_len

from nlpkit.perturbed_masking.drawings.arcs import arc_levels, arcs_svg, arcs_text
from nlpkit.perturbed_masking.trees.dependencies import edmonds, eisner

SVG = "{http://www.w3.org/2000/svg}"


def read_arcs(drawing: str) -> list[int]:
    """The heads in a drawing of a tree without crossing arcs: from each arrowhead along its line to the other end."""
    rows = drawing.split("\n")
    heads = []
    for row, line in enumerate(rows):
        if "►" not in line:
            assert "●" in line
            heads.append(0)
            continue
        column = line.index("►") - 1
        step = 1 if line[column] in "┌┬" else -1
        other = row + step
        while rows[other][column] == "│":
            other += step
        heads.append(other + 1)
    return heads


@pytest.mark.parametrize("length", [1, 2, 5, 9, 17])
def test_a_tree_can_be_read_back_from_its_drawing(length: int) -> None:
    generator = np.random.default_rng(length)
    for _ in range(40):
        heads = eisner(generator.random((length, length)))
        drawing = arcs_text(["词"] * length, heads)
        assert read_arcs(drawing) == heads
        assert all(line.endswith(" 词") for line in drawing.split("\n"))


@pytest.mark.parametrize("apart", [False, True])
def test_no_two_arcs_of_a_level_run_over_each_other(apart: bool) -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        heads = edmonds(generator.random((12, 12)))
        levels = arc_levels(heads, apart=apart)
        arcs = [(level, *sorted((unit, heads[unit - 1])), heads[unit - 1]) for unit, level in levels.items()]
        for place, (level, low, high, head) in enumerate(arcs):
            for other_level, other_low, other_high, other_head in arcs[:place]:
                shared = min(high, other_high) - max(low, other_low)
                may_touch = not apart or head == other_head
                assert level != other_level or shared < 0 or (shared == 0 and may_touch)


def read_paths(drawing: str) -> list[list[float]]:
    """Of each arc of a picture: where it begins, where it ends, its top, and the ground."""
    arcs = []
    for path in ElementTree.fromstring(drawing.encode()).iter(f"{SVG}path"):
        numbers = [float(part) for part in str(path.get("d")).split() if part not in "MVHQ" and part not in "lhz"]
        if path.get("fill") == "none" and len(numbers) > 3:
            arcs.append([numbers[0], numbers[8], numbers[4], numbers[1]])
    return arcs


def test_a_chain_is_level_and_as_low_as_one_arc() -> None:
    words = ["word"] * 60
    assert set(arc_levels([*range(2, 61), 0]).values()) == {1}
    for heads in ([*range(2, 61), 0], [*range(60)]):
        root = ElementTree.fromstring(arcs_svg(words, heads))
        assert root.get("height") == "109"
    terminal = arcs_text(words, [*range(2, 61), 0]).split("\n")
    assert max(line.index(" ") for line in terminal) <= 5


@pytest.mark.parametrize("length", [2, 5, 12, 30])
def test_trees_without_crossing_arcs_are_drawn_without_crossing_lines(length: int) -> None:
    generator = np.random.default_rng(length)
    for _ in range(20):
        heads = eisner(generator.random((length, length)))
        arcs = read_paths(arcs_svg(["字"] * length, heads))
        assert len(arcs) == length - 1
        for start, end, top, _ in arcs:
            poles = [(x, other) for one, two, other, _ in arcs for x in (one, two)]
            # A pole that rises through this arc's bar would cross it; y counts from the top.
            assert not any(min(start, end) < x < max(start, end) and other < top for x, other in poles)


def test_labels_have_room_and_parts_of_speech_stand_below() -> None:
    words, labels = ["我", "读", "书"], ["a-long-relation", "root", "an-even-longer-relation"]
    picture = ElementTree.fromstring(arcs_svg(words, [2, 0, 2], labels=labels, tags=["PRON", "VERB", ""]))
    texts = {str(text.text): text for text in picture.iter(f"{SVG}text")}
    assert list(texts) == ["a-long-relation", "an-even-longer-relation", "我", "PRON", "读", "VERB", "书"]
    for label, left, right in ((labels[0], "我", "读"), (labels[2], "读", "书")):
        room = float(str(texts[right].get("x"))) - float(str(texts[left].get("x")))
        assert room > 0.6 * 0.7 * 16 * len(label)
    assert float(str(texts["PRON"].get("y"))) > float(str(texts["我"].get("y")))
    assert texts["我"].get("data-unit") == "0"
    with pytest.raises(ValueError, match="labels has 1 items for 2 words; give one per word"):
        arcs_svg(["a", "b"], [0, 1], labels=["x"])


def test_notes_line_up_behind_wide_characters() -> None:
    lines = arcs_text(["我", "cafe\u0301", "计算机"], [2, 0, 2], notes=["PRON", "X", "NOUN"]).split("\n")
    ends = {cell_len(line[: line.index(note)]) for line, note in zip(lines, ["PRON", "X", "NOUN"], strict=True)}
    assert len(ends) == 1
    assert arcs_text(["a\tb\n"], [0]) == "● a�b�"


def test_the_picture_holds_an_arrow_a_word_and_the_words_themselves() -> None:
    words = ["我", "<读>", "R&D\x00"]
    root = ElementTree.fromstring(arcs_svg(words, [2, 0, 2], gold=[2, 0, 1]).encode())
    assert [text.text for text in root.iter(f"{SVG}text")] == ["我", "<读>", "R&D�"]
    lines = [path for path in root.iter(f"{SVG}path") if path.get("fill") == "none"]
    colours = [line.get("stroke") for line in lines]
    assert len(lines) == 3 and colours[0] == colours[1] != colours[2]
    assert "Noto Sans CJK SC" in str(root.get("font-family")) and str(root.get("font-family")).endswith("sans-serif")


def test_words_in_the_picture_do_not_overlap_and_stay_inside() -> None:
    words = ["我", "非常非常长的词", "a", "averylongword", "。"]
    root = ElementTree.fromstring(arcs_svg(words, [2, 0, 2, 3, 2]))
    size = float(str(root.get("font-size")))
    right = 0.0
    for word, text in zip(words, root.iter(f"{SVG}text"), strict=True):
        width = sum(size if ord(character) > 0x2E80 else 0.6 * size for character in word)
        assert float(str(text.get("x"))) - width / 2 > right
        right = float(str(text.get("x"))) + width / 2
    assert right < float(str(root.get("width")))


def test_no_words() -> None:
    assert arcs_text([], []) == ""
    ElementTree.fromstring(arcs_svg([], []))


def test_what_does_not_fit_is_refused() -> None:
    for draw in (arcs_svg, arcs_text):
        with pytest.raises(ValueError, match=r"heads \[2, 1, 0\] form a cycle of the words \[1, 2\]; give a tree"):
            draw(["a", "b", "c"], [2, 1, 0])
    with pytest.raises(ValueError, match=r"gold \[1, 0\] form a cycle of the words \[1\]; give a tree"):
        arcs_svg(["a", "b"], [0, 1], gold=[1, 0])
    with pytest.raises(ValueError, match=r"heads \[0, 3\] do not fit 2 words; give 0 to 2"):
        arcs_text(["a", "b"], [0, 3])
    with pytest.raises(ValueError, match=r"gold \[0\] do not fit 2 words"):
        arcs_svg(["a", "b"], [0, 1], gold=[0])
    with pytest.raises(ValueError, match="notes has 1 items for 2 words"):
        arcs_text(["a", "b"], [0, 1], notes=["x"])
