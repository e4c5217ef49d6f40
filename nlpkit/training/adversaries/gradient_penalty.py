"""Penalty on the gradient of the loss at the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.training.adversaries.adversary import Adversary, Site
from nlpkit.training.adversaries.moves import Moves
from nlpkit.training.dropout import SameDropout
from nlpkit.training.stock_losses import with_head
from nlpkit.training.technique import Batch, Host, Items, Run, total


class GradientPenalty(Adversary):
    """Add ``weight / 2 * ||g||^2`` to the loss, with ``g`` the gradient of a row's loss at its embeddings.

    Source: kexue.fm/archives/7234, equation 8, and arXiv 1711.09404. ``g`` is the gradient of the summed loss of a row
    (a text), and the sum over rows is divided by the items of the step, as the loss is; with ``at="matrix"`` it is
    that of the whole batch's mean at the embedding matrix, as in the post.

    The gradient of the penalty is a finite difference of gradients, ``(dL/dtheta(x + k g) - dL/dtheta(x)) / k``, so
    that two passes do: the batch as it is with weight ``1 - weight / k``, and moved by ``k g`` with ``weight / k``.
    With ``k = weight`` this is ``FGM(epsilon=weight, normalise=False, include_clean=False)``.

    Args:
        weight: the post's epsilon.
        at: where, see ``Adversary``.
        delta: mean length of a row's move, in units of the embedding's output: ``k`` is ``delta`` divided by the mean
            length of ``g`` in the step before. The error grows with it, that of rounding with its inverse.
        exact: whether to differentiate twice instead, which fused attention cannot: for tests and small models.
        still: token ids whose gradient is not penalised, see ``Adversary``.

    Raises:
        ValueError: ``exact`` and attention is not eager; ``delta`` is not positive; no gradient reaches the
            embeddings; the task has several terms with items of their own; or gradients are scaled (fp16).

    Note:
        A step takes twice as long, the first one three times, and holds the activations of one pass. Both passes have
        the same dropout. What is penalised is all of the loss, with the terms of the techniques that stand behind
        this one; ``exact`` takes the task's own alone. The value that is logged is that of the penalty.

    Example:
        >>> GradientPenalty(weight=0.5).name
        'gradient_penalty'
    """

    def __init__(
        self,
        weight: float = 1.0,
        at: Site = None,
        *,
        delta: float = 0.1,
        exact: bool = False,
        still: Sequence[int] = (),
    ) -> None:
        super().__init__(weight, at, still)
        if delta <= 0:
            raise ValueError(f"GradientPenalty: delta={delta} must be positive, e.g. 0.1")
        self.delta, self.exact = delta, exact
        self._length = torch.zeros((), dtype=torch.float64)  # mean of a step's rows; 0 before the first
        self._seen = torch.zeros(2, dtype=torch.float64)  # sum and number of the lengths of the step that is running

    def prepare(self, trainer: Host) -> None:
        """Refuses fused attention where it is to be differentiated twice, and gradients that are scaled."""
        super().prepare(trainer)
        attention = getattr(getattr(with_head(trainer.model), "config", None), "_attn_implementation", "eager")
        if self.exact and attention != "eager":
            raise ValueError(
                f"GradientPenalty(exact=True) differentiates twice, which {attention} attention cannot: call "
                "model.set_attn_implementation('eager') before training, or leave exact=True out"
            )
        if trainer.args.fp16:
            raise ValueError("GradientPenalty needs the size of gradients, which fp16 scales: train with bf16=True")

    def begin(self, run: Run, model: nn.Module, batches: Sequence[Batch], items: Items) -> None:
        """Before the first step, find out how long gradients are."""
        self._seen.zero_()
        if self.exact or self._length > 0:
            return
        for batch in batches:
            drawn = SameDropout(self._trainer.args.device)
            self._note(*self._gradient(self.probe(partial(run.loss, batch), model, batch), items))
            drawn.again()
        self._settle()

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch as it is, then moved along the gradient; or the penalty's own gradient."""
        drawn = SameDropout(self._trainer.args.device)
        if self.exact:
            loss = run(batch)
            drawn.again()
            return loss + run.backward(self.name, self._differentiated(run, model, batch, items))
        reach, share = self._reach()
        with self.moving(model, batch) as calls:
            loss = run(batch, weight=1 - share, shown=1.0) / (1 - share)
        slopes = [None if slope is None else slope / (1 - share) for slope in self.slopes(calls)]
        moves, gradient = self._gradient(self.gathered(calls, slopes), items)
        self._note(moves, gradient)
        drawn.again()
        with self.moving(model, batch, moves.spread([reach * value for value in gradient])):
            run(batch, weight=share, name=self.name, shown=0.0)
        penalty = self.weight / 2 * self._squares(moves, gradient, items)
        run.log(self.name, penalty)
        return loss + penalty * self._trainer.scale

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Takes the mean length of the step for the next one."""
        if not self.exact and self.active:
            self._settle()

    def state_dict(self) -> dict[str, Tensor]:
        """The mean length of the last step."""
        return {"length": self._length}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes it over."""
        self._length = state["length"]

    def _reach(self) -> tuple[float, float]:
        """``k``, and the share of the moved pass; not so near to 1 that nothing is left of the other."""
        length = self._length.item()
        reach = self.delta / length if length > 0 else self.weight
        share = self.weight / reach
        return (reach, share) if abs(1 - share) > 0.1 else (2 * reach, share / 2)

    def _gradient(self, found: tuple[Moves, list[Tensor]], items: Items) -> tuple[Moves, list[Tensor]]:
        moves, shares = found
        return moves, self.per_row(moves, shares, items)

    def _note(self, moves: Moves, gradient: Sequence[Tensor]) -> None:
        lengths = moves.lengths(gradient).detach().double().cpu()
        self._seen += torch.stack([lengths.sum(), torch.tensor(float(lengths.numel()))])

    def _settle(self) -> None:
        seen = self._seen.to(self._trainer.args.device)
        if self._trainer.args.world_size > 1:
            torch.distributed.all_reduce(seen)
        self._length = (seen[0] / seen[1].clamp(min=1)).cpu()
        self._seen = torch.zeros_like(self._seen)

    def _squares(self, moves: Moves, gradient: Sequence[Tensor], items: Items) -> Tensor:
        """The squared length of rows' gradients, summed and divided by the items."""
        return torch.stack([value.square().sum() for value in gradient]).sum() / moves.items(items["loss"])

    def _differentiated(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        with self.moving(model, batch) as calls:
            outputs = run.forward(batch)
            loss = total(self._trainer.task_loss.terms(outputs, batch, items))
        found = torch.autograd.grad(loss, [call.move for call in calls], create_graph=True, allow_unused=True)
        moves, gradient = self._gradient(self.gathered(calls, found), items)
        # Data parallelism waits for every parameter of the pass, and some have no part in the penalty.
        return self.weight / 2 * self._squares(moves, gradient, items) + 0.0 * loss
