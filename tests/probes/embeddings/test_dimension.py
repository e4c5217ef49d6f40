"""The rule for dimensions against the closed form by Bessel functions, and the post's figures."""

from __future__ import annotations

from math import lgamma, log, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.probes import entropy_reduction, recommend_embedding_dim


def by_bessel(dim: int) -> float:
    """The same mean in closed form, that of a von Mises-Fisher distribution of concentration ``dim``."""
    scipy = pytest.importorskip("scipy.special")
    half = dim / 2 - 1
    bessel = log(scipy.ive(half, dim)) + dim  # the scaled one times exp(dim)
    mean = scipy.ive(half + 1, dim) / scipy.ive(half, dim)
    return lgamma(dim / 2) + half * log(2 / dim) + bessel - dim * mean


@given(st.integers(3, 1000))
def test_the_reduction_is_the_closed_form(dim: int) -> None:
    assert entropy_reduction(dim) == pytest.approx(by_bessel(dim), rel=1e-6)


def test_it_is_what_the_post_prints() -> None:
    assert entropy_reduction(64) == pytest.approx(-15.4734, abs=5e-5)
    assert entropy_reduction(512) == pytest.approx(-123.264, abs=5e-4)
    assert entropy_reduction(20_000) / 20_000 == pytest.approx(-log((1 + sqrt(5)) / 2) / 2, abs=1e-4)


@pytest.mark.parametrize("words", [2, 100, 32_000, 100_000, 5_000_000])
def test_dimensions_are_the_fewest_that_suffice(words: int) -> None:
    rough, exact = recommend_embedding_dim(words), recommend_embedding_dim(words, exact=True)
    assert rough > 8.33 * log(words) and (rough == 2 or rough - 1 <= 8.33 * log(words))
    assert 2 * log(words) + entropy_reduction(exact) < 0
    assert exact == 2 or 2 * log(words) + entropy_reduction(exact - 1) >= 0
    assert abs(rough - exact) <= 2


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="vocabulary_size=1: give a whole number at least 2"):
        recommend_embedding_dim(1)
    with pytest.raises(TypeError, match=r"vocabulary_size=10.0"):
        recommend_embedding_dim(10.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dim=1: give a whole number at least 2"):
        entropy_reduction(1)
