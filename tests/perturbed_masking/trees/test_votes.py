"""Votes, against every tree there is, and at their limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nlpkit.perturbed_masking.trees.constituents import left_branching, random_branching, right_branching
from nlpkit.perturbed_masking.trees.dependencies import random_tree
from nlpkit.perturbed_masking.trees.votes import vote_on_constituents, vote_on_heads
from tests.reference.all_trees import all_bracketings, all_dependency_trees, all_projective_trees


@pytest.mark.parametrize("projective", [True, False])
def test_no_tree_shares_more_arcs_with_the_voters(projective: bool) -> None:
    for seed in range(20):
        voters = [random_tree(5, 10 * seed + number) for number in range(4)]

        def agreement(heads: list[int], voters: list[list[int]] = voters) -> int:
            return sum(one == other for voter in voters for one, other in zip(heads, voter, strict=True))

        known = (all_projective_trees if projective else all_dependency_trees)(5).tolist()
        found = vote_on_heads(voters, projective=projective)
        assert found in known
        assert agreement(found) == max(map(agreement, known))


def test_no_tree_shares_more_constituents_with_the_voters() -> None:
    for seed in range(20):
        voters = [random_branching(6, 10 * seed + number) for number in range(4)]
        shared = [sum(len(spans & voter.spans()) for voter in voters) for spans in all_bracketings(0, 6)]
        found = vote_on_constituents(voters)
        assert sum(len(found.spans() & voter.spans()) for voter in voters) == max(shared)


def test_one_voter_and_a_majority_decide() -> None:
    for seed, length in itertools.product(range(5), (1, 2, 7)):
        tree, heads = random_branching(length, seed), random_tree(length, seed)
        assert vote_on_constituents([tree]) == tree
        assert vote_on_heads([heads], projective=False) == heads
        other = right_branching(length) if seed else left_branching(length)
        assert vote_on_constituents([tree, other, tree]) == tree
    assert vote_on_heads([[]]) == []


def test_the_order_of_voters_does_not_matter() -> None:
    voters = [random_branching(9, seed) for seed in range(7)]
    order = np.random.default_rng(0).permutation(7)
    assert vote_on_constituents([voters[place] for place in order]) == vote_on_constituents(voters)


def test_what_cannot_vote_is_refused() -> None:
    with pytest.raises(ValueError, match="trees is empty; give at least one tree to vote"):
        vote_on_heads([])
    with pytest.raises(ValueError, match="trees are of 2 to 3 units; give trees of one sentence"):
        vote_on_constituents([right_branching(3), right_branching(2)])
