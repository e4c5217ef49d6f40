"""What adversaries of several steps have in common: the length of a step, and the ball that none leads out of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.training.adversaries.adversary import Adversary, Site
from nlpkit.training.adversaries.moves import Moves, stretched, unit, within


class SteppingAdversary(Adversary):
    """An adversary that goes uphill in steps of one length.

    Args:
        epsilon: the longest move, see ``relative``.
        weight: of what it adds to the loss.
        steps: how many.
        step_size: length of each; ``None`` means ``1.5 * epsilon / steps``, whatever ``epsilon`` becomes.
        relative: whether lengths are shares of the length of what is moved.
        at: what is moved, see ``Adversary``.
        still: token ids that are not moved, see ``Adversary``.

    Raises:
        ValueError: there is no step.
    """

    def __init__(
        self,
        epsilon: float,
        weight: float,
        *,
        steps: int,
        step_size: float | None,
        relative: bool,
        at: Site,
        still: Sequence[int],
    ) -> None:
        super().__init__(weight, at, still)
        self.epsilon = checked_number(f"{self.title}: epsilon", epsilon, least=0)
        self.steps = checked_number(f"{self.title}: steps", steps, least=1, whole=True)
        if step_size is not None:
            checked_number(f"{self.title}: step_size", step_size, above=0)
        self._step_size, self.relative = step_size, relative

    @property
    def step_size(self) -> float:
        """Length of a step."""
        return 1.5 * self.epsilon / self.steps if self._step_size is None else self._step_size

    @step_size.setter
    def step_size(self, length: float) -> None:
        self._step_size = length

    def stepped(self, move: Sequence[Tensor], moves: Moves, gradient: Sequence[Tensor]) -> list[Tensor]:
        """A move, one step uphill, and back to the length ``epsilon`` where it is longer."""
        ahead = stretched(unit(moves, gradient), self.reach(moves, self.step_size))
        return within(moves, [m + way for m, way in zip(move, ahead, strict=True)], self.reach(moves, self.epsilon))
