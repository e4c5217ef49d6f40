"""Constituency trees: spans of units, nested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nlpkit.perturbed_masking.trees.penn_words import to_penn


@dataclass(frozen=True)
class Tree:
    """A constituent: a half-open range of units and the constituents it is made of.

    A tree holds positions, not words: trees over the same sentence compare, and words are given when it is printed or
    drawn.

    Args:
        start: first unit, from 0.
        end: one past the last.
        children: from left to right, without gaps; none for a single unit.
        label: e.g. ``"NP"``, or a part of speech; empty in trees that were induced.

    Raises:
        ValueError: the range is empty, the children do not fill it, or it has none and is longer than one unit.

    Example:
        >>> tree = Tree(0, 3, (Tree.leaf(0), Tree(1, 3, (Tree.leaf(1), Tree.leaf(2)))))
        >>> tree.outline(["the", "old", "man"])
        '(the (old man))'
    """

    start: int
    end: int
    children: tuple[Tree, ...] = ()
    label: str = ""

    def __post_init__(self) -> None:
        if self.start >= self.end or self.start < 0:
            raise ValueError(f"a tree from {self.start} to {self.end} holds no unit; start below end, from 0")
        borders = [self.start, *(child.end for child in self.children)]
        if self.children:
            if [child.start for child in self.children] != borders[:-1] or borders[-1] != self.end:
                ranges = [(child.start, child.end) for child in self.children]
                raise ValueError(f"children {ranges} do not fill the range ({self.start}, {self.end}) in order")
        elif self.end - self.start > 1:
            raise ValueError(f"a tree from {self.start} to {self.end} has no children; only single units have none")

    @staticmethod
    def leaf(position: int, label: str = "") -> Tree:
        """A single unit.

        Args:
            position: of the unit, from 0.
            label: e.g. its part of speech.

        Returns:
            The tree ``(position, position + 1)``.

        Example:
            >>> Tree.leaf(2)
            Tree(start=2, end=3, children=(), label='')
        """
        return Tree(position, position + 1, (), label)

    @staticmethod
    def by_splitting(length: int, split: Callable[[int, int], int], *, pivot: bool = False) -> Tree:
        """A binary tree, from the top down.

        Args:
            length: number of units, at least 1.
            split: of a range ``(start, end)`` of two units or more: the first unit of its right part.
            pivot: give the first unit of the right part a constituent with all the rest: ``(left, (pivot, rest))``.

        Returns:
            The tree over all units.

        Raises:
            ValueError: ``length`` is below 1, or a split does not lie inside its range.

        Example:
            >>> Tree.by_splitting(4, lambda start, end: (start + end) // 2).outline("abcd")
            '((a b) (c d))'
            >>> Tree.by_splitting(4, lambda start, end: start + 1, pivot=True).outline("abcd")
            '(a (b (c d)))'
        """
        if length < 1:
            raise ValueError(f"length is {length}; a tree needs at least one unit")
        middles: dict[tuple[int, int], int] = {}
        order: list[tuple[int, int]] = []
        waiting = [(0, length)]
        while waiting:
            start, end = waiting.pop()
            order.append((start, end))
            if end - start == 1:
                continue
            middle = split(start, end)
            if not start < middle < end:
                raise ValueError(f"split({start}, {end}) gave {middle}; it must lie between them")
            middles[start, end] = middle
            waiting += [(start, middle), (middle, end)]
            if pivot and end - middle > 1:
                middles[middle, end] = middle + 1
                order.append((middle, end))
                waiting[-1:] = [(middle, middle + 1), (middle + 1, end)]
        return _assemble(order, middles, length)

    def subtrees(self) -> Iterator[Tree]:
        """This tree and all below it, parents before children, from left to right.

        Yields:
            Every constituent, single units included.
        """
        waiting = [self]
        while waiting:
            tree = waiting.pop()
            yield tree
            waiting += reversed(tree.children)

    def spans(self, *, trivial: bool = False) -> set[tuple[int, int]]:
        """The constituents as ranges of units.

        Args:
            trivial: include the whole range, which every tree has; single units never count.

        Returns:
            Pairs ``(start, end)``, half-open, of two units or more.

        Example:
            >>> tree = Tree.by_splitting(3, lambda start, end: start + 1)
            >>> sorted(tree.spans()), sorted(tree.spans(trivial=True))
            ([(1, 3)], [(0, 3), (1, 3)])
        """
        spans = {(tree.start, tree.end) for tree in self.subtrees() if tree.end - tree.start > 1}
        return spans if trivial else spans - {(self.start, self.end)}

    def brackets(self, words: Sequence[str], tags: Sequence[str] | None = None) -> str:
        """The tree on one line, in brackets that NLTK and ``read_brackets`` read back.

        Args:
            words: of the sentence, indexed by the tree's positions; written as ``to_penn`` does.
            tags: parts of speech, for single units without a label.

        Returns:
            ``(NP (DT the) (NN man))``. What has no label is given ``X``, because a reader takes the first word of a
            bracket for its label.

        Raises:
            ValueError: there are fewer words or tags than units, or a word is empty, which no reader reads back.

        Example:
            >>> Tree(0, 2, (Tree.leaf(0, "DT"), Tree.leaf(1, "NN")), "NP").brackets(["the", "man"])
            '(NP (DT the) (NN man))'
            >>> Tree(0, 2, (Tree.leaf(0), Tree.leaf(1))).brackets(["the", "(man)"], ["DT", "NN"])
            '(X (DT the) (NN -LRB-man-RRB-))'
        """
        if tags is not None:
            self._check_words("tags", tags)

        def leaf(tree: Tree) -> str:
            tag = tree.label or ("" if tags is None else tags[tree.start]) or "X"
            word = to_penn(words[tree.start])
            if not word:
                raise ValueError(f"word {tree.start + 1} of {list(words)!r} is empty; leave it out")
            apart = " " if word.endswith("\\") else ""  # NLTK reads a backslash before a bracket as its escape
            return f"({to_penn(tag)} {word}{apart})"

        return self._on_one_line(words, leaf, lambda tree: f"({to_penn(tree.label) or 'X'} ")

    def outline(self, words: Sequence[str]) -> str:
        """The tree on one line for readers, without any label: ``((the old) man)``. No program reads it back.

        Args:
            words: of the sentence, indexed by the tree's positions.

        Raises:
            ValueError: there are fewer words than units.

        Example:
            >>> Tree(0, 2, (Tree.leaf(0, "DT"), Tree.leaf(1, "NN")), "NP").outline(["the", "man"])
            '(the man)'
        """
        return self._on_one_line(words, lambda tree: words[tree.start], lambda tree: "(")

    def _check_words(self, name: str, words: Sequence[str]) -> None:
        if len(words) < self.end:
            raise ValueError(f"{name} has {len(words)} items, but the tree reaches unit {self.end}; give one per unit")

    def _on_one_line(self, words: Sequence[str], leaf: Callable[[Tree], str], opening: Callable[[Tree], str]) -> str:
        self._check_words("words", words)
        line: list[str] = []
        waiting: list[Tree | str] = [self]
        while waiting:
            item = waiting.pop()
            if isinstance(item, str):
                line.append(item)
            elif not item.children:
                line.append(leaf(item))
            else:
                line.append(opening(item))
                spaced = [part for child in item.children for part in (" ", child)][1:]
                waiting += [")", *reversed(spaced)]
        return "".join(line)


def _assemble(order: list[tuple[int, int]], middles: dict[tuple[int, int], int], length: int) -> Tree:
    """The tree of ranges listed parents first and of where each is cut; without recursion, as chains run deep."""
    built: dict[tuple[int, int], Tree] = {}
    for start, end in reversed(order):
        middle = middles.get((start, end))
        if middle is None:
            built[start, end] = Tree.leaf(start)
        else:
            built[start, end] = Tree(start, end, (built.pop((start, middle)), built.pop((middle, end))))
    return built[0, length]
