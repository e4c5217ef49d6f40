"""Penalty on the gradient of the loss at the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.checked_number import checked_number
from nlpkit.training.adversaries.adversary import Adversary, Site
from nlpkit.training.adversaries.moves import Moves, stretched
from nlpkit.training.differences import refuse_coarse_numbers, twin_passes
from nlpkit.training.precision import refuse_scaled_gradients
from nlpkit.training.random_state import RandomState
from nlpkit.training.task_loss.stock_losses import with_head
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
        delta: mean length of a row's move, as a share of the mean length of what is moved (in the step before, both):
            ``k`` follows from it. The error grows with it, that of rounding with its inverse. Measured against
            ``exact`` in fp32, the gradient of the penalty is off by 0.3 to 2% with the default, in 4 layers, trained
            or not, and in 2 random ones.
        exact: whether to differentiate twice instead, which fused attention cannot: for bf16, tests and small models.
        still: token ids whose gradient is not penalised, see ``Adversary``.

    Raises:
        ValueError: ``exact`` and attention is not eager; ``delta`` is not positive; no gradient reaches the
            embeddings; the task has several terms with items of their own; gradients are scaled (fp16); or numbers
            have less than fp32 (bf16, TF32), unless ``exact``.

    Note:
        A step takes twice as long, the first one three times, and holds the activations of one pass. Both passes have
        the same dropout and the same signs of ``Flooding``. What is penalised is all of the loss, with the terms of
        the techniques that stand behind this one; ``exact`` takes the task's own alone. The value that is logged is
        that of the penalty.

    Example:
        >>> GradientPenalty(weight=0.5).name
        'gradient_penalty'
    """

    def __init__(
        self,
        weight: float = 1.0,
        at: Site = None,
        *,
        delta: float = 1e-5,
        exact: bool = False,
        still: Sequence[int] = (),
    ) -> None:
        super().__init__(weight, at, still)
        self.delta, self.exact = checked_number("GradientPenalty: delta", delta, above=0, hint="e.g. 1e-5"), exact
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._ratio = torch.zeros((), dtype=torch.float64)  # of what is moved to gradients; 0 before the first step
        self._seen = torch.zeros(2, dtype=torch.float64)  # sums of the lengths of both in the step that is running

    def prepare(self, trainer: Host) -> None:
        """Refuses fused attention where it is to be differentiated twice, and gradients that are scaled."""
        super().prepare(trainer)
        attention = getattr(getattr(with_head(trainer.model), "config", None), "_attn_implementation", "eager")
        if self.exact and attention != "eager":
            raise ValueError(
                f"GradientPenalty(exact=True) differentiates twice, which {attention} attention cannot: call "
                "model.set_attn_implementation('eager') before training, or leave exact=True out"
            )
        refuse_scaled_gradients(
            self.title, trainer, "it needs the size of gradients; train in fp32, or in bf16 with exact=True"
        )
        if not self.exact:
            refuse_coarse_numbers(
                self.title,
                trainer,
                "train in fp32, or give exact=True, which is right in bf16 and needs eager attention",
            )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Forgets an earlier training, unless one is resumed."""
        super().on_train_begin(args, state, control, **others)
        if state.global_step == 0:
            self._begin_anew()

    def begin(self, run: Run, model: nn.Module, batches: Sequence[Batch], items: Items) -> None:
        """Before the first step, find out how long gradients are."""
        self._seen.zero_()
        if self.exact or self._ratio > 0:
            return
        for batch in batches:
            drawn = RandomState()
            self._note(*self._gradient(self.probe(partial(run.loss, batch), model, batch), items))
            drawn.again()
        self._settle()

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch as it is, then moved along the gradient; or the penalty's own gradient."""
        with twin_passes() as again:
            if self.exact:
                loss = run(batch)
                again()
                return loss + run.backward(self.name, self._differentiated(run, model, batch, items))
            reach, share = self._reach()
            with self.moving(model, batch) as calls:
                loss = run(batch, weight=1 - share, shown=1.0) / (1 - share)
            slopes = [None if slope is None else slope / (1 - share) for slope in self.slopes(calls)]
            moves, gradient = self._gradient(self.gathered(calls, slopes), items)
            self._note(moves, gradient)
            again()
            with self.moving(model, batch, moves.spread(stretched(gradient, reach))):
                run(batch, weight=share, name=self.name, shown=0.0)
        penalty = self.weight / 2 * self._squares(moves, gradient, items)
        run.log(self.name, penalty)
        return loss + penalty * self._trainer.scale

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Takes the lengths of the step for the next one."""
        if not self.exact and self.active:
            self._settle()

    def state_dict(self) -> dict[str, Tensor]:
        """How long, against gradients, what is moved was in the last step."""
        return {"ratio": self._ratio}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes it over."""
        self._ratio = state["ratio"]

    def _reach(self) -> tuple[float, float]:
        """``k``, and the share of the moved pass; not so near to 1 that nothing is left of the other."""
        ratio = self._ratio.item()
        reach = self.delta * ratio if ratio > 0 else self.weight
        share = self.weight / reach
        return (reach, share) if abs(1 - share) > 0.1 else (2 * reach, share / 2)

    def _gradient(self, found: tuple[Moves, list[Tensor]], items: Items) -> tuple[Moves, list[Tensor]]:
        moves, shares = found
        return moves, self.per_row(moves, shares, items)

    def _note(self, moves: Moves, gradient: Sequence[Tensor]) -> None:
        lengths = [moves.own_lengths.sum(), moves.lengths(gradient).detach().sum()]
        self._seen += torch.stack(lengths).double().cpu()

    def _settle(self) -> None:
        seen = self._seen.to(self._trainer.args.device)
        if self._trainer.args.world_size > 1:
            torch.distributed.all_reduce(seen)
        self._ratio = (seen[0] / seen[1]).nan_to_num(posinf=0.0).cpu()
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
