"""Cutting by strengths, thresholds found on unlabelled text, and words found in a corpus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.perturbed_masking.words.script import split_characters
from nlpkit.perturbed_masking.words.segmentation import (
    LinkedText,
    MeanWordLength,
    cut_evenly,
    find_threshold,
    neighbour_strengths,
    otsu,
)

values = st.lists(st.integers(0, 60).map(lambda number: number / 4), min_size=1, max_size=12)
runs = st.lists(values.map(np.array), min_size=1, max_size=4)


def linked(text: str, strengths: list[float] | None = None) -> LinkedText:
    spans = tuple(split_characters(text))
    found = np.arange(1.0, len(spans)) if strengths is None else np.array(strengths)
    return LinkedText(text, spans, found)


def test_words_cross_neither_marks_nor_scripts_nor_spaces() -> None:
    text = "今天，天气GPT 好4很好。"
    assert linked(text).cut(0.0) == ["今天", "，", "天气", "GPT", "好", "4", "很好", "。"]
    assert linked(text).cut(1e9) == ["今", "天", "，", "天", "气", "GPT", "好", "4", "很", "好", "。"]


def test_even_cuts_stay_inside_runs() -> None:
    assert cut_evenly("今天天，气GPT好的", 2) == ["今天", "天", "，", "气", "GPT", "好的"]
    assert cut_evenly("今天天，气", 1) == ["今", "天", "天", "，", "气"]
    assert cut_evenly("今天天，气", 9) == ["今天天", "，", "气"]
    assert cut_evenly("", 2) == []
    with pytest.raises(ValueError, match="size is 0; give the units per word"):
        cut_evenly("今天", 0)


@given(st.text(alphabet="天气好，a1 ", max_size=12), st.floats(0, 12))
def test_words_join_to_the_text(text: str, threshold: float) -> None:
    words = linked(text).cut(threshold) if len(split_characters(text)) > 0 else []
    assert "".join(words) == text.replace(" ", "")
    assert "" not in words


def test_relative_strengths_compare_with_the_links_beside_in_the_same_run() -> None:
    found = linked("今天好，天气GPT很好吧", [4.0, 1.0, 50.0, 60.0, 3.0, 70.0, 80.0, 2.0, 6.0]).relative()
    assert [run.tolist() for run in found.runs()] == [[3.0, -3.0], [0.0], [-4.0, 4.0]]
    assert linked("天").relative().runs() == []
    assert LinkedText("", (), np.zeros(0)).relative().cut(0.0) == []


def test_the_border_stands_for_links_that_are_missing() -> None:
    text = linked("今天好，天气GPT很好吧", [4.0, 1.0, 50.0, 60.0, 3.0, 70.0, 80.0, 2.0, 6.0])
    found = replace(text, border=-2.0).relative()
    assert [run.tolist() for run in found.runs()] == [[4.5, 0.0], [5.0], [0.0, 6.0]]
    assert found.border is None


@given(st.lists(st.floats(0, 9), min_size=3, max_size=9), st.floats(0, 9))
def test_relative_strengths_ignore_what_all_links_have_in_common(strengths: list[float], common: float) -> None:
    text = "今" * (len(strengths) + 1)
    raised = [strength + common for strength in strengths]
    np.testing.assert_allclose(
        linked(text, raised).relative().strengths, linked(text, strengths).relative().strengths, atol=1e-9
    )


def test_a_link_as_strong_as_the_threshold_holds() -> None:
    assert linked("今天好", [2.0, 1.9]).cut(2.0) == ["今天", "好"]


def test_strengths_are_the_mean_of_both_directions() -> None:
    matrix = np.arange(16.0).reshape(4, 4)
    assert neighbour_strengths(matrix).tolist() == [(1 + 4) / 2, (6 + 9) / 2, (11 + 14) / 2]
    assert neighbour_strengths(np.zeros((1, 1))).tolist() == []
    assert neighbour_strengths(np.zeros((0, 0))).tolist() == []


@given(runs)
def test_otsu_leaves_the_least_variance_inside_the_classes(found: list[np.ndarray]) -> None:
    everything = np.concatenate(found)

    def inside(threshold: float) -> float:
        classes = (everything[everything < threshold], everything[everything >= threshold])
        return sum(((side - side.mean()) ** 2).sum() for side in classes if len(side))

    best = min(inside(value) for value in everything)
    assert inside(otsu(found)) == pytest.approx(best, abs=1e-9)


@given(runs, st.floats(1, 4))
def test_the_mean_word_length_is_met(found: list[np.ndarray], target: float) -> None:
    found = [run + np.arange(len(run)) * 1e-6 + number * 1e-4 for number, run in enumerate(found)]  # no two equal
    threshold = MeanWordLength(target)(found)
    units = sum(len(run) + 1 for run in found)
    words = sum(int((run < threshold).sum()) + 1 for run in found)
    wanted = min(max(round(units / target), len(found)), units)
    assert words == wanted


@pytest.mark.parametrize("choose", [otsu, MeanWordLength(1.5)])
def test_without_links_any_threshold_does(choose: Callable[..., float]) -> None:
    assert find_threshold(choose, [linked("天"), linked("，"), LinkedText("", (), np.zeros(0))]) == 0.0


def test_thresholds_are_found_on_links_that_may_join_alone() -> None:
    assert find_threshold(otsu, [linked("今天，天气", [1.0, 100.0, 100.0, 3.0])]) == 2.0


def test_bad_thresholds_are_named() -> None:
    with pytest.raises(ValueError, match=r"a word cannot have 0\.5 units on average"):
        MeanWordLength(0.5)
    with pytest.raises(
        TypeError,
        match=r"threshold is 'otsu'; give a number, or a function .* itself, not its name: otsu or MeanWordLength",
    ):
        find_threshold("otsu", [])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold=nan is no number; give one, otsu, or MeanWordLength"):
        find_threshold(float("nan"), [])
