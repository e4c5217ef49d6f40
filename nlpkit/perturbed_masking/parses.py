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
        impact: shape ``(n, n)``; ``None`` where the tree was found without.
        tree: heads, 1-based with 0 for the root, or a constituency tree.

    Example:
        >>> print(Parse(Sentence.of(["我", "来"]), [[0, 2], [1, 0]], [2, 0]).drawing())
        ┌► 我
        └● 来
    """

    sentence: Sentence
    impact: ArrayLike | None
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
        return self.tree.brackets(self.sentence.forms, self.tags())

    def text(self) -> str:
        """The sentence as running text, as far as it is known; else its words with blanks between them."""
        marker = "# text = "
        known = (line.removeprefix(marker) for line in self.sentence.comments if line.startswith(marker))
        return next(known, " ".join(self.sentence.forms))

    def tags(self) -> list[str]:
        """The parts of speech that the sentence came with, universal ones first; empty where there is none."""
        tags = ((word.upos, word.xpos) for word in self.sentence.words)
        return [next((tag for tag in pair if tag != "_"), "") for pair in tags]

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

    def svg(self, *, gold: bool = False) -> str:
        """The tree as a picture, with the parts of speech that the sentence came with.

        Args:
            gold: colour arcs by the heads that the sentence came with, and write the relations of those that agree.

        Raises:
            ValueError: ``gold``, and a word came without a head, or the tree is one of constituents.
        """
        words, tags = self.sentence.forms, self.tags()
        if isinstance(self.tree, Tree):
            if gold:
                raise ValueError("gold=True colours arcs; constituents have none")
            return constituents_svg(self.tree, words)
        if not gold:
            return arcs_svg(words, self.tree, tags=tags)
        heads = self.sentence.heads
        labels = [
            word.deprel if head == found and word.deprel != "_" else ""
            for word, head, found in zip(self.sentence.words, heads, self.tree, strict=True)
        ]
        return arcs_svg(words, self.tree, gold=heads, labels=labels, tags=tags)
