"""The order of a run's rows: shares, passes, and independence from how it is read."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.data.mixture import Mixture, parse_shares


class Rows:
    """Ten rows a domain, each holding its own number."""

    def __init__(self, count):
        self.count = count

    def __getitem__(self, indices):
        return {"input_ids": [[index] for index in indices]}


def mixture(sizes, shares, draws, seed=0):
    domains = np.repeat(np.arange(len(sizes)), sizes)
    return Mixture(Rows(sum(sizes)), domains=domains, shares=shares, draws=draws, seed=seed), domains


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.data())
def test_each_pass_holds_each_domains_share(sizes, data):
    shares = [data.draw(st.sampled_from([0.25, 0.5, 1.0, 2.0, 2.5])) for _ in sizes]
    counts = [max(1, round(size * share)) for size, share in zip(sizes, shares, strict=True)]
    rows, domains = mixture(sizes, shares, draws=3 * sum(counts))
    for number in range(3):
        found = [rows.row(draw) for draw in range(number * sum(counts), (number + 1) * sum(counts))]
        assert Counter(domains[found]) == dict(enumerate(counts))


def test_no_row_comes_again_before_all_of_its_domain_have_come():
    rows, domains = mixture([9, 5], [1 / 3, 2.0], draws=39)
    for domain, size in [(0, 9), (1, 5)]:
        seen = [row for draw in range(39) if domains[row := rows.row(draw)] == domain]
        whole = [sorted(seen[start : start + size]) for start in range(0, len(seen) - size + 1, size)]
        if domain == 0:
            assert whole == [sorted(np.flatnonzero(domains == 0))]
        assert Counter(seen).keys() == set(np.flatnonzero(domains == domain))
        assert set(Counter(seen).values()) == {len(seen) // size}


def test_a_share_of_zero_leaves_a_domain_out():
    rows, domains = mixture([4, 4], [0.0, 1.0], draws=8)
    assert {domains[rows.row(draw)] for draw in range(8)} == {1}


def test_draws_are_the_same_in_any_order_and_after_pickling():
    rows, _ = mixture([7, 6], [1.0, 0.5], draws=60)
    forwards = [rows[draw] for draw in range(60)]
    assert rows.__getitems__(list(range(59, -1, -1))) == forwards[::-1]
    assert pickle.loads(pickle.dumps(rows)).__getitems__(list(range(60))) == forwards
    assert [row["draw"] for row in forwards] == list(range(60))


def test_passes_and_seeds_have_orders_of_their_own():
    rows, _ = mixture([50], [1.0], draws=100)
    other, _ = mixture([50], [1.0], draws=100, seed=1)
    order = [rows.row(draw) for draw in range(100)]
    assert order[:50] != order[50:]
    assert order != [other.row(draw) for draw in range(100)]


def test_a_longer_run_begins_like_a_shorter_one():
    short, _ = mixture([7, 6], [1.0, 0.5], draws=20)
    long, _ = mixture([7, 6], [1.0, 0.5], draws=200)
    assert [short.row(draw) for draw in range(20)] == [long.row(draw) for draw in range(20)]


def test_shares_that_leave_nothing_are_refused():
    with pytest.raises(ValueError, match=r"shares \[0.0, 1.0\] of domains with \[4, 0\] rows: no rows"):
        Mixture(Rows(4), domains=np.zeros(4), shares=[0.0, 1.0], draws=8, seed=0)


def test_negative_shares_are_refused():
    with pytest.raises(ValueError, match="shares must not be negative"):
        mixture([4], [-1.0], draws=8)


def test_a_share_of_an_unknown_domain_is_refused():
    with pytest.raises(ValueError, match="names 'sport'; the domains are law, news"):
        parse_shares(["sport=1"], ["law", "news"])


@pytest.mark.parametrize("share", ["law", "law=", "law=third"])
def test_a_share_that_is_no_number_is_refused(share):
    with pytest.raises(ValueError, match=f"must look like law=0.33; got '{share}'"):
        parse_shares([share], ["law"])
