"""Tasks: decoders are what their names say, and what dev chooses is what its gold likes best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nlpkit.perturbed_masking import cky, edmonds, eisner, leaning_eisner, right_branching
from nlpkit.perturbed_masking.tasks import TASKS, Decoder, Example, total, tune_on_dev
from nlpkit.perturbed_masking.treebanks.scores import AttachmentScores


def decoder(task: str, group: str, name: str) -> Decoder:
    return next(one for one in TASKS[task].decoders() if (one.group, one.name) == (group, name))


def predict(task: str, chosen: Decoder, examples: list[Example], matrices: list[Any], option: Any) -> list[Any]:
    return TASKS[task].predict(chosen, examples, TASKS[task].prepare(chosen, examples, matrices), option)


@pytest.mark.parametrize("task", TASKS)
def test_every_group_of_decoders_has_a_floor_among_the_baselines_and_no_two_share_a_name(task: str) -> None:
    decoders = list(TASKS[task].decoders())
    assert {one.group for one in decoders} == set(TASKS[task].floors)
    assert len({(one.group, one.name) for one in decoders}) == len(decoders)
    assert set(TASKS[task].floors.values()) <= set(TASKS[task].baselines([]))


def test_decoders_are_what_they_are_named_after() -> None:
    matrix = np.random.default_rng(0).random((5, 5))
    examples = [Example(tuple("abcde"), [2, 3, 0, 3, 4])]
    for name, decode in (("eisner", eisner), ("edmonds", edmonds)):
        found = predict("dependencies", decoder("dependencies", "root found", name), examples, [matrix], {})
        assert found == [decode(matrix)]
        found = predict("dependencies", decoder("dependencies", "gold root", name), examples, [matrix], {})
        assert found == [decode(matrix, root=3)]


def test_what_is_learnt_is_what_the_gold_likes_best_and_what_is_given_is_kept() -> None:
    generator = np.random.default_rng(1)
    matrices = [generator.random((6, 6)) for _ in range(4)]
    wanted = {"before": 2.0, "after": 0.0}
    examples = [Example(tuple("abcdef"), leaning_eisner(matrix, before=2.0, after=0.0)) for matrix in matrices]
    options = [{"before": 0.0, "after": 4.0}, wanted, {"before": 4.0, "after": 4.0}]
    lean = Decoder("", "", leaning_eisner, options=options)
    assert tune_on_dev(TASKS["dependencies"], lean, examples, matrices) == wanted
    found = predict("dependencies", lean, examples, matrices, options[0])
    assert found == [leaning_eisner(matrix, **options[0]) for matrix in matrices]


def test_a_decoder_without_a_choice_learns_nothing() -> None:
    examples = [Example(("a", "b", "c"), right_branching(3))]
    assert tune_on_dev(TASKS["constituents"], Decoder("", "", cky), examples, [np.ones((3, 3))]) == {}


def test_counts_add_up_over_the_examples() -> None:
    counts = [AttachmentScores(2, 1, 1, 2), AttachmentScores(3, 0, 1, 1)]
    assert total(counts) == AttachmentScores(5, 1, 2, 3)
