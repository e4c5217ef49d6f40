"""Projected gradient descent: several small steps against the model, none of them out of a ball."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nlpkit.training.adversaries.adversary import Adversary, Site
from nlpkit.training.adversaries.moves import Moves, unit, within
from nlpkit.training.technique import Batch, Items, Run


class PGD(Adversary):
    """Train on every batch once more, with the embedding of each row moved against its loss in several steps.

    Source: arXiv 1706.06083 and kexue.fm/archives/7234. Each step is ``step_size * g / ||g||``, with
    ``g`` the gradient where the steps before have led; a row that has moved further than ``epsilon`` is brought back
    to that length.

    Args:
        epsilon: the longest move of a row, in units of the embedding's output.
        weight: of the loss at the moved embeddings.
        steps: how many.
        step_size: length of each; ``None`` means ``1.5 * epsilon / steps``, by which a straight way leaves the ball.
        at: what is moved, see ``Adversary``.
        include_clean: whether the loss as it is counts, too.
        still: token ids that are not moved, see ``Adversary``.

    Raises:
        ValueError: there is no step; or no gradient reaches what is to be moved.

    Note:
        A step of training takes ``steps + 1`` passes, of which ``steps - 1`` need no gradients of parameters. With one
        step of length ``epsilon`` it is ``FGM``. ``FreeLB`` uses the passes on the way, too.

    Example:
        >>> PGD(epsilon=1.0, steps=3).step_size
        0.5
    """

    def __init__(
        self,
        epsilon: float = 1.0,
        weight: float = 1.0,
        *,
        steps: int = 3,
        step_size: float | None = None,
        at: Site = None,
        include_clean: bool = True,
        still: Sequence[int] = (),
    ) -> None:
        super().__init__(weight, at, still)
        if steps < 1:
            raise ValueError(f"PGD: steps={steps}, but it takes at least one")
        self.epsilon, self.steps, self.include_clean = epsilon, steps, include_clean
        self.step_size = 1.5 * epsilon / steps if step_size is None else step_size

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch as it is, then where the steps have led."""
        loss = torch.zeros((), device=self._trainer.args.device)
        if self.include_clean:
            loss, moves, gradient = self.watch(run, model, batch)
        else:
            moves, gradient = self.probe(lambda: run.loss(batch), model, batch)
        move = self._moved([torch.zeros_like(value) for value in gradient], moves, gradient)
        for _ in range(1, self.steps):
            _, gradient = self.probe(lambda: run.loss(batch), model, batch, moves.spread(move))
            move = self._moved(move, moves, gradient)
        with self.moving(model, batch, moves.spread(move)):
            return loss + run(batch, weight=self.weight, name=self.name)

    def _moved(self, move: list[Tensor], moves: Moves, gradient: list[Tensor]) -> list[Tensor]:
        ahead = unit(moves, gradient)
        stepped = [value + self.step_size * way for value, way in zip(move, ahead, strict=True)]
        return within(moves, stepped, self.epsilon)
