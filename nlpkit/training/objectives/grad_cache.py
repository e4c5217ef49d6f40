"""Losses over large batches in the memory of small ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nlpkit.losses.batch_loss import BatchLoss
from nlpkit.training.random_state import RandomState
from nlpkit.training.technique import Batch, Host, Items, Run, Technique, Terms


class GradCache(Technique):
    """Make one batch of all micro-batches of a step, for a loss that couples the rows of a batch.

    Source: gradient caching, arXiv 2101.06983. Before the step, all micro-batches run without graph; the loss of their
    outputs together, over all processes, gives the gradient at each output. Then every micro-batch runs again, with
    the same dropout, and takes its outputs' gradients back to the parameters. The step's gradient is that of the
    whole batch, not an approximation.

    Raises:
        ValueError: the loss is one of single items, which needs no cache, or another technique runs batches more than
            once.

    Note:
        A forward pass more: about half as much time again (measured: 1.54 of a step); memory is that of one
        micro-batch, and the outputs of the step.

    Example:
        >>> GradCache().joins_micro_batches
        True
    """

    joins_micro_batches: ClassVar[bool] = True

    def prepare(self, trainer: Host) -> None:
        """Refuses techniques whose further passes have other outputs than those that are held."""
        self._trainer = trainer
        for technique in trainer.techniques:
            if technique.judges_passes:
                name = type(technique).__name__
                raise ValueError(
                    f"GradCache beside {name}: GradCache has found the gradients at the outputs of one pass of each "
                    f"micro-batch before any runs, and {name} wraps their passes, to repeat them or to judge the loss "
                    "of each, which here is an even share of the whole batch's: leave one of them out; without "
                    "GradCache such a loss needs gradient_accumulation_steps=1"
                )

    @property
    def judges_passes(self) -> bool:
        """It runs each micro-batch once, in the state of its random numbers that it has kept."""
        return False

    def begin(self, run: Run, model: nn.Module, batches: Sequence[Batch], items: Items) -> None:
        """Run the step without graph, and find the gradient at each output."""
        loss = self._loss()
        self._states: list[RandomState] = []
        parts: list[tuple[Tensor, Tensor]] = []
        with torch.no_grad():
            for batch in batches:
                self._states.append(RandomState())
                parts.append(loss.items_of_batch(run.forward(batch), batch))
        outputs = torch.cat([part for part, _ in parts]).requires_grad_()
        with torch.enable_grad():
            share = loss.joint(outputs, torch.cat([labels for _, labels in parts]))
            own = [parameter for parameter in loss.parameters() if parameter.requires_grad]
            at_outputs, *at_own = torch.autograd.grad(share, [outputs, *own], allow_unused=True)
        self._gradients = at_outputs.split([len(part) for part, _ in parts])
        self._own = [(p, gradient) for p, gradient in zip(own, at_own, strict=True) if gradient is not None]
        self._part = share.detach() / len(batches)
        self._place = -1

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The micro-batch with the dropout that it had before."""
        self._place += 1
        with self._states[self._place].replayed():
            return run(batch)

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """Has the value of the loss, shared out evenly, and the gradient that is held."""
        logits, _ = self._loss().items_of_batch(outputs, batch)
        carrier = (logits * self._gradients[self._place]).sum()
        if self._place == 0:  # those of the loss's own parameters are of the step: any one micro-batch can take them
            carrier = carrier + sum((parameter * gradient).sum() for parameter, gradient in self._own)
        return {"loss": carrier + (self._part - carrier).detach()} | terms

    def _loss(self) -> BatchLoss:
        loss = self._trainer.task_loss
        if loss.scope == "micro-batch" and not isinstance(loss, BatchLoss):
            raise ValueError(
                f"GradCache joins a BatchLoss alone, and {type(loss).__name__} is one with something around it: take "
                "that off, or set gradient_accumulation_steps=1 and leave GradCache out"
            )
        if not isinstance(loss, BatchLoss):
            raise ValueError(
                f"GradCache is for losses that couple the rows of a batch; {loss} is a sum over items, which is right "
                "under accumulation as it is"
            )
        return loss
