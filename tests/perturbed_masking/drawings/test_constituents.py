"""Constituency trees as drawings."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from rich.cells import cell_len

from nlpkit.perturbed_masking.drawings.constituents import constituents_svg, constituents_text
from nlpkit.perturbed_masking.treebanks.brackets import read_brackets
from nlpkit.perturbed_masking.trees.constituents import random_branching, right_branching
from nlpkit.perturbed_masking.trees.tree import Tree

SVG = "{http://www.w3.org/2000/svg}"


def read_drawing(drawing: str) -> set[tuple[int, int]]:
    """The spans in a drawing without labels: a constituent begins at a ┬ and ends above the next └ of its column."""
    lines = drawing.split("\n")
    rows = [line.ljust(max(map(len, lines)), ".") for line in lines]
    spans = set()
    for row, line in enumerate(rows):
        for column, character in enumerate(line):
            if character != "┬":
                continue
            last = next(place for place in range(row + 1, len(rows)) if rows[place][column] == "└")
            end = last + 1
            while end < len(rows) and rows[end][column] == " " and not {"├", "└"} & set(rows[end][:column]):
                end += 1
            spans.add((row, end))
    return spans


@pytest.mark.parametrize("seed", range(30))
def test_a_tree_can_be_read_back_from_its_drawing(seed: int) -> None:
    tree = random_branching(2 + seed % 12, seed)
    assert read_drawing(constituents_text(tree, ["字"] * tree.end)) == tree.spans(trivial=True)


def test_labels_and_flat_constituents() -> None:
    (sentence,) = read_brackets(["(句 (NP (PN 我)) (VP (V 读) (CC 和) (V 写)))"])
    assert constituents_text(sentence.tree, sentence.words).split("\n") == [
        "句 ┬─ PN 我",
        "   └─ VP ┬─ V 读",
        "         ├─ CC 和",
        "         └─ V 写",
    ]
    assert constituents_text(Tree.leaf(0), ["我"]) == "我"
    assert constituents_text(Tree.leaf(0, "PN"), ["我\n"]) == "PN 我�"
    lines = constituents_text(sentence.tree, sentence.words).split("\n")
    assert cell_len(lines[0][: lines[0].index("┬")]) == cell_len(lines[1][: lines[1].index("└")])


def test_elbows_of_the_picture_never_cross() -> None:
    for seed in range(20):
        tree = random_branching(9, seed)
        root = ElementTree.fromstring(constituents_svg(tree, "天地玄黄宇宙洪荒日"))
        bars, poles = [], []
        for path in root.iter(f"{SVG}path"):
            _, x, y, _, x2, _, y2 = str(path.get("d")).split()
            bars.append((float(y), *sorted((float(x), float(x2)))))
            poles.append((float(x2), float(y), float(y2)))
        assert len(bars) == 16
        for y, left, right in bars:
            assert not any(left < x < right and top < y < bottom for x, top, bottom in poles)
        assert [text.text for text in root.iter(f"{SVG}text")] == list("天地玄黄宇宙洪荒日")[::-1]


def test_deep_trees_do_not_exhaust_the_stack() -> None:
    words = ["字"] * 1500
    assert constituents_text(right_branching(1500), words).count("字") == 1500
    ElementTree.fromstring(constituents_svg(right_branching(1500), words))


def test_missing_words_are_refused() -> None:
    for draw in (constituents_svg, constituents_text):
        with pytest.raises(ValueError, match="words has 2 items, but the tree reaches unit 3"):
            draw(right_branching(3), ["a", "b"])
