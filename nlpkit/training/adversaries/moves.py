"""Moves at the output of a module: what may be moved, how long a move is, and the passes that carry it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.training.adversaries.slots import Slots
from nlpkit.training.adversaries.tokens import TokenFinder


@dataclass(frozen=True)
class Call:
    """One call of a moved module in a pass.

    Attributes:
        move: what is added to its output, shape ``(rows, ...)``, also where that has tokens first; keeps its gradient.
        mask: what may be moved, ``True`` there, the first dimensions of ``move``.
        squares: squared length of what is moved at each place of the mask, 0 where nothing is; shape of the mask.
        ids: of the tokens, shape of the mask; ``None`` where they are not known.
    """

    move: Tensor
    mask: Tensor
    squares: Tensor
    ids: Tensor | None


#: The move of a call, given what it is added to, what of that may move, and how many calls of the pass came before.
Start = Callable[[Tensor, Tensor, int], Tensor]


@contextmanager
def moving(
    model: nn.Module,
    modules: Sequence[nn.Module],
    slots: Slots,
    tokens: TokenFinder,
    moves: Sequence[Tensor] | Start,
) -> Iterator[list[Call]]:
    """Within, the outputs of modules are moved, in every pass of a model by the same.

    Args:
        model: begins and ends a pass.
        modules: whose outputs are moved: tensors, or tuples that begin with one.
        slots: of these modules, and of what tells of their tokens.
        tokens: says what may be moved.
        moves: one per call in a pass, or a function that makes them.

    Yields:
        The calls of the first pass, as they come. The gradients of their moves add up over all passes within, so that
        after a ``run`` they are those of all that it did.
    """
    calls: list[Call] = []
    turned: list[bool] = []  # of each call, whether its output has tokens before rows
    turn, complete = 0, False

    def begin(*_: Any) -> None:
        nonlocal turn
        turn = 0
        tokens.begin()

    def end(*_: Any) -> None:
        nonlocal complete
        complete = True  # calls that come later repeat these, in further passes or in those of checkpointing

    def move(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        nonlocal turn
        tokens.see(module, inputs, named)
        if module not in modules:
            return None
        states = output[0] if isinstance(output, tuple) else output
        if not isinstance(states, Tensor):
            raise ValueError(
                f"at={type(module).__name__} returns a {type(output).__name__}, not a tensor: name another"
            )
        if not complete:
            found = tokens.of(module, states)
            rows_first = states.transpose(0, 1) if found.turned else states
            given = moves(rows_first, found.mask, turn) if callable(moves) else moves[turn]
            given = given.detach().to(states.dtype).requires_grad_()
            calls.append(Call(given, found.mask, squares(rows_first, found.mask), found.ids))
            turned.append(found.turned)
        place = turn % len(calls)
        added = calls[place].move.transpose(0, 1) if turned[place] else calls[place].move
        turn += 1
        if added.shape != states.shape:
            raise ValueError(
                f"the output of {type(module).__name__} has shape {tuple(states.shape)} in one pass and "
                f"{tuple(added.shape)} in another: list techniques that change the batch within a step first"
            )
        return (states + added, *output[1:]) if isinstance(output, tuple) else states + added

    handles = [model.register_forward_pre_hook(begin), model.register_forward_hook(end)]
    try:
        with slots.filled(tokens.begin_decoder, move):
            yield calls
    finally:
        for handle in handles:
            handle.remove()


def no_move(states: Tensor, mask: Tensor, turn: int) -> Tensor:
    """Zeros, of which only the gradient is of interest."""
    return torch.zeros_like(states)


def squares(states: Tensor, mask: Tensor) -> Tensor:
    """The squared length of states at each place of a mask, in fp32 or better."""
    wide = states.detach().to(torch.promote_types(states.dtype, torch.float32))
    return torch.where(mask, wide.square().reshape(*mask.shape, -1).sum(dim=-1), 0.0)


class RowMoves:
    """Moves of the rows of each call, independent of each other.

    Args:
        calls: of a pass.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._masks = [call.mask.view(*call.mask.shape, *[1] * (call.move.dim() - call.mask.dim())) for call in calls]
        self._squares = [call.squares.reshape(len(call.squares), -1).sum(dim=1) for call in calls]

    @property
    def own_lengths(self) -> Tensor:
        """The length of what is moved in each row, over all calls, shape ``(rows,)``."""
        return torch.stack(self._squares).sum(dim=0).sqrt()

    def gather(self, at_calls: Sequence[Tensor]) -> list[Tensor]:
        """What is free to move, of moves or gradients at each call, in fp32 or better; padding is 0."""
        wide = [value.to(torch.promote_types(value.dtype, torch.float32)) for value in at_calls]
        return [torch.where(mask, value, 0.0) for mask, value in zip(self._masks, wide, strict=True)]

    def spread(self, free: Sequence[Tensor]) -> list[Tensor]:
        """The moves at each call."""
        return list(free)

    def lengths(self, free: Sequence[Tensor]) -> Tensor:
        """The length of the move of each row, over all calls, shape ``(rows,)``."""
        return torch.stack([value.flatten(1).norm(dim=1) for value in free]).norm(dim=0)

    def items(self, items: Tensor) -> Tensor | float:
        """By what a gradient is multiplied so that it is that of the loss of a row, not of its share in a step."""
        return items


class MatrixMoves:
    """One move of an embedding matrix, in which equal tokens of a batch are moved alike.

    Args:
        calls: of embeddings.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        ids = torch.cat([call.ids.flatten() for call in calls if call.ids is not None])
        self._tokens, self._places = ids.unique(return_inverse=True)

    @property
    def own_lengths(self) -> Tensor:
        """The length of the matrix's rows of the tokens that may be moved, all together, shape ``()``."""
        at_places = torch.cat([call.squares.flatten() for call in self._calls])
        return at_places.new_zeros(len(self._tokens)).scatter_reduce(0, self._places, at_places, "amax").sum().sqrt()

    def gather(self, at_calls: Sequence[Tensor]) -> list[Tensor]:
        """The matrix, of the tokens in the batch: the sum over the places of each, shape ``(tokens, width)``."""
        rows = torch.cat(RowMoves([_flat(call) for call in self._calls]).gather([v.flatten(0, -2) for v in at_calls]))
        return [rows.new_zeros(len(self._tokens), rows.shape[-1]).index_add(0, self._places, rows)]

    def spread(self, free: Sequence[Tensor]) -> list[Tensor]:
        """The moves at each call: those of its tokens; padding stays where it is."""
        rows = free[0][self._places].split([call.mask.numel() for call in self._calls])
        return [
            torch.where(call.mask[..., None], moved.view(call.move.shape), 0.0)
            for call, moved in zip(self._calls, rows, strict=True)
        ]

    def lengths(self, free: Sequence[Tensor]) -> Tensor:
        """The length of the move, over the whole matrix, shape ``()``."""
        return free[0].norm()

    def items(self, items: Tensor) -> Tensor | float:
        """The gradient is that of the loss of the batch, as in the post."""
        return 1.0


Moves = RowMoves | MatrixMoves


def unit(moves: Moves, free: Sequence[Tensor]) -> list[Tensor]:
    """Divided by their lengths; 0 where the length is 0 or not finite, as after an overflow in fp16."""
    lengths = moves.lengths(free)
    sound = (lengths > 0) & lengths.isfinite()
    return [torch.where(_fit(sound, value), value / _fit(lengths, value), 0.0) for value in free]


def stretched(free: Sequence[Tensor], factors: Tensor | float) -> list[Tensor]:
    """Multiplied by one number for all, or by one per row."""
    return [value * (_fit(factors, value) if isinstance(factors, Tensor) else factors) for value in free]


def within(moves: Moves, free: Sequence[Tensor], radius: Tensor | float) -> list[Tensor]:
    """Shortened to the radius, one for all or one per row, where they are longer."""
    return stretched(free, (radius / moves.lengths(free)).clamp(max=1.0).nan_to_num(1.0))


def _fit(numbers: Tensor, values: Tensor) -> Tensor:
    """One number per row, or one for all, as a factor of values."""
    return numbers.view(-1, *[1] * (values.dim() - 1))


def _flat(call: Call) -> Call:
    return Call(call.move.flatten(0, -2), call.mask.flatten(), call.squares.flatten(), call.ids)
