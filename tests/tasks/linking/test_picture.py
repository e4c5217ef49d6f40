"""Candidates as a picture."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from nlpkit.tasks.linking import Entry, KnowledgeBase, Mention, ScoredTexts, plot_candidates

BASE = KnowledgeBase([Entry("Q1", "苹果"), Entry("Q2", "苹果公司", ("苹果",)), Entry("Q3", "A$", ("B$",))])
LINKED = "fill: #1f77b4"


def scored(*probabilities: float, text: str = "买两斤苹果") -> ScoredTexts:
    mention = Mention(3, 5, ("Q1", "Q2"), 0.5, (0.5, 0.5))
    return ScoredTexts([text], [[mention]], [[[math.log(one) for one in probabilities]]])


def draw(folder: Path, texts: ScoredTexts, **settings: float) -> str:
    pytest.importorskip("matplotlib", reason="needs the extra 'viz'")
    plot_candidates(texts, BASE, folder / "candidates.svg", **settings)  # type: ignore[arg-type]
    return (folder / "candidates.svg").read_text("utf-8")


def test_candidates_stand_by_probability_and_the_linked_one_in_blue(tmp_path: Path) -> None:
    drawn = draw(tmp_path, scored(0.3, 0.1, 0.6))
    places = [drawn.index(f">{text}<") for text in ("苹果公司 (Q2)", "苹果 (Q1)", "none")]
    assert places == sorted(places) and ">买两斤【苹果】<" in drawn
    assert all(f">{number}<" in drawn for number in ("0.60", "0.10", "0.30"))
    assert drawn.count(LINKED) == 1
    assert drawn == draw(tmp_path, scored(0.3, 0.1, 0.6))


def test_nothing_is_linked_below_the_threshold(tmp_path: Path) -> None:
    assert LINKED not in draw(tmp_path, scored(0.3, 0.1, 0.6), threshold=0.7)  # 0.6 of 0.9
    assert LINKED not in draw(tmp_path, scored(0.7, 0.1, 0.2))


def test_long_texts_are_cut_around_the_name_and_nothing_is_markup(tmp_path: Path) -> None:
    text = "字" * 40 + "\nB$ 好" + "字" * 40
    drawn = draw(tmp_path, ScoredTexts([text], [[Mention(41, 43, ("Q3",), 0.5, (1.0,))]], [[[-1.0, -0.5]]]))
    assert ">A$ (Q3)<" in drawn and f">…{'字' * 15} 【B$】 好{'字' * 14}…<" in drawn


def test_texts_without_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no name of the knowledge base stands in the 1 texts; give others"):
        plot_candidates(ScoredTexts(["好"], [[]], [[]]), BASE, tmp_path / "candidates.svg")
    with pytest.raises(ValueError, match=r"threshold=1: give a finite number above 0 and below 1"):
        plot_candidates(scored(0.3, 0.1, 0.6), BASE, tmp_path / "candidates.svg", threshold=1)
