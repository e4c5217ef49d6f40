"""Dependency decoders against every tree there is, against networkx, and against the published code's output."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nlpkit.perturbed_masking.trees.dependencies import (
    edmonds,
    eisner,
    left_chain,
    mean_impact_on_others,
    random_tree,
    right_chain,
    share_of_heads,
    star,
)
from nlpkit.perturbed_masking.trees.published import wu_edmonds, wu_eisner
from tests.reference.all_trees import all_dependency_trees, all_projective_trees, is_projective, is_tree, total

PUBLISHED = json.loads((Path(__file__).parent / "fixtures" / "published_decoders.json").read_text("utf-8"))

#: How many random matrices of each size are compared with every tree: 3,890 in all.
MATRICES = {1: 50, 2: 500, 3: 1000, 4: 1000, 5: 1000, 6: 300, 7: 40}

matrices = st.integers(1, 9).flatmap(
    lambda length: arrays(np.float64, (length, length), elements=st.floats(-1e6, 1e6, allow_subnormal=False))
)


def random_matrix(generator: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of either sign, half of them small whole numbers, among which many trees are equal; and root scores."""
    whole = generator.integers(-2, 3, (length, length + 1)).astype(float)
    table = whole if generator.random() < 0.5 else generator.normal(size=(length, length + 1))
    return table[:, 1:], table[:, 0]


def test_the_enumeration_counts_as_cayley_and_as_the_projective_trees_do() -> None:
    assert [len(all_dependency_trees(n)) for n in range(1, 8)] == [n ** (n - 1) for n in range(1, 8)]
    assert [len(all_dependency_trees(n, single_root=False)) for n in range(1, 7)] == [
        (n + 1) ** (n - 1) for n in range(1, 7)
    ]
    assert [len(all_projective_trees(n)) for n in range(1, 7)] == [1, 2, 7, 30, 143, 728]


@pytest.mark.parametrize("length", MATRICES)
def test_eisner_finds_the_best_of_all_projective_trees(length: int) -> None:
    generator = np.random.default_rng(length)
    trees = all_projective_trees(length)
    for _ in range(MATRICES[length]):
        impact, root_scores = random_matrix(generator, length)
        heads = eisner(impact, root_scores=root_scores)
        assert is_tree(heads) and is_projective(heads)
        assert total(impact, root_scores, heads) == pytest.approx(total(impact, root_scores, trees).max())


@pytest.mark.parametrize("length", MATRICES)
def test_edmonds_finds_the_best_of_all_trees(length: int) -> None:
    generator = np.random.default_rng(length)
    trees = all_dependency_trees(length)
    for _ in range(MATRICES[length]):
        impact, root_scores = random_matrix(generator, length)
        heads = edmonds(impact, root_scores=root_scores)
        assert is_tree(heads)
        assert total(impact, root_scores, heads) == pytest.approx(total(impact, root_scores, trees).max())


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6])
def test_edmonds_with_several_roots_finds_the_best_of_all_forests(length: int) -> None:
    generator = np.random.default_rng(length)
    trees = all_dependency_trees(length, single_root=False)
    for _ in range(100):
        impact, root_scores = random_matrix(generator, length)
        heads = edmonds(impact, root_scores=root_scores, single_root=False)
        best = total(impact, root_scores, trees).max()
        assert (trees == heads).all(axis=1).any()
        assert total(impact, root_scores, heads) == pytest.approx(best)


@pytest.mark.parametrize("length", [2, 4, 5])
def test_a_given_root_is_the_root_of_the_best_tree_that_has_it(length: int) -> None:
    generator = np.random.default_rng(length)
    for _ in range(200):
        impact, _ = random_matrix(generator, length)
        root = int(generator.integers(1, length + 1))
        for decode, trees in ((eisner, all_projective_trees(length)), (edmonds, all_dependency_trees(length))):
            heads = decode(impact, root=root)
            rooted = trees[trees[:, root - 1] == 0]
            assert heads[root - 1] == 0 and is_tree(heads)
            assert total(impact, np.zeros(length), heads) == pytest.approx(
                total(impact, np.zeros(length), rooted).max()
            )


@pytest.mark.parametrize("single_root", [True, False])
def test_edmonds_agrees_with_networkx_on_longer_sentences(single_root: bool) -> None:
    generator = np.random.default_rng(5)
    for _ in range(4 if single_root else 20):
        length = int(generator.integers(8, 13))
        impact, root_scores = random_matrix(generator, length)
        heads = edmonds(impact, root_scores=root_scores, single_root=single_root)
        roots = [[root] for root in range(length)] if single_root else [range(length)]
        best = max(_best_by_networkx(impact, root_scores, allowed) for allowed in roots)
        assert total(impact, root_scores, heads) == pytest.approx(best)


def _best_by_networkx(impact: np.ndarray, root_scores: np.ndarray, roots: list[int] | range) -> float:
    graph = nx.DiGraph()
    graph.add_weighted_edges_from(
        (head, unit, impact[unit, head]) for unit in range(len(impact)) for head in range(len(impact)) if unit != head
    )
    graph.add_weighted_edges_from(("root", unit, root_scores[unit]) for unit in roots)
    return nx.maximum_spanning_arborescence(graph).size(weight="weight")


@given(matrices)
def test_trees_are_trees_and_eisner_never_beats_edmonds(impact: np.ndarray) -> None:
    before = impact.copy()
    projective, free = eisner(impact), edmonds(impact)
    np.testing.assert_array_equal(impact, before)
    assert is_tree(projective) and is_projective(projective) and is_tree(free)
    root_scores = mean_impact_on_others(impact)
    slack = 1e-9 * len(impact) * np.abs(impact).max()
    assert total(impact, root_scores, projective) <= total(impact, root_scores, free) + slack


def test_scores_of_any_size_and_sign() -> None:
    generator = np.random.default_rng(0)
    impact = generator.normal(size=(12, 12))
    for change in (
        impact * 1e200,
        impact * 1e-200,
        impact - 1e3,
        np.full((12, 12), -7.0),
        np.zeros((12, 12)),
    ):
        assert is_tree(edmonds(change)) and is_tree(eisner(change))
    assert edmonds(impact * 2.0**300) == edmonds(impact) == edmonds(impact + 2.0)
    assert eisner(impact * 2.0**300) == eisner(impact) == eisner(impact + 2.0)


def test_the_default_root_has_most_impact_on_the_others() -> None:
    impact = np.ones((4, 4))
    impact[:, 2] = 2.0
    for decode in (eisner, edmonds):
        assert decode(impact) == [3, 3, 0, 3]


def test_impact_on_others_is_the_mean_of_a_column_without_the_diagonal() -> None:
    impact = np.random.default_rng(1).normal(size=(5, 5))
    means = [np.mean([impact[unit, head] for unit in range(5) if unit != head]) for head in range(5)]
    np.testing.assert_allclose(mean_impact_on_others(impact), means)


def test_shares_of_heads_are_distributions_in_the_order_of_the_row() -> None:
    impact = np.random.default_rng(1).normal(size=(5, 5)) * 900
    shares = share_of_heads(impact)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert (shares.diagonal() == 0).all() and np.isfinite(shares).all()
    np.fill_diagonal(impact, -np.inf)
    assert shares.argmax(axis=1).tolist() == impact.argmax(axis=1).tolist()


def test_the_diagonal_is_never_read() -> None:
    impact = np.random.default_rng(3).random((6, 6))
    loud = impact + np.diag(np.full(6, 1e6))
    assert eisner(loud) == eisner(impact)
    assert edmonds(loud) == edmonds(impact)
    np.testing.assert_allclose(share_of_heads(loud), share_of_heads(impact))
    np.testing.assert_allclose(mean_impact_on_others(loud), mean_impact_on_others(impact))


def test_long_sentences() -> None:
    impact = np.random.default_rng(0).random((150, 150))
    assert is_tree(edmonds(impact)) and is_tree(eisner(impact))


def test_chains_of_contractions_as_long_as_the_sentence() -> None:
    """Each round closes one more cycle of two: neighbours have most impact, those on the right a little more."""
    length = 300
    places = np.arange(length)
    impact = -np.abs(places[:, None] - places).astype(float)
    impact[places[:-1], places[1:]] = np.linspace(0.5, 0.9, length - 1)
    heads = edmonds(impact, root=1)
    assert heads[1:-1] == list(range(3, length + 1)) and heads[-1] == 1  # the best tree happens to be projective
    assert heads == eisner(impact, root=1)


def test_no_units_and_one() -> None:
    for decode in (eisner, edmonds):
        assert decode(np.zeros((0, 0))) == decode([]) == []
        assert decode([[0.0]]) == [0]
        assert decode([[0.0]], faithful=True) == [0]
    assert right_chain(0) == left_chain(0) == random_tree(0, seed=1) == []


@pytest.mark.parametrize("case", PUBLISHED["cases"], ids=lambda case: f"{case['seed']}-{case['length']}")
def test_faithful_decoders_do_what_the_published_code_did(case: dict) -> None:
    generator = np.random.RandomState(case["seed"])
    impact = generator.random_sample((case["length"], case["length"])) * case["scale"]
    np.fill_diagonal(impact, 0.0)
    boundary_row = generator.random_sample(case["length"]) * case["scale"]
    assert wu_eisner(impact, root=case["root"], boundary_row=boundary_row) == case["eisner"]
    assert wu_edmonds(impact, root=case["root"], boundary_row=boundary_row) == case["edmonds"]
    assert eisner(impact, root=case["root"], faithful=True) == wu_eisner(impact, root=case["root"])
    assert edmonds(impact, root=case["root"], faithful=True) == case["edmonds"]


def test_the_published_softmax_changes_most_trees() -> None:
    generator = np.random.default_rng(0)
    same = 0
    for _ in range(100):
        impact = generator.random((12, 12)) * 10
        np.fill_diagonal(impact, 0.0)
        same += eisner(impact, root=3, faithful=True) == eisner(share_of_heads(impact), root=3)
    assert same < 20


def test_a_root_given_to_the_published_decoder_draws_the_arcs_of_noise_to_itself() -> None:
    generator = np.random.default_rng(0)
    drawn = {True: 0, False: 0}
    for _ in range(100):
        noise = generator.gamma(4.0, 1.0, (20, 20)) * (1 - np.eye(20))
        for faithful in drawn:
            drawn[faithful] += eisner(noise, root=7, faithful=faithful).count(7)
    assert drawn[True] > 0.6 * 1900 and drawn[False] < 0.2 * 1900


def test_a_star_is_a_tree_of_arcs_from_its_root() -> None:
    assert star(4, root=2) == [2, 0, 2, 2] and star(1, root=1) == [0]
    with pytest.raises(ValueError, match="root is 5, but there are 4 units"):
        star(4, root=5)


def test_chains_with_a_root_are_trees_and_the_published_ones_are_not() -> None:
    for length in range(1, 7):
        for root in range(1, length + 1):
            assert is_tree(right_chain(length, root=root)) and is_tree(left_chain(length, root=root))
        assert is_tree(right_chain(length)) and is_tree(left_chain(length))
    assert not is_tree(right_chain(4, root=2, faithful=True))
    assert not is_tree(left_chain(4, root=2, faithful=True))


def test_random_trees_are_even() -> None:
    counts = Counter(tuple(random_tree(3, seed=seed)) for seed in range(3600))
    assert set(counts) == {tuple(heads) for heads in all_dependency_trees(3).tolist()}
    assert all(320 < count < 480 for count in counts.values())  # 400 expected of each of 9, deviation 19
    assert random_tree(20, seed=4) == random_tree(20, seed=4)
    assert all(is_tree(random_tree(30, seed=seed, root=7)) for seed in range(20))
    assert random_tree(30, seed=0, root=7)[6] == 0


@pytest.mark.parametrize("decode", [eisner, edmonds])
def test_bad_matrices_are_refused(decode: object) -> None:
    assert callable(decode)
    with pytest.raises(ValueError, match=r"shape \(2, 3\); give a square matrix"):
        decode(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"impact\[0, 1\] is nan; give finite numbers"):
        decode([[0.0, np.nan], [0.0, 0.0]])
    with pytest.raises(ValueError, match="root is 3, but there are 2 units; give 1 to 2"):
        decode(np.zeros((2, 2)), root=3)
    with pytest.raises(ValueError, match=r"root_scores has shape \(3,\); give one finite number for each of the 2"):
        decode(np.zeros((2, 2)), root_scores=np.zeros(3))
    with pytest.raises(ValueError, match="root_scores and root are both given"):
        decode(np.zeros((2, 2)), root=1, root_scores=np.zeros(2))
    with pytest.raises(ValueError, match="root_scores and faithful=True are both given"):
        decode(np.zeros((2, 2)), root_scores=np.zeros(2), faithful=True)


def test_bad_lengths_are_refused() -> None:
    for chain in (right_chain, left_chain):
        with pytest.raises(ValueError, match="length is -1"):
            chain(-1)
        with pytest.raises(ValueError, match="root is 0, but there are 4 units"):
            chain(4, root=0)
    with pytest.raises(ValueError, match=r"boundary_row has shape \(3,\)"):
        wu_eisner(np.zeros((2, 2)), boundary_row=np.zeros(3))
