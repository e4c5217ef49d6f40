"""The majority label, and what it scores on the published files."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.fewshot.methods.baselines import expected_majority_accuracy
from nlpkit.fewshot.tasks.fewclue import FEWCLUE, fewclue_task
from nlpkit.fewshot.tasks.folders import TaskFolder
from nlpkit.fewshot.tasks.published import MAJORITY
from nlpkit.pet import Example


def labelled(labels: str) -> list[Example]:
    return [Example({"text": ""}, label) for label in labels]


@pytest.mark.parametrize(
    ("train", "test", "expected"), [("aab", "abbb", 1 / 4), ("ab", "abbb", 1 / 2), ("abc", "aaaa", 1 / 3)]
)
def test_expectation_is_the_mean_over_labels_that_tie(train: str, test: str, expected: float) -> None:
    assert expected_majority_accuracy(labelled(train), labelled(test)) == pytest.approx(expected)


def test_empty_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="0 training and 1 test examples; give at least one of each"):
        expected_majority_accuracy([], labelled("a"))


@pytest.mark.shared
@pytest.mark.parametrize("name", FEWCLUE)
def test_majority_is_the_published_figure(name: str, shared_data: Path) -> None:
    folder = TaskFolder(fewclue_task(name, shared_data / "fewclue"), shared_data / "fewclue" / name)
    test = folder.test()
    if test is None:
        pytest.skip(f"the public test of {name} is withheld here")
    measured = [100 * expected_majority_accuracy(folder.train(split), test) for split in folder.splits()]
    # OCNLI's 38.1 is not of the public test, which holds its three labels alike.
    published = 100 / 3 if name == "ocnli" else MAJORITY.cells[name][0]
    assert measured == pytest.approx([published] * 5, abs=0.1)
