from __future__ import annotations

import math
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from nlpkit.seq2seq import character_scores

TEXTS = st.text(alphabet="今天气很好", min_size=1, max_size=9)


def longest_common(one: str, other: str) -> int:
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + longest_common(one[1:], other[1:])
    return max(longest_common(one[1:], other), longest_common(one, other[1:]))


def overlap(one: str, other: str, size: int) -> float:
    first = [one[place : place + size] for place in range(len(one) - size + 1)]
    second = [other[place : place + size] for place in range(len(other) - size + 1)]
    common = sum(min(first.count(part), second.count(part)) for part in set(first))
    return 2 * common / (len(first) + len(second)) if common else 0.0


@given(TEXTS, TEXTS)
def test_scores_of_a_pair_are_those_of_its_characters(found: str, wanted: str) -> None:
    scores = character_scores([found], [wanted])
    assert scores["rouge-1"] == pytest.approx(overlap(found, wanted, 1))
    assert scores["rouge-2"] == pytest.approx(overlap(found, wanted, 2))
    assert scores["rouge-l"] == pytest.approx(2 * longest_common(found, wanted) / (len(found) + len(wanted)))
    expected = sentence_bleu([list(wanted)], list(found), smoothing_function=SmoothingFunction().method1)
    assert scores["bleu"] == pytest.approx(expected, abs=1e-12)


def test_scores_are_means_over_pairs_without_case_and_white_space() -> None:
    pairs = [("SVM 分类", "svm分类"), ("", "分类"), ("回归", "分类")]
    scores = character_scores([found for found, _ in pairs], [wanted for _, wanted in pairs])
    assert set(scores) == {"rouge-1", "rouge-2", "rouge-l", "bleu"}
    assert all(math.isclose(score, 1 / 3) for score in scores.values())


@pytest.mark.parametrize(
    ("found", "wanted", "message"),
    [
        (["好"], [], "1 found and 0 wanted texts"),
        ([], [], "0 found and 0 wanted texts"),
        (["好"], [" "], "wanted text 0 is blank"),
    ],
)
def test_bad_input_is_named(found: list[str], wanted: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        character_scores(found, wanted)


@pytest.mark.parametrize(
    ("found", "wanted", "message"),
    [("abc", "abd", "found is one text"), (["好"], "好", "wanted is one text"), ([None], ["好"], "found holds None")],
)
def test_what_is_no_list_of_texts_is_named(found: Any, wanted: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        character_scores(found, wanted)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(ModuleNotFoundError, match="install the extra 'eval'"):
        character_scores(["好"], ["好"])
