"""The fast gradient method: one step against the model at its embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nlpkit.checked_number import checked_number
from nlpkit.training.adversaries.adversary import Adversary, Site
from nlpkit.training.adversaries.moves import stretched, unit
from nlpkit.training.technique import Batch, Items, Run


class FGM(Adversary):
    """Train on every batch once more, with the embedding of each row moved against its loss.

    Source: arXiv 1605.07725, equation 5, and kexue.fm/archives/7234. The move is ``epsilon * g / ||g||``, with ``g``
    the gradient at the output of the embedding and the norm taken over a row (a text), so that rows do not depend on
    each other, nor on how a step is cut into micro-batches.

    Args:
        epsilon: length of the move of a row, see ``relative``.
        weight: of the loss at the moved embeddings.
        at: what is moved, see ``Adversary``. The post's is ``FGM(0.5, at="matrix", relative=False,
            include_clean=False)``, one move for a whole batch: of ``n`` rows with gradients alike and few tokens in
            common, each moves ``epsilon / sqrt(n)``.
        include_clean: whether the loss as it is counts, too, as in most implementations; ``False`` updates by the
            loss at the moved embeddings alone, as the post does.
        relative: whether lengths are shares of the length of what is moved: of a row's embeddings, all its tokens
            together, or of the tokens' rows of the matrix. Otherwise they are in its own units, as in papers: in those
            0.5 moves a row by 7% of its length in the shipped model, by 0.5% in a T5.
        normalise: whether the move has the length ``epsilon``; otherwise it is ``epsilon * g``, whatever ``relative``
            says, with ``g`` the gradient of the row's summed loss, which to first order is
            ``GradientPenalty(epsilon)`` (the post, equation 7).
        still: token ids that are not moved, see ``Adversary``.

    Raises:
        ValueError: no gradient reaches what is to be moved.

    Note:
        A step takes twice as long; activations of one pass are held at a time. Under DDP gradients are reduced twice.

    Example:
        >>> FGM(epsilon=0.5, at="matrix", include_clean=False).scope
        'micro-batch'
    """

    def __init__(
        self,
        epsilon: float = 0.02,
        weight: float = 1.0,
        at: Site = None,
        *,
        relative: bool = True,
        include_clean: bool = True,
        normalise: bool = True,
        still: Sequence[int] = (),
    ) -> None:
        super().__init__(weight, at, still)
        self.epsilon = checked_number("FGM: epsilon", epsilon, least=0)
        self.relative, self.include_clean, self.normalise = relative, include_clean, normalise

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch as it is, then moved."""
        loss = torch.zeros((), device=self._trainer.args.device)
        if self.include_clean and self.normalise:
            loss, moves, gradient = self.watch(run, model, batch)
        else:
            moves, gradient = self.probe(lambda: run.loss(batch), model, batch)
            if self.include_clean:
                loss = run(batch)
        if self.normalise:
            move = stretched(unit(moves, gradient), self.reach(moves, self.epsilon))
        else:
            move = stretched(self.per_row(moves, gradient, items), self.epsilon)
        with self.moving(model, batch, moves.spread(move)):
            return loss + run(batch, weight=self.weight, name=self.name)
