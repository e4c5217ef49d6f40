"""Penalty on the gradient of the loss at the embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nlpkit.training.adversaries.adversary import Adversary, Site
from nlpkit.training.dropout import SameDropout
from nlpkit.training.stock_losses import with_head
from nlpkit.training.technique import Batch, Host, Items, Run


class GradientPenalty(Adversary):
    """Add ``weight / 2 * ||g||^2`` to the loss, with ``g`` the gradient of a row's loss at its embeddings.

    Source: kexue.fm/archives/7234, equation 9, and arXiv 1711.09404. ``g`` is the gradient of the summed loss of a row
    (a text), and the sum over rows is divided by the items of the step, as the loss is; with ``at="matrix"`` it is
    that of the whole batch's mean at the embedding matrix, as in the post. To first order the gradient of this is that of
    ``FGM(epsilon=weight, normalise=False, include_clean=False)``.

    Args:
        weight: the post's epsilon.
        at: where, see ``Adversary``.
        delta: how far, in units of ``g``, the two points lie from the embedding between which the gradient of the
            penalty is measured: ``(L(x + delta g) - L(x - delta g)) / (2 delta)``. Its error grows with its square,
            and rounding with its inverse.
        exact: whether to differentiate twice instead, which fused attention cannot.
        still: token ids whose gradient is not penalised, see ``Adversary``.

    Raises:
        ValueError: ``exact`` and attention is not eager; ``delta`` is not positive; no gradient reaches the
            embeddings; or the task has several terms with items of their own.

    Note:
        A step takes about four times as long, and holds the activations of two passes. All of its own passes have the
        same dropout. The value that is logged is that of the penalty itself.

    Example:
        >>> GradientPenalty(weight=0.5).name
        'gradient_penalty'
    """

    def __init__(
        self,
        weight: float = 1.0,
        at: Site = None,
        *,
        delta: float = 1e-2,
        exact: bool = False,
        still: Sequence[int] = (),
    ) -> None:
        super().__init__(weight, at, still)
        if delta <= 0:
            raise ValueError(f"GradientPenalty: delta={delta} must be positive, e.g. 1e-2")
        self.delta, self.exact = delta, exact

    def prepare(self, trainer: Host) -> None:
        """Refuses fused attention where it is to be differentiated twice."""
        super().prepare(trainer)
        attention = getattr(getattr(with_head(trainer.model), "config", None), "_attn_implementation", "eager")
        if self.exact and attention != "eager":
            raise ValueError(
                f"GradientPenalty(exact=True) differentiates twice, which {attention} attention cannot: call "
                "model.set_attn_implementation('eager') before training, or leave exact=True out"
            )

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch as it is, then the gradient of the penalty."""
        loss = run(batch)
        return loss + (
            self._differentiated(run, model, batch, items) if self.exact else self._measured(run, model, batch, items)
        )

    def _measured(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        drawn = SameDropout(self._trainer.args.device)
        moves, gradient = self.probe(run, model, batch)
        rows = self.per_row(moves, gradient, items)
        losses = []
        for ahead in (self.delta, -self.delta):
            drawn.again()
            with self.moving(model, batch, moves.spread([ahead * row for row in rows])):
                losses.append(run.loss(batch))
        slope = (losses[0] - losses[1]) / (2 * self.delta)  # of the loss along g, whose own gradient is wanted
        penalty = self._penalty(gradient, rows)
        return run.backward(self.name, self.weight * (slope - slope.detach()) + penalty)

    def _differentiated(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        with self.moving(model, batch) as calls:
            loss = run.loss(batch)
            found = torch.autograd.grad(loss, [call.move for call in calls], create_graph=True, allow_unused=True)
            moves, gradient = self.gathered(calls, found)
            penalty = self._penalty(gradient, self.per_row(moves, gradient, items))
            # Data parallelism waits for every parameter of the pass, and some have no part in the penalty.
            return run.backward(self.name, penalty + 0.0 * loss)

    def _penalty(self, gradient: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
        """Of gradients of a row's share in the step and of its own loss: the sum over rows, divided by the items."""
        products = [(share * row).sum() for share, row in zip(gradient, rows, strict=True)]
        return self.weight / 2 * torch.stack(products).sum()
