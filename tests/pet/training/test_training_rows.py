from __future__ import annotations

import pytest

from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.training.training_rows import TrainingRows

LABELLED = [Example({"text": str(number)}, "x") for number in range(5)]
UNLABELLED = [Example({"text": f"u{number}"}) for number in range(7)]


def test_each_pass_shows_every_example_once_in_another_order() -> None:
    rows = TrainingRows(LABELLED, 15, UNLABELLED, 2, seed=1)
    passes = [[rows[number].example.fields["text"] for number in range(start, start + 5)] for start in (0, 5, 10)]
    assert all(sorted(found) == list("01234") for found in passes)
    assert len({tuple(found) for found in passes}) > 1
    companions = [text.fields["text"] for number in range(14) for text in rows[number].unlabelled]
    assert all(
        sorted(companions[start : start + 7]) == sorted(t.fields["text"] for t in UNLABELLED)
        for start in (0, 7, 14, 21)
    )


def test_a_row_is_a_function_of_its_number_and_the_seed() -> None:
    rows, again = (TrainingRows(LABELLED, 9, UNLABELLED, 1, seed=4) for _ in range(2))
    assert [rows[number] for number in range(9)] == [again[number] for number in reversed(range(9))][::-1]
    other = TrainingRows(LABELLED, 9, UNLABELLED, 1, seed=5)
    assert [rows[number] for number in range(9)] != [other[number] for number in range(9)]
    assert [rows[number].draw for number in range(9)] == list(range(9))


def test_there_must_be_what_is_asked_for() -> None:
    with pytest.raises(ValueError, match="no training examples"):
        TrainingRows([], 3)
    with pytest.raises(ValueError, match="unlabelled_per_row=2, but there are no unlabelled texts"):
        TrainingRows(LABELLED, 3, unlabelled_per_row=2)
    with pytest.raises(IndexError):
        TrainingRows(LABELLED, 3)[3]
