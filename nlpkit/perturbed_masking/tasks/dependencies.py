"""Dependency trees: the decoders to choose among, and the chains that they have to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import nlpkit.perturbed_masking as pm
from nlpkit.perturbed_masking.tasks.task import Decoder, Example, Matrix, Option, Task, Vote

Heads = list[int]

_BONUSES: list[Option] = [
    {"before": before, "after": after}
    for size in (0.5, 1.0, 2.0, 4.0)
    for before, after in ((size, 0.0), (0.0, size), (size, size))
]
_CORRECTIONS: dict[str, Callable[[Matrix], Matrix] | None] = {
    "": None,
    " of shares": pm.share_of_heads,
    " of proportions": pm.proportions,
    " of products corrected": pm.average_product_correction,
    " of symmetric means": pm.symmetric,
    " of symmetric means, products corrected": lambda matrix: pm.average_product_correction(pm.symmetric(matrix)),
}


class Dependencies(Task[Heads, Matrix, pm.AttachmentScores]):
    """Heads of the words of a CoNLL-U treebank, with the root found or given."""

    metrics: Mapping[str, Callable[[pm.AttachmentScores], float]] = {
        "uas": lambda s: s.uas,
        "uuas": lambda s: s.uuas,
        "ned": lambda s: s.ned,
    }
    floors: ClassVar[Mapping[str, str]] = {
        "root found": "right chain, marks on root",
        "gold root": "right chain, marks on root, gold root",
        "root found, leaning on neighbours": "right chain, marks on root",
        "gold root, leaning on neighbours": "right chain, marks on root, gold root",
        "gold root, as published": "right chain, gold root, as published",
    }

    def read(self, path: Path, count_punctuation: bool) -> Iterator[Example[Heads]]:
        """Sentences of a CoNLL-U treebank."""
        for sentence in pm.read_conllu(path):
            yield Example(tuple(sentence.forms), sentence.heads, None if count_punctuation else sentence.scored)

    def read_matrix(self, example: Example[Heads], matrix: Matrix) -> Matrix:
        """The matrix itself."""
        return matrix

    def decoders(self) -> Iterator[Decoder[Heads, Matrix]]:
        """Eisner and Edmonds on the words' corrected matrices, leaning on neighbours, and as published."""
        for group, told in (("root found", _marks), ("gold root", _marks_and_root)):
            for decode in (pm.eisner, pm.edmonds):
                for name, correct in _CORRECTIONS.items():
                    yield Decoder(group, f"{decode.__name__}{name}", _on_words(decode), correct, told=told)
            for name in ("proportions", "symmetric means"):
                leans = f"eisner of {name}, leaning"
                correct = _CORRECTIONS[f" of {name}"]
                yield Decoder(f"{group}, leaning on neighbours", leans, _on_words(_lean), correct, _BONUSES, told=told)
        for decode in (pm.eisner, pm.edmonds):
            yield Decoder("gold root, as published", decode.__name__, partial(decode, faithful=True), told=_gold_root)

    def votes(self, examples: Sequence[Example[Heads]], matrices: Sequence[Sequence[Matrix]]) -> list[Vote[Heads]]:
        """The default decoder, every layer voting, with the root found or given."""
        return [
            Vote(
                "leaning_eisner, every layer votes" + ending,
                "right chain, marks on root" + ending,
                [
                    pm.decode_words(of_layers, **told(example), decode=pm.leaning_eisner)
                    for example, of_layers in zip(examples, matrices, strict=True)
                ],
            )
            for ending, told in (("", _marks), (", gold root", _marks_and_root))
        ]

    def score(self, example: Example[Heads], answer: Heads) -> pm.AttachmentScores:
        """Counts of one sentence."""
        return pm.score_heads(example.gold, answer, scored=example.scored)

    def baselines(self, examples: Sequence[Example[Heads]]) -> dict[str, list[Heads]]:
        """Trees that need no model."""
        heads = [example.gold for example in examples]
        roots = [one.index(0) + 1 for one in heads]
        pairs = list(zip(map(len, heads), roots, strict=True))
        return {
            "right chain": [pm.right_chain(len(one)) for one in heads],
            "left chain": [pm.left_chain(len(one)) for one in heads],
            "random trees": [pm.random_tree(len(one), seed=number) for number, one in enumerate(heads)],
            "star, gold root": [pm.star(length, root=root) for length, root in pairs],
            "right chain, gold root": [pm.right_chain(length, root=root) for length, root in pairs],
            "right chain, marks on root": [pm.chain_of_words(_marks(one)["marks"]) for one in examples],
            "right chain, marks on root, gold root": [
                pm.chain_of_words(_marks(one)["marks"], root=root) for one, root in zip(examples, roots, strict=True)
            ],
            "right chain, gold root, as published": [
                pm.right_chain(length, root=root, faithful=True) for length, root in pairs
            ],
        }


def _gold_root(example: Example[Heads]) -> dict[str, int]:
    return {"root": example.gold.index(0) + 1}


def _marks(example: Example[Heads]) -> dict[str, Any]:
    return {"marks": [pm.is_mark(word) for word in example.sentence]}


def _marks_and_root(example: Example[Heads]) -> dict[str, Any]:
    return _marks(example) | _gold_root(example)


def _on_words(decode: Callable[..., Heads]) -> Callable[..., Heads]:
    """A decoder of one matrix that attaches marks to the root of the words' tree."""
    return lambda matrix, **told: pm.decode_words([matrix], decode=decode, **told)


def _lean(matrix: Matrix, *, before: float, after: float, root: int | None = None) -> Heads:
    return pm.eisner(pm.lean_on_neighbours(matrix, before=before, after=after), root=root)
