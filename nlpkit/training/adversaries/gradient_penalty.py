"""Penalty on the gradient of the loss at the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.training.adversaries.adversary import Adversary, Site
from nlpkit.training.adversaries.moves import unit
from nlpkit.training.dropout import SameDropout
from nlpkit.training.stock_losses import with_head
from nlpkit.training.technique import Batch, Host, Items, Run


class GradientPenalty(Adversary):
    """Add ``weight / 2 * ||g||^2`` to the loss, with ``g`` the gradient of a row's loss at its embeddings.

    Source: kexue.fm/archives/7234, equation 8, and arXiv 1711.09404. ``g`` is the gradient of the summed loss of a row
    (a text), and the sum over rows is divided by the items of the step, as the loss is; with ``at="matrix"`` it is
    that of the whole batch's mean at the embedding matrix, as in the post. To first order the gradient of all this is
    that of ``FGM(epsilon=weight, normalise=False, include_clean=False)``.

    Args:
        weight: the post's epsilon.
        at: where, see ``Adversary``.
        delta: length of the moves by which the gradient of the penalty is measured, in units of the embedding's
            output: ``||g|| (L(x + delta u) - L(x - delta u)) / (2 delta)`` with ``u = g / ||g||``. The error grows
            with its square, that of rounding with its inverse: take 0.1 or more in bf16.
        exact: whether to differentiate twice instead, which fused attention cannot.
        still: token ids whose gradient is not penalised, see ``Adversary``.

    Raises:
        ValueError: ``exact`` and attention is not eager; ``delta`` is not positive; no gradient reaches the
            embeddings; the task has several terms with items of their own; or the model's outputs are not those of
            rows.

    Note:
        A step takes about four times as long, and holds the activations of two passes. It is the task's own loss that
        is penalised, without the terms of other techniques, which may couple rows. All passes have the same dropout.
        The value that is logged is that of the penalty itself.

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
        drawn = SameDropout(self._trainer.args.device)
        loss = run(batch)
        drawn.again()
        penalty = self._differentiated if self.exact else self._measured
        return loss + run.backward(self.name, penalty(run, model, batch, items, drawn))

    def _measured(self, run: Run, model: nn.Module, batch: Batch, items: Items, drawn: SameDropout) -> Tensor:
        moves, shares = self.probe(lambda: self._loss(run.forward(batch), batch, items), model, batch)
        gradient = self.per_row(moves, shares, items)
        lengths = moves.lengths(gradient)

        def loss_at(moves: Sequence[Tensor]) -> Tensor:
            drawn.again()
            with self.moving(model, batch, moves):
                return self._loss(_weighted(run.forward(batch), lengths), batch, items)

        ways = unit(moves, gradient)
        ahead, back = (loss_at(moves.spread([side * self.delta * way for way in ways])) for side in (1.0, -1.0))
        slope = (ahead - back) / (2 * self.delta)  # along g, taken for a constant: the gradient is that of ||g||^2 / 2
        return self.weight * (slope - slope.detach()) + self._penalty(shares, gradient)

    def _differentiated(self, run: Run, model: nn.Module, batch: Batch, items: Items, drawn: SameDropout) -> Tensor:
        with self.moving(model, batch) as calls:
            loss = self._loss(run.forward(batch), batch, items)
        found = torch.autograd.grad(loss, [call.move for call in calls], create_graph=True, allow_unused=True)
        moves, shares = self.gathered(calls, found)
        # Data parallelism waits for every parameter of the pass, and some have no part in the penalty.
        return self._penalty(shares, self.per_row(moves, shares, items)) + 0.0 * loss

    def _loss(self, outputs: Any, batch: Batch, items: Items) -> Tensor:
        return torch.stack(list(self._trainer.task_loss.terms(outputs, batch, items).values())).sum()

    def _penalty(self, shares: Sequence[Tensor], gradient: Sequence[Tensor]) -> Tensor:
        """Of gradients of a row's share in the step, and of its own loss: the sum over rows, divided by the items."""
        products = [(share * row).sum() for share, row in zip(shares, gradient, strict=True)]
        return self.weight / 2 * torch.stack(products).sum()


def _weighted(outputs: Any, rows: Tensor) -> Any:
    """Outputs of a model, with the gradient of each row multiplied by a number of its own, or of all rows by one."""

    def weighted(value: Any) -> Any:
        if not (isinstance(value, Tensor) and value.requires_grad and value.dim()):
            return value
        if rows.dim() and len(value) != len(rows):
            raise ValueError(
                f"GradientPenalty: an output of shape {tuple(value.shape)} is not that of {len(rows)} rows, of which "
                "each has a gradient of its own; give exact=True, or a head without sparse_prediction"
            )
        weights = rows.view(-1, *[1] * (value.dim() - 1)).to(value.dtype)
        copy = value.clone()  # an output may lie on the way to another one, whose gradient passes it as it is
        copy.register_hook(lambda gradient: gradient * weights)
        return copy

    if isinstance(outputs, Tensor):
        return weighted(outputs)
    if isinstance(outputs, tuple):
        return tuple(weighted(value) for value in outputs)
    return type(outputs)(**{name: weighted(value) for name, value in outputs.items()})
