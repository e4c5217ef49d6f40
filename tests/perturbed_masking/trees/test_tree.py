"""The constituency tree."""

from __future__ import annotations

import pytest

from nlpkit.perturbed_masking.trees.tree import Tree


def test_subtrees_come_parents_first_from_left_to_right() -> None:
    tree = Tree.by_splitting(4, lambda start, end: (start + end) // 2)
    ranges = [(subtree.start, subtree.end) for subtree in tree.subtrees()]
    assert ranges == [(0, 4), (0, 2), (0, 1), (1, 2), (2, 4), (2, 3), (3, 4)]


def test_the_whole_is_trivial_even_under_another_of_its_range() -> None:
    inner = Tree(0, 2, (Tree.leaf(0), Tree.leaf(1)), "VP")
    assert Tree(0, 2, (inner,), "S").spans() == set()
    assert Tree(0, 2, (inner,), "S").spans(trivial=True) == {(0, 2)}


def test_brackets_keep_round_brackets_of_words_apart() -> None:
    assert Tree(0, 2, (Tree.leaf(0), Tree.leaf(1))).brackets(["(", "x)"]) == "(X (X -LRB-) (X x-RRB-))"
    assert Tree.leaf(1).brackets(["a", "b"]) == "(X b)"
    assert Tree.leaf(1, "(").brackets(["a", "b c"]) == "(-LRB- b␣c)"


def test_one_unit_is_split_no_further_and_none_is_refused() -> None:
    assert Tree.by_splitting(1, lambda start, end: start) == Tree.leaf(0)
    for length in (0, -1):
        with pytest.raises(ValueError, match=f"length is {length}; a tree needs at least one unit"):
            Tree.by_splitting(length, lambda start, end: start)


def test_bad_trees_are_refused() -> None:
    with pytest.raises(ValueError, match="a tree from 2 to 2 holds no unit"):
        Tree(2, 2)
    with pytest.raises(ValueError, match="a tree from 0 to 2 has no children"):
        Tree(0, 2)
    for children in ((Tree.leaf(0),), (Tree.leaf(1), Tree.leaf(0)), (Tree.leaf(0), Tree.leaf(2))):
        with pytest.raises(ValueError, match=r"do not fill the range \(0, 2\)"):
            Tree(0, 2, children)
    with pytest.raises(ValueError, match=r"split\(0, 3\) gave 3; it must lie between them"):
        Tree.by_splitting(3, lambda start, end: end)
    pair = Tree(0, 2, (Tree.leaf(0), Tree.leaf(1)))
    for write in (pair.brackets, pair.outline):
        with pytest.raises(ValueError, match="words has 1 items, but the tree reaches unit 2"):
            write(["one"])
    with pytest.raises(ValueError, match="tags has 1 items, but the tree reaches unit 2"):
        pair.brackets(["one", "two"], ["CD"])


def test_an_empty_word_cannot_stand_in_brackets() -> None:
    tree = Tree.by_splitting(3, lambda start, end: start + 1)
    with pytest.raises(ValueError, match=r"word 2 of \['a', '', 'b'\] is empty; leave it out"):
        tree.brackets(["a", "", "b"])
