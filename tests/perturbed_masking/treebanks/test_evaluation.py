"""Scores beside the baselines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nlpkit.perturbed_masking.treebanks.brackets import read_brackets
from nlpkit.perturbed_masking.treebanks.conllu import read_conllu
from nlpkit.perturbed_masking.treebanks.evaluation import (
    evaluate_constituents,
    evaluate_dependencies,
    gold_root,
    report_table,
    without_punctuation,
)
from nlpkit.perturbed_masking.treebanks.scores import AttachmentScores, score_heads
from nlpkit.perturbed_masking.treebanks.sentences import Sentence


def with_any_heads(forms: str, heads: list[int]) -> Sentence:
    """A sentence of characters whose heads need not be a tree."""
    plain = Sentence.of(list(forms))
    return replace(plain, words=tuple(replace(word, head=head) for word, head in zip(plain.words, heads, strict=True)))


def sentence(forms: str, heads: list[int]) -> Sentence:
    """A sentence of characters; those of punctuation are tagged so."""
    plain = Sentence.of(list(forms)).with_heads(heads)
    return replace(
        plain, words=tuple(replace(word, upos="PUNCT" if word.form in "，。" else "X") for word in plain.words)
    )


GOLD = [sentence("我来。", [2, 0, 2]), sentence("他，走了。", [3, 1, 0, 3, 3])]


def test_a_parser_stands_beside_the_chains() -> None:
    report = evaluate_dependencies(GOLD, {"mine": [[2, 0, 2], [3, 1, 0, 3, 4]]})
    assert list(report) == ["mine", "right chain", "left chain", "right chain, marks on root", "random trees"]
    assert report["right chain, marks on root"]["UAS"].value == 4 / 8
    assert {name: score.value for name, score in report["mine"].items()} == {"UAS": 7 / 8, "UUAS": 7 / 8, "NED": 7 / 8}
    assert report["right chain"]["UAS"].value == 1 / 8
    assert report["left chain"]["UAS"].value == 3 / 8
    interval = report["mine"]["UAS"]
    assert interval.low <= interval.value <= interval.high


def test_a_given_root_is_given_to_the_baselines_and_published_chains_are_not_attached() -> None:
    whole = evaluate_dependencies(GOLD, {}, given_root=True)
    loose = evaluate_dependencies(GOLD, {}, given_root=True, faithful=True)
    assert whole["right chain"]["UAS"].value == 5 / 8
    assert whole["star"]["UAS"].value == 7 / 8
    assert loose["right chain"]["UAS"].value == 3 / 8
    assert min(scores["UAS"].value for scores in whole.values()) >= 2 / 8


def test_punctuation_is_counted_or_not_scored_or_removed() -> None:
    mine = [[2, 0, 1], [3, 1, 0, 3, 4]]
    assert evaluate_dependencies(GOLD, {"mine": mine})["mine"]["UAS"].value == 6 / 8
    assert evaluate_dependencies(GOLD, {"mine": mine}, score_punctuation=False)["mine"]["UAS"].value == 1.0
    removed = [without_punctuation(one) for one in GOLD]
    assert [(one.forms, one.heads) for one in removed] == [(["我", "来"], [2, 0]), (["他", "走", "了"], [2, 0, 2])]


@pytest.mark.shared
def test_removing_punctuation_from_a_treebank_leaves_trees_of_its_words(shared_data: Path) -> None:
    for one in read_conllu(shared_data / "ud" / "weibo-treebank" / "dev.conll"):
        assert without_punctuation(one).heads == one.heads  # it tags none
    changed, total = 0, AttachmentScores()
    for one in read_conllu(shared_data / "ud" / "zh_cfl" / "zh_cfl-ud-test.conllu.xz"):
        shorter = without_punctuation(one)
        assert shorter.heads.count(0) == 1 and all(shorter.scored)
        changed += len(shorter.words) < len(one.words)
        total += score_heads(shorter.heads, shorter.heads)
    assert changed > 400 and total.uas == 1.0 and total.words == 6337


def test_constituents_stand_beside_the_branchings() -> None:
    gold = list(read_brackets(["(S (A a) (B (X b) (Y c)))", "(S (A (X a) (Y b)) (Z c))", "(S (X a) (Y b))"]))
    report = evaluate_constituents(gold, {"mine": [one.tree for one in gold]})
    assert {name: scores["F1"].value for name, scores in report.items() if name != "random trees"} == {
        "mine": 1.0,
        "right branching": 0.5,
        "left branching": 0.5,
    }
    whole = evaluate_constituents(gold, {}, trivial=True)
    assert whole["right branching"]["F1"].value == 4 / 5


def test_the_table_has_a_line_a_parser() -> None:
    lines = report_table(evaluate_dependencies(GOLD, {"eisner": [[2, 0, 2], [3, 1, 0, 3, 3]]})).split("\n")
    assert lines[0].split() == ["UAS", "UUAS", "NED"]
    names = ["eisner", "right chain", "left chain", "right chain, marks on root", "random trees"]
    assert [line.split("  ")[0] for line in lines[1:]] == names
    assert "100.00 [100.0, 100.0]" in lines[1]
    assert len({len(line) for line in lines}) == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="mine has 1 trees for 2 sentences"):
        evaluate_dependencies(GOLD, {"mine": [[2, 0, 2]]})
    with pytest.raises(ValueError, match="scores is empty"):
        evaluate_dependencies([], {})
    with pytest.raises(ValueError, match="the sentence '我 来' has no root"):
        gold_root(with_any_heads("我来", [2, 1]))
    cyclic = with_any_heads("我来了", [2, 1, 0])
    with pytest.raises(ValueError, match=r"the heads of the sentence '我 来 了' form a cycle of the words \[1, 2\]"):
        evaluate_dependencies([cyclic], {})
