"""The published baselines, and those of treebanks that had none, to two decimals and without any model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nlpkit.labels.spans import SpanScores
from nlpkit.perturbed_masking.treebanks.brackets import PUNCTUATION_TAGS, BracketedSentence, read_brackets
from nlpkit.perturbed_masking.treebanks.conllu import read_conllu
from nlpkit.perturbed_masking.treebanks.evaluation import evaluate_constituents, evaluate_dependencies
from nlpkit.perturbed_masking.treebanks.scores import AttachmentScores, score_constituents, score_heads, sentence_mean
from nlpkit.perturbed_masking.trees.constituents import left_branching, right_branching
from nlpkit.perturbed_masking.trees.dependencies import left_chain, right_chain, star
from nlpkit.perturbed_masking.trees.tree import Tree
from nlpkit.text_files import read_lines

pytestmark = pytest.mark.shared

#: treebank: words, then UAS, UUAS, NED of the right chain and UAS of the left one, as published: the gold root is
#: given, punctuation counts, and the end of the chain is not attached; UAS of both as trees, and of the star.
CHAINS = {
    "en_pud/PUD.perturbed-masking.conllu.xz": (21176, 35.04, 39.84, 41.13, 10.74, 39.71, 12.85, 30.25),
    "en_pud/en_pud-ud-test.conllu.xz": (21180, 35.30, 39.93, 41.20, 10.65, 40.01, 12.55, 29.34),
    "en_ewt/en_ewt-ud-dev.conllu.xz": (25147, 37.05, 42.19, 43.39, 16.09, 43.78, 20.56, 37.73),
    "zh_pud/zh_pud-ud-test.conllu.xz": (21415, 29.17, 42.68, 48.86, 20.94, 33.73, 22.35, 28.42),
    "zh_gsdsimp/zh_gsdsimp-ud-dev.conllu.xz": (12663, 29.82, 42.48, 47.67, 18.38, 33.70, 19.81, 25.80),
    "zh_cfl/zh_cfl-ud-test.conllu.xz": (7256, 26.34, 41.59, 48.98, 25.65, 32.29, 29.45, 37.67),
    "weibo-treebank/dev.conll": (1843, 32.34, 48.67, 56.48, 23.49, 33.37, 25.88, 23.11),
}

#: longest sentence: sentences, then F1 of the right and of the left branching: mean over sentences without trivial
#: constituents, the same where sentences with nothing to find count 1, and over the corpus with trivial ones.
BRANCHINGS = {
    10: (555, (55.90, 13.91), (58.60, 19.19), (63.26, 29.26)),
    1000: (3914, (39.38, 7.82), (39.91, 8.63), (39.41, 11.69)),
}


@pytest.mark.parametrize("treebank", CHAINS)
def test_chains(shared_data: Path, treebank: str) -> None:
    trees = [sentence.heads for sentence in read_conllu(shared_data / "ud" / treebank)]

    def score(chain: Callable[..., list[int]], faithful: bool) -> AttachmentScores:
        chains = [chain(len(heads), root=heads.index(0) + 1, faithful=faithful) for heads in trees]
        return sum(map(score_heads, trees, chains), AttachmentScores())

    right, left = score(right_chain, True), score(left_chain, True)
    stars = [star(len(heads), root=heads.index(0) + 1) for heads in trees]
    whole = [
        score(right_chain, False),
        score(left_chain, False),
        sum(map(score_heads, trees, stars), AttachmentScores()),
    ]
    found = (right.uas, right.uuas, right.ned, left.uas, *(scores.uas for scores in whole))
    assert (right.words, *(round(100 * value, 2) for value in found)) == CHAINS[treebank]


@pytest.fixture(scope="module")
def wsj_sample(shared_data: Path) -> list[BracketedSentence]:
    """The sample of the Penn Treebank without traces, punctuation and signs of currencies."""
    lines = (line.partition("\t")[2] for line in read_lines(shared_data / "ptb-sample" / "wsj-sample.mrg.xz"))
    return list(read_brackets(lines, drop_tags=PUNCTUATION_TAGS))


@pytest.mark.parametrize("longest", BRANCHINGS)
def test_branchings(wsj_sample: list[BracketedSentence], longest: int) -> None:
    trees = [sentence.tree for sentence in wsj_sample if len(sentence.words) <= longest]

    def f1(branching: Callable[[int], Tree]) -> tuple[float, float, float]:
        plain = [score_constituents(tree, branching(tree.end)) for tree in trees]
        whole = [score_constituents(tree, branching(tree.end), trivial=True) for tree in trees]
        corpus = SpanScores(*(sum(getattr(s, name) for s in whole) for name in ("gold", "predicted", "correct")))
        means = [sentence_mean(plain, lambda score: score.f1, nothing=nothing) for nothing in (None, 1.0)]
        return round(100 * means[0], 2), round(100 * means[1], 2), round(100 * corpus.f1, 2)

    pairs = zip(f1(right_branching), f1(left_branching), strict=True)
    assert (len(trees), *pairs) == BRANCHINGS[longest]


def test_right_branching_scores_what_the_literature_reports(wsj_sample: list[BracketedSentence]) -> None:
    report = evaluate_constituents(wsj_sample, {})
    assert round(100 * report["right branching"]["sentence F1"].value, 2) == 39.71
    assert round(100 * report["left branching"]["sentence F1"].value, 2) == 8.32


#: treebank: UAS of the right chain over all units, and over words with the marks on the root; no root is given.
WITH_MARKS = {
    "zh_gsdsimp/zh_gsdsimp-ud-dev.conllu.xz": (25.88, 26.83),
    "zh_pud/zh_pud-ud-test.conllu.xz": (24.50, 25.37),
    "zh_cfl/zh_cfl-ud-test.conllu.xz": (20.12, 21.54),
    "en_ewt/en_ewt-ud-dev.conllu.xz": (29.71, 31.65),
    "en_pud/en_pud-ud-test.conllu.xz": (30.58, 31.06),
}


@pytest.mark.parametrize("treebank", WITH_MARKS)
def test_marks_on_the_root_make_a_stronger_chain(shared_data: Path, treebank: str) -> None:
    report = evaluate_dependencies(list(read_conllu(shared_data / "ud" / treebank)), {})
    found = tuple(round(100 * report[name]["UAS"].value, 2) for name in ("right chain", "right chain, marks on root"))
    assert found == WITH_MARKS[treebank]


def test_the_wsj10_subset_is_the_one_that_its_source_counts(wsj_sample: list[BracketedSentence]) -> None:
    assert len(wsj_sample) == 3914
    assert sum(2 <= len(sentence.words) <= 10 for sentence in wsj_sample) == 542
