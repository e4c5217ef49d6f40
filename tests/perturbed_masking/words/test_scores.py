"""Scores of word segmentation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.perturbed_masking.words.scores import SegmentationScores, score_segmentation, word_spans


@st.composite
def two_segmentations(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    text = draw(st.text("天地人大小", min_size=1, max_size=12))
    return tuple(  # type: ignore[return-value]
        [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        for cuts in (sorted(draw(st.sets(st.integers(1, len(text) - 1)))) if len(text) > 1 else [] for _ in range(2))
    )


@given(two_segmentations())
def test_a_word_is_right_when_both_its_ends_are(case: tuple[list[str], list[str]]) -> None:
    gold, predicted = case
    borders = [{0} | {sum(map(len, words[: at + 1])) for at in range(len(words))} for words in (gold, predicted)]
    right = [
        (start, end)
        for start, end in word_spans(gold)
        if {start, end} <= borders[1] and not any(start < border < end for border in borders[1])
    ]
    score = score_segmentation(gold, predicted)
    assert (score.gold, score.predicted, score.correct) == (len(gold), len(predicted), len(right))
    assert score_segmentation(gold, gold).f1 == 1.0


def test_unseen_words_are_those_outside_the_vocabulary() -> None:
    gold, predicted = ["北京", "大学", "很", "好"], ["北京", "大", "学", "很", "好"]
    score = score_segmentation(gold, predicted, vocabulary={"很", "好"})
    assert (score.precision, score.recall) == (0.6, 0.75)
    assert (score.unseen, score.oov_recall, score.iv_recall) == (2, 0.5, 1.0)
    total = sum([score, score_segmentation(["好"], ["好"], vocabulary={"很"})], SegmentationScores(0, 0, 0))
    assert (total.gold, total.correct, total.unseen, total.unseen_correct) == (5, 4, 3, 2)


def test_without_a_vocabulary_no_word_is_unseen() -> None:
    score = score_segmentation(["a"], ["a"])
    assert score.unseen == 0 and math.isnan(score.oov_recall) and score.iv_recall == 1.0
    assert score_segmentation([], []).f1 == 0.0


def test_other_characters_are_refused() -> None:
    with pytest.raises(ValueError, match="part at character 2, gold '北京', predicted '上海'"):
        score_segmentation(["我", "在", "北京"], ["我在", "上海"])
    with pytest.raises(ValueError, match="part at character 1, gold '', predicted '们'"):
        score_segmentation(["我"], ["我们"])
    with pytest.raises(ValueError, match="a word is empty"):
        score_segmentation(["我", ""], ["我"])
