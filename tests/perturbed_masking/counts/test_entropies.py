"""Entropies of neighbours against their definition."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.perturbed_masking.counts.entropies import neighbour_entropies
from nlpkit.perturbed_masking.counts.runs import count_sequences, find_runs
from tests.perturbed_masking.counts.test_runs import spelled
from tests.perturbed_masking.counts.texts import some_texts
from tests.reference import character_links as reference


@given(some_texts, st.sampled_from([1, 2]), st.sampled_from(["left", "right"]))
def test_entropies_are_those_of_the_neighbours(texts: list[str], length: int, side: Literal["left", "right"]) -> None:
    longer = count_sequences(find_runs("\n".join(texts)).codes, length + 1)
    sequences, entropies = neighbour_entropies(*longer, length, side)
    counts = reference.count(texts, length + 1)
    expected = reference.right_entropy if side == "right" else reference.left_entropy
    assert len(sequences) == len({one[:-1] if side == "right" else one[1:] for one in counts})
    for key, entropy in zip(sequences.tolist(), entropies.tolist(), strict=True):
        assert entropy == pytest.approx(expected(spelled(key, length), counts), abs=1e-9)
