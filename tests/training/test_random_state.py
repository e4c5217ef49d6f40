"""Random numbers that are drawn again, and drawn again without a trace."""

from __future__ import annotations

import torch

from nlpkit.training.random_state import RandomState


def test_numbers_are_drawn_again_and_go_on_behind_them() -> None:
    state = RandomState()
    first, second = torch.rand(3), torch.rand(3)
    for _ in range(2):
        state.again()
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.rand(3), second)


def test_what_is_replayed_leaves_no_trace_even_if_it_fails() -> None:
    state = RandomState()
    first = torch.rand(3)
    now = RandomState()
    then = torch.rand(3)
    now.again()
    try:
        with state.replayed():
            assert torch.equal(torch.rand(3), first)
            torch.rand(9)
            raise ArithmeticError
    except ArithmeticError:
        assert torch.equal(torch.rand(3), then)
