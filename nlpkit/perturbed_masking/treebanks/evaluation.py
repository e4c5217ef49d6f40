"""A parser's scores on a treebank, beside those of the baselines that need no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nlpkit.perturbed_masking.treebanks.brackets import BracketedSentence
from nlpkit.perturbed_masking.treebanks.scores import (
    Interval,
    corpus_interval,
    score_constituents,
    score_heads,
    without_words,
)
from nlpkit.perturbed_masking.treebanks.sentence_scores import sentence_f1, sentence_interval
from nlpkit.perturbed_masking.treebanks.sentences import Sentence
from nlpkit.perturbed_masking.trees.constituents import left_branching, random_branching, right_branching
from nlpkit.perturbed_masking.trees.dependencies import left_chain, random_tree, right_chain, star
from nlpkit.perturbed_masking.trees.marks import chain_of_words, is_mark
from nlpkit.perturbed_masking.trees.spanning_trees import find_cycle
from nlpkit.perturbed_masking.trees.tree import Tree

#: Of each parser, each score with its interval.
Report = dict[str, dict[str, Interval]]


def without_punctuation(sentence: Sentence) -> Sentence:
    """The sentence without its punctuation.

    Args:
        sentence: with heads.

    Returns:
        The other words under their nearest ancestors that stay, numbered anew; comments stay, other lines go.

    Raises:
        ValueError: a word has no head.

    Example:
        >>> words = Sentence.of(["来", "，", "吧"]).with_heads([0, 3, 1]).words
        >>> comma = replace(words[1], upos="PUNCT")
        >>> without_punctuation(Sentence((words[0], comma, words[2]))).forms
        ['来', '吧']
    """
    heads = without_words(sentence.heads, sentence.scored)
    kept = [word for word, keep in zip(sentence.words, sentence.scored, strict=True) if keep]
    words = tuple(replace(word, head=head, deps="_") for word, head in zip(kept, heads, strict=True))
    return Sentence(words, sentence.comments)


def gold_root(sentence: Sentence) -> int:
    """The root of a gold tree.

    Args:
        sentence: with heads.

    Returns:
        Its first root, 1-based.

    Raises:
        ValueError: it has none, its heads form a cycle, or a word has no head.

    Example:
        >>> gold_root(Sentence.of(["我", "来"]).with_heads([2, 0]))
        2
    """
    heads = sentence.heads
    begins = repr(" ".join(sentence.forms)[:40])
    if 0 not in heads:
        raise ValueError(f"the sentence {begins} has no root; heads of 0 mark it")
    if cycle := find_cycle(heads):
        raise ValueError(f"the heads of the sentence {begins} form a cycle of the words {cycle}; give a tree")
    return heads.index(0) + 1


def evaluate_dependencies(
    gold: Sequence[Sentence],
    predicted: Mapping[str, Sequence[Sequence[int]]],
    *,
    given_root: bool = False,
    faithful: bool = False,
    score_punctuation: bool = True,
) -> Report:
    """Score dependency parsers beside the chains and random trees.

    Args:
        gold: sentences with heads, each of them a tree.
        predicted: of each parser, heads of each sentence.
        given_root: the parsers were given the gold root; so are the baselines then, and the star joins them.
        faithful: use the chains as published, whose end is not attached to the given root.
        score_punctuation: count the heads of punctuation.

    Returns:
        UAS, UUAS and NED of each, in [0, 1], over all words, with 95% intervals over sentences.

    Raises:
        ValueError: no sentences; or a parser has more or fewer, or of another length.

    Example:
        >>> report = evaluate_dependencies([Sentence.of(["我", "来"]).with_heads([2, 0])], {"mine": [[2, 0]]})
        >>> report["mine"]["UAS"].value, report["left chain"]["UAS"].value
        (1.0, 0.0)
    """
    trees = [sentence.heads for sentence in gold]
    found = [gold_root(sentence) for sentence in gold]
    roots = [root if given_root else None for root in found]

    def chains(chain: Callable[..., list[int]]) -> list[list[int]]:
        return [chain(len(heads), root=root, faithful=faithful) for heads, root in zip(trees, roots, strict=True)]

    drawn = enumerate(zip(trees, roots, strict=True))
    parsers = {
        **predicted,
        "right chain": chains(right_chain),
        "left chain": chains(left_chain),
        "right chain, marks on root": [
            chain_of_words(list(map(is_mark, sentence.forms)), root=root)
            for sentence, root in zip(gold, roots, strict=True)
        ],
        "random trees": [random_tree(len(heads), seed=number, root=root) for number, (heads, root) in drawn],
    }
    if given_root:
        parsers["star"] = [star(len(heads), root=root) for heads, root in zip(trees, found, strict=True)]
    masks = [None if score_punctuation else sentence.scored for sentence in gold]
    report = {}
    for name, candidates in parsers.items():
        _check_count(name, len(candidates), len(gold))
        scores = [
            score_heads(heads, candidate, scored=mask)
            for heads, candidate, mask in zip(trees, candidates, masks, strict=True)
        ]
        report[name] = _intervals(scores, {"UAS": "uas", "UUAS": "uuas", "NED": "ned"})
    return report


def evaluate_constituents(
    gold: Sequence[BracketedSentence], predicted: Mapping[str, Sequence[Tree]], *, trivial: bool = False
) -> Report:
    """Score constituency parsers beside the branchings and random trees.

    Args:
        gold: sentences with trees.
        predicted: of each parser, the tree of each sentence.
        trivial: count the constituent over the whole sentence.

    Returns:
        Unlabelled precision, recall and F1 of each, in [0, 1], over all constituents; and the mean of the sentences'
        F1 as the literature has it (``sentence_f1``), without sentences of one word; with 95% intervals over
        sentences.

    Raises:
        ValueError: no sentences; or a parser has more or fewer, or of another length.

    Example:
        >>> sentence = BracketedSentence(("a", "b", "c"), ("X", "X", "X"), right_branching(3))
        >>> report = evaluate_constituents([sentence], {})
        >>> report["right branching"]["F1"].value, report["left branching"]["F1"].value
        (1.0, 0.0)
    """
    lengths = [len(sentence.words) for sentence in gold]
    parsers = {
        **predicted,
        "right branching": [right_branching(length) for length in lengths],
        "left branching": [left_branching(length) for length in lengths],
        "random trees": [random_branching(length, seed=number) for number, length in enumerate(lengths)],
    }
    report = {}
    for name, candidates in parsers.items():
        _check_count(name, len(candidates), len(gold))
        scores = [
            score_constituents(sentence.tree, candidate, trivial=trivial)
            for sentence, candidate in zip(gold, candidates, strict=True)
        ]
        longer = [score for score, length in zip(scores, lengths, strict=True) if length > 1]
        report[name] = _intervals(scores, {"precision": "precision", "recall": "recall", "F1": "f1"})
        report[name]["sentence F1"] = sentence_interval(longer, sentence_f1)
    return report


def report_table(report: Report) -> str:
    """A report as lines of text, in percent.

    Args:
        report: of ``evaluate_dependencies`` or ``evaluate_constituents``.

    Returns:
        A line of names, then one line per parser.

    Example:
        >>> print(report_table({"eisner": {"UAS": Interval(0.4, 0.35, 0.456)}}))
                             UAS
        eisner  40.00 [35.0, 45.6]
    """
    rows = [["", *next(iter(report.values()))]]
    for name, scores in report.items():
        rows.append([name, *(f"{100 * s.value:.2f} [{100 * s.low:.1f}, {100 * s.high:.1f}]" for s in scores.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _intervals(scores: list[Any], columns: Mapping[str, str]) -> dict[str, Interval]:
    return {
        column: corpus_interval(scores, lambda score, name=name: getattr(score, name))  # type: ignore[misc]
        for column, name in columns.items()
    }


def _check_count(name: str, predicted: int, gold: int) -> None:
    if predicted != gold:
        raise ValueError(f"{name} has {predicted} trees for {gold} sentences; give one per sentence, in order")
