"""Projected gradient descent: several small steps against the model, none of them out of a ball."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nlpkit.training.adversaries.adversary import Site
from nlpkit.training.adversaries.steps import SteppingAdversary
from nlpkit.training.technique import Batch, Items, Run


class PGD(SteppingAdversary):
    """Train on every batch once more, with the embedding of each row moved against its loss in several steps.

    Source: arXiv 1706.06083 and kexue.fm/archives/7234. Each step is ``step_size * g / ||g||``, with
    ``g`` the gradient where the steps before have led; a row that has moved further than ``epsilon`` is brought back
    to that length.

    Args:
        epsilon: the longest move of a row, see ``relative``.
        weight: of the loss at the moved embeddings.
        steps: how many.
        step_size: length of each; ``None`` means ``1.5 * epsilon / steps``, by which a straight way leaves the ball,
            whatever ``epsilon`` becomes.
        relative: whether lengths are shares of the length of what is moved: of a row's embeddings, all its tokens
            together, or of the tokens' rows of the matrix. Otherwise they are in its own units, as in papers: in those
            0.5 moves a row by 7% of its length in the shipped model, by 0.5% in a T5.
        at: what is moved, see ``Adversary``.
        include_clean: whether the loss as it is counts, too.
        still: token ids that are not moved, see ``Adversary``.

    Raises:
        ValueError: there is no step; or no gradient reaches what is to be moved.

    Note:
        A step of training takes ``steps + 1`` passes, of which ``steps - 1`` need no gradients of parameters. With one
        step of length ``epsilon`` it is ``FGM``. ``FreeLB`` uses the passes on the way, too.

    Example:
        >>> PGD(epsilon=0.04, steps=3).step_size
        0.02
    """

    def __init__(
        self,
        epsilon: float = 0.02,
        weight: float = 1.0,
        *,
        steps: int = 3,
        step_size: float | None = None,
        relative: bool = True,
        at: Site = None,
        include_clean: bool = True,
        still: Sequence[int] = (),
    ) -> None:
        super().__init__(epsilon, weight, steps=steps, step_size=step_size, relative=relative, at=at, still=still)
        self.include_clean = include_clean

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch as it is, then where the steps have led."""
        loss = torch.zeros((), device=self._trainer.args.device)
        if self.include_clean:
            loss, moves, gradient = self.watch(run, model, batch)
        else:
            moves, gradient = self.probe(lambda: run.loss(batch), model, batch)
        move = self.stepped([torch.zeros_like(value) for value in gradient], moves, gradient)
        for _ in range(1, self.steps):
            _, gradient = self.probe(lambda: run.loss(batch), model, batch, moves.spread(move))
            move = self.stepped(move, moves, gradient)
        with self.moving(model, batch, moves.spread(move)):
            return loss + run(batch, weight=self.weight, name=self.name)
