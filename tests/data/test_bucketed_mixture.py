"""The order of a run of several objectives: shares, each draw once, and rows of like length side by side."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.data import BucketedMixture, Mixture


class Rows:
    """Each holds its own number; those of pairs have labels and a domain."""

    def __init__(self, labelled: bool = False) -> None:
        self.labelled = labelled

    def __getitem__(self, indices: list[int]) -> dict[str, list[object]]:
        columns: dict[str, list[object]] = {"input_ids": [[index] for index in indices]}
        if self.labelled:
            columns |= {"labels": [[-index] for index in indices], "domain": [0] * len(indices)}
        return columns


def bucketed(sizes=(20, 13), shares=(2, 1), draws=96, bucket_rows=4, window_buckets=6, seed=0):
    parts = [
        Mixture(Rows(number == 1), domains=np.zeros(size), shares=[1.0], draws=draws, seed=seed)
        for number, size in enumerate(sizes)
    ]
    lengths = [np.random.default_rng(number).integers(1, 50, (size, 2)) for number, size in enumerate(sizes)]
    return BucketedMixture(
        parts, lengths, shares, draws=draws, bucket_rows=bucket_rows, window_buckets=window_buckets, seed=seed
    )


@given(
    st.lists(st.integers(1, 15), min_size=2, max_size=4),
    st.data(),
    st.integers(1, 5),
    st.integers(4, 9),
)
def test_each_window_has_its_shares_and_each_part_its_own_order(sizes, data, bucket_rows, window_buckets):
    shares = [data.draw(st.sampled_from([1.0, 1.5, 3.0])) for _ in sizes]
    window = bucket_rows * window_buckets
    rows = bucketed(sizes, shares, 2 * window, bucket_rows, window_buckets) if window >= 4 * len(sizes) else None
    if rows is None:
        return
    places = [rows.place(position) for position in range(2 * window)]
    assert sorted(draw for _, _, draw in places) == list(range(2 * window))
    for number in range(2):
        counts = Counter(kind for kind, _, _ in places[number * window : (number + 1) * window])
        assert counts.total() == window
        for kind, share in enumerate(shares):
            assert abs(counts[kind] - share / sum(shares) * window) < 1
    for kind, part in enumerate(rows.parts):
        own = [row for _, row in sorted((draw, row) for found, row, draw in places if found == kind)]
        assert own == [part.row(draw) for draw in range(len(own))]


def padded(sizes):
    """Tokens of batches of four, padding included."""
    batches = sizes.reshape(-1, 4, 2)
    return int(batches.max(axis=1).sum() * 4)


def test_a_bucket_is_of_one_part_and_of_like_lengths_and_buckets_come_in_no_order():
    rows = bucketed(sizes=(200, 130), draws=480, window_buckets=30)
    places = [rows.place(position) for position in range(120)]
    kinds = np.array([kind for kind, _, _ in places]).reshape(-1, 4)
    assert (kinds == kinds[:, :1]).all()
    assert kinds[:, 0].tolist() != sorted(kinds[:, 0])
    sizes = np.array([rows.lengths[kind][row] for kind, row, _ in places])
    by_draw = np.array([rows.lengths[kind][row] for kind, row, _ in sorted(places, key=lambda place: place[2])])
    assert sizes.sum() == by_draw.sum()
    assert padded(sizes) - sizes.sum() < 0.5 * (padded(by_draw) - by_draw.sum())


def test_draws_are_the_same_in_any_order_after_pickling_and_in_a_longer_run():
    rows = bucketed()
    forwards = [rows[position] for position in range(96)]
    assert bucketed().__getitems__(list(range(95, -1, -1))) == forwards[::-1]
    assert pickle.loads(pickle.dumps(rows)).__getitems__(list(range(50))) == forwards[:50]
    assert [bucketed(draws=200)[position] for position in range(96)] == forwards
    assert [bucketed(seed=1)[position] for position in range(96)] != forwards


def test_rows_come_with_their_columns_but_for_the_domain():
    rows = bucketed()
    for position in range(24):
        part, row, draw = rows.place(position)
        expected = {"input_ids": [row], "draw": draw} | ({"labels": [-row]} if part == 1 else {})
        assert rows[position] == expected


def test_a_share_of_zero_leaves_a_part_out():
    rows = bucketed(shares=(0, 1))
    assert {rows.place(position)[0] for position in range(96)} == {1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": (0, 0)}, "shares must not be negative, nor all of them 0"),
        ({"shares": (-1, 2)}, "shares must not be negative"),
        ({"shares": (1000, 1)}, "a share of 1 in 1001 has no row in a window of 24; give a larger share, or 0"),
        ({"bucket_rows": 0}, "bucket_rows and window_buckets must be at least 1; got 0, 6"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        bucketed(**changes)
