"""Tasks: decoders are what their names say, and what dev chooses is what its gold likes best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nlpkit.perturbed_masking import (
    MeanWordLength,
    cky,
    edmonds,
    eisner,
    find_threshold,
    leaning_eisner,
    right_branching,
)
from nlpkit.perturbed_masking.tasks import (
    Constituents,
    Decoder,
    Dependencies,
    Example,
    Segmentation,
    Task,
    total,
    tune_on_dev,
)
from nlpkit.perturbed_masking.treebanks.scores import AttachmentScores


def decoder(task: Task[Any, Any, Any], group: str, name: str) -> Decoder[Any, Any]:
    return next(one for one in task.decoders() if (one.group, one.name) == (group, name))


def predict(task: Task[Any, Any, Any], chosen: Any, examples: Any, matrices: list[Any], option: Any) -> list[Any]:
    return task.predict(chosen, examples, task.prepare(chosen, examples, matrices), option)


@pytest.mark.parametrize("task", [Constituents(), Dependencies(), Segmentation()])
def test_every_group_of_decoders_has_a_floor_among_the_baselines_and_no_two_share_a_name(task: Any) -> None:
    decoders = list(task.decoders())
    assert {one.group for one in decoders} == set(task.floors)
    assert len({(one.group, one.name) for one in decoders}) == len(decoders)
    assert set(task.floors.values()) <= set(task.baselines([]))


def test_decoders_are_what_they_are_named_after() -> None:
    matrix = np.random.default_rng(0).random((5, 5))
    examples = [Example(tuple("abcde"), [2, 3, 0, 3, 4])]
    for name, decode in (("eisner", eisner), ("edmonds", edmonds)):
        found = predict(Dependencies(), decoder(Dependencies(), "root found", name), examples, [matrix], {})
        assert found == [decode(matrix)]
        found = predict(Dependencies(), decoder(Dependencies(), "gold root", name), examples, [matrix], {})
        assert found == [decode(matrix, root=3)]


def test_what_is_learnt_is_what_the_gold_likes_best_and_what_is_given_is_kept() -> None:
    generator = np.random.default_rng(1)
    matrices = [generator.random((6, 6)) for _ in range(4)]
    wanted = {"before": 2.0, "after": 0.0}
    examples = [Example(tuple("abcdef"), leaning_eisner(matrix, before=2.0, after=0.0)) for matrix in matrices]
    options = [{"before": 0.0, "after": 4.0}, wanted, {"before": 4.0, "after": 4.0}]
    lean = Decoder("", "", leaning_eisner, options=options)
    assert tune_on_dev(Dependencies(), lean, examples, matrices) == wanted
    found = predict(Dependencies(), lean, examples, matrices, options[0])
    assert found == [leaning_eisner(matrix, **options[0]) for matrix in matrices]


def test_thresholds_are_found_on_the_texts_or_chosen_by_gold() -> None:
    task = Segmentation()
    examples = [Example("天气很好", ["天气", "很", "好"]), Example("酒店", ["酒店"])]
    matrices = [np.diag(links, 1) for links in ([9.0, 1.0, 2.0], [8.0])]
    rule = decoder(task, "threshold of the texts", "mean word of 1.5")
    prepared = task.prepare(rule, examples, matrices)
    threshold = find_threshold(MeanWordLength(1.5), prepared)
    assert tune_on_dev(task, rule, examples, matrices) == {}
    assert task.predict(rule, examples, prepared, {}) == [text.cut(threshold) for text in prepared]
    best = decoder(task, "threshold of dev", "absolute")
    learnt = tune_on_dev(task, best, examples, matrices)
    assert predict(task, best, examples, matrices, learnt) == [example.gold for example in examples]


def test_a_decoder_without_a_choice_learns_nothing() -> None:
    examples = [Example(("a", "b", "c"), right_branching(3))]
    assert tune_on_dev(Constituents(), Decoder("", "", cky), examples, [np.ones((3, 3))]) == {}


def test_counts_add_up_over_the_examples() -> None:
    counts = [AttachmentScores(2, 1, 1, 2), AttachmentScores(3, 0, 1, 1)]
    assert total(counts) == AttachmentScores(5, 1, 2, 3)
