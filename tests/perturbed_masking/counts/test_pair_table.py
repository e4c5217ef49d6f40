"""Links by a table of pairs, against the formula worked out one link at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.perturbed_masking.counts.corpus_counts import CorpusCounts, count_part
from nlpkit.perturbed_masking.counts.pair_table import PairTable
from nlpkit.perturbed_masking.counts.runs import find_runs
from tests.perturbed_masking.counts.texts import some_texts
from tests.reference import character_links as reference

CORPUS = ["今天天气很好", "酒店很好，天气好", "今天酒店好", "好天气，今天", "カナカ"]


def table_of(texts: list[str], min_count: int = 1) -> PairTable:
    counts = CorpusCounts()
    counts.add(count_part("\n".join(texts)))
    return PairTable.from_counts(counts, min_count)


@given(some_texts, some_texts, st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0]))
def test_links_are_those_of_the_formula(corpus: list[str], texts: list[str], min_count: int, borders: float) -> None:
    corpus = [*CORPUS, *corpus]
    codes = find_runs("\n".join(texts)).codes
    links = table_of(corpus, min_count).links(codes, borders)
    found = links[(codes[:-1] != 0) & (codes[1:] != 0)]
    expected = [
        link
        for text in texts
        for run in reference.runs_of(text)
        for link in reference.links(run, corpus, min_count, borders)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_unknown_characters_have_links_without_evidence() -> None:
    """Nothing was seen and nothing expected: no information, and no entropy on the unknown side."""
    assert table_of(CORPUS).links(find_runs("龘靐").codes)[1] == 0.0
    assert table_of(CORPUS).links(find_runs("龘").codes).shape == (2,)
    assert table_of(CORPUS).links(find_runs("").codes).shape == (0,)


def test_a_table_without_pairs_links_by_characters() -> None:
    table = table_of(CORPUS, min_count=100)
    assert len(table.pairs) == 0
    links = table.links(find_runs("今天").codes)
    assert links[1] == pytest.approx(reference.links("今天", CORPUS, 100, 1.0)[0])


def test_the_link_of_chance_is_the_mean_of_entropies_alone() -> None:
    ones, twos, threes = (reference.count(CORPUS, length) for length in (1, 2, 3))
    total = sum(ones.values())
    expected = sum(
        n * (reference.right_entropy(one, twos) + reference.left_entropy(one, twos)) / total for one, n in ones.items()
    )
    expected += sum(
        n * (reference.right_entropy(two, threes) + reference.left_entropy(two, threes)) / sum(twos.values())
        for two, n in twos.items()
    )
    assert table_of(CORPUS).chance_link() == pytest.approx(-expected / 2)
    assert table_of(CORPUS).chance_link(borders=0.0) == 0.0
    assert table_of(CORPUS, min_count=100).chance_link() < 0


def test_rounding_moves_links_by_less_than_its_steps() -> None:
    table = table_of(CORPUS * 3)
    rounded = PairTable.from_tensors(table.tensors())
    np.testing.assert_array_equal(rounded.codes, table.codes)
    np.testing.assert_array_equal(rounded.pairs, table.pairs)
    codes = find_runs("今天天气很好，酒店好，店天").codes
    steps = sum(float(one[0]) for name, one in table.tensors().items() if name.endswith("_step"))
    np.testing.assert_allclose(rounded.links(codes), table.links(codes), atol=steps)
    assert sum(one.nbytes for name, one in table.tensors().items() if "pair" in name or name == "seconds") < (
        5 * len(table.pairs) + 32
    )


def test_what_makes_no_table_is_named() -> None:
    with pytest.raises(ValueError, match="no Chinese character or kana was counted"):
        table_of(["abc"])
    with pytest.raises(ValueError, match="min_count=0 must be 1 or more"):
        table_of(CORPUS, 0)
