"""A parsed sentence and the forms it can be written in."""

from __future__ import annotations

import json
from dataclasses import dataclass

from numpy.typing import ArrayLike

from nlpkit.perturbed_masking.drawings.arcs import arcs_svg, arcs_text
from nlpkit.perturbed_masking.drawings.constituents import constituents_svg, constituents_text
from nlpkit.perturbed_masking.treebanks.sentences import Sentence
from nlpkit.perturbed_masking.trees.tree import Tree


@dataclass(frozen=True)
class Parse:
    """A sentence, the impact of its words on each other, and the tree decoded from it.

    Args:
        sentence: the words, with the annotation they came with.
        impact: shape ``(n, n)``.
        tree: heads, 1-based with 0 for the root, or a constituency tree.

    Example:
        >>> print(Parse(Sentence.of(["我", "来"]), [[0, 2], [1, 0]], [2, 0]).drawing())
        ┌► 我
        └● 来
    """

    sentence: Sentence
    impact: ArrayLike
    tree: list[int] | Tree

    def annotated(self) -> Sentence:
        """The sentence with the heads in place of any old ones.

        Raises:
            ValueError: the tree is one of constituents.
        """
        if isinstance(self.tree, Tree):
            raise ValueError("CoNLL-U holds dependencies; write constituents as brackets, json, tree or svg")
        return self.sentence.with_heads(self.tree)

    def conllu(self) -> str:
        """The annotated sentence as CoNLL-U lines."""
        return str(self.annotated())

    def brackets(self) -> str:
        """The constituents on one line.

        Raises:
            ValueError: the tree is one of dependencies.
        """
        if not isinstance(self.tree, Tree):
            raise ValueError("brackets hold constituents; write dependencies as conllu, json, tree or svg")
        return self.tree.brackets(self.sentence.forms)

    def json(self) -> str:
        """An object on one line: ``words`` and ``heads``, or ``words``, ``brackets`` and ``spans``."""
        fields: dict[str, object] = {"words": self.sentence.forms}
        if isinstance(self.tree, Tree):
            fields |= {"brackets": self.brackets(), "spans": sorted(self.tree.spans(trivial=True))}
        else:
            fields["heads"] = self.tree
        return json.dumps(fields, ensure_ascii=False)

    def drawing(self) -> str:
        """The tree in characters, one line per word."""
        words = self.sentence.forms
        return constituents_text(self.tree, words) if isinstance(self.tree, Tree) else arcs_text(words, self.tree)

    def svg(self) -> str:
        """The tree as a picture."""
        words = self.sentence.forms
        return constituents_svg(self.tree, words) if isinstance(self.tree, Tree) else arcs_svg(words, self.tree)
