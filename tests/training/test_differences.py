"""Twin passes: what the second one takes from the first."""

from __future__ import annotations

import torch
from torch import Tensor

from nlpkit.training.differences import kept_choice, twin_passes


def choices(*numbers: float) -> list[float]:
    return [kept_choice(torch.tensor(number)).item() for number in numbers]


def test_the_second_pass_has_dropout_and_choices_of_the_first() -> None:
    with twin_passes() as again:
        first = torch.rand(3), choices(1, 2)
        again()
        second = torch.rand(3), choices(-1, -2)
    assert torch.equal(first[0], second[0])
    assert first[1] == second[1] == [1, 2]
    assert choices(3) == [3]


def test_of_twins_within_twins_all_are_as_the_first() -> None:
    def inner(*numbers: float) -> tuple[list[float], list[float]]:
        with twin_passes() as again:
            first = choices(*numbers)
            again()
            return first, choices(*(-number for number in numbers))

    with twin_passes() as again:
        first = inner(1, 2)
        again()
        second = inner(3, 4)
    assert first == second == ([1, 2], [1, 2])


def test_a_pass_that_fails_leaves_nothing() -> None:
    made: list[Tensor] = []
    try:
        with twin_passes() as again:
            made.append(kept_choice(torch.tensor(1.0)))
            again()
            raise ArithmeticError
    except ArithmeticError:
        made.append(kept_choice(torch.tensor(-1.0)))
    assert [value.item() for value in made] == [1, -1]
