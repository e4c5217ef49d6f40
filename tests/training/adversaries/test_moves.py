"""Moves alone: lengths, padding, matrices, and passes that carry them; noise of rows."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from nlpkit.training.adversaries.moves import Call, MatrixMoves, RowMoves, moving, no_move, unit, within
from nlpkit.training.adversaries.noise import row_contents, row_noise
from nlpkit.training.adversaries.slots import Slots
from nlpkit.training.adversaries.tokens import TokenFinder


def call(shape: tuple[int, ...], mask: Tensor | None = None, ids: Tensor | None = None) -> Call:
    mask = torch.ones(shape[:2], dtype=torch.bool) if mask is None else mask
    return Call(torch.zeros(shape), mask, torch.zeros(mask.shape), ids)


@given(st.integers(1, 4), st.integers(1, 5), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_rows_have_unit_length_without_their_padding_and_stay_in_the_ball(
    rows: int, length: int, dtype: torch.dtype
) -> None:
    mask = torch.arange(length) < torch.arange(1, rows + 1)[:, None]
    moves = RowMoves([call((rows, length, 3), mask)])
    gradient = torch.randn(rows, length, 3, dtype=dtype) + 1
    (made,) = unit(moves, moves.gather([gradient]))
    assert made.dtype == torch.float32
    torch.testing.assert_close(made.flatten(1).norm(dim=1), torch.ones(rows))
    assert (made[~mask] == 0).all()
    (kept,) = within(moves, [3 * made], 2.0)
    torch.testing.assert_close(kept, 2 * made)
    (short,) = within(moves, [0.5 * made], 2.0)
    assert torch.equal(short, 0.5 * made)


def test_rows_without_a_gradient_or_with_an_overflow_do_not_move() -> None:
    moves = RowMoves([call((3, 2, 2))])
    gradient = torch.stack([torch.zeros(2, 2), torch.full((2, 2), float("inf")), torch.ones(2, 2)])
    (made,) = unit(moves, [gradient])
    assert made[:2].tolist() == [[[0.0, 0.0], [0.0, 0.0]]] * 2
    assert made[2].norm() == 1


def test_a_matrix_moves_equal_tokens_alike_and_has_unit_length_as_a_whole() -> None:
    ids = torch.tensor([[5, 6, 0], [6, 5, 6]])
    calls = [call((2, 3, 4), ids != 0, ids), call((1, 1, 4), torch.tensor([[True]]), torch.tensor([[6]]))]
    moves = MatrixMoves(calls)
    gradients = [torch.randn(2, 3, 4), torch.randn(1, 1, 4)]
    (matrix,) = unit(moves, moves.gather(gradients))
    six = gradients[0][ids == 6].sum(dim=0) + gradients[1][0, 0]
    five = gradients[0][ids == 5].sum(dim=0)
    length = torch.cat([five, six]).norm()
    first, second = moves.spread([matrix])
    torch.testing.assert_close(first[0, 1], six / length)
    assert torch.equal(first[1, 1], first[0, 0])
    assert torch.equal(second[0, 0], first[1, 2])
    assert first[0, 2].tolist() == [0.0] * 4  # padding


def test_every_pass_has_the_same_moves_and_their_gradients_add_up() -> None:
    inner = nn.Linear(2, 2, bias=False)
    model = nn.Sequential(inner, nn.ReLU(), inner)
    states = torch.rand(3, 2)
    tokens = TokenFinder("FGM", {}, embeddings=[], still=())
    slots = Slots([], [inner])
    with moving(model, [inner], slots, tokens, no_move) as calls:
        model(states).sum().backward()
        once = [made.move.grad.clone() for made in calls]
        model(states).sum().backward()
    assert len(calls) == 2
    for made, gradient in zip(calls, once, strict=True):
        torch.testing.assert_close(made.move.grad, 2 * gradient)
    moves = [torch.ones(3, 2), torch.full((3, 2), 2.0)]
    with moving(model, [inner], slots, tokens, moves):
        found = [model(states) for _ in range(2)]
    expected = inner((inner(states) + 1).relu()) + 2
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], expected)
    assert torch.equal(model(states), inner(inner(states).relu()))


def test_noise_is_a_function_of_the_row_and_the_key_and_standard() -> None:
    ids = torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0], [5, 6, 7, 0]])
    mask = (ids != 0).long()
    contents = row_contents({"input_ids": ids, "attention_mask": mask}, "VAT")

    def noise(rows: list[int], length: int, key: str) -> Tensor:
        return row_noise(
            [contents[row] for row in rows], mask[rows, :length], torch.zeros(len(rows), length, 3), key=key
        )

    together = noise([0, 1, 2], 4, "1")
    assert torch.equal(noise([1, 0], 3, "1"), together[[1, 0], :3])
    assert torch.equal(together[0], together[2])
    assert not torch.equal(noise([0], 4, "2")[0], together[0])
    assert not torch.equal(together[0, :2], together[1, :2])
    many = row_noise([str(n).encode() for n in range(200)], torch.ones(200, 10), torch.zeros(200, 10, 10), key="0")
    assert abs(many.mean()) < 0.03
    assert abs(many.std() - 1) < 0.03
