"""The penalty on gradients that a learning rate implies, made explicit, and a log of the implied one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.checked_number import checked_number
from nlpkit.training.differences import refuse_coarse_numbers, twin_passes
from nlpkit.training.technique import Batch, Host, Items, Run, Technique


class ImplicitGradient(Technique):
    """Add ``weight * ||g||^2`` to the loss, with ``g`` its gradient in all parameters.

    Source: arXiv 2009.11162 and kexue.fm/archives/7787: a step of gradient descent with rate ``r`` follows the flow of
    ``L + r/4 ||g||^2`` to an error of order ``r^3``, where that of ``L`` alone would leave one of order ``r^2``.
    With ``weight = r/4`` and a small rate, this is what the larger rate ``r`` does by itself.

    Args:
        weight: of the squared norm.
        delta: how far parameters are moved, in the norm of all of them together, to measure the gradient of the
            penalty: ``2 weight ||g|| (g(theta + delta g / ||g||) - g(theta)) / delta``. The error grows with it, that
            of rounding with its inverse: with the default 0.1 to 1.4% in fp32, in 4 layers, trained or not, and in 2
            random ones.

    Raises:
        ValueError: training in bf16, fp16 or TF32, in whose rounding the difference is lost; a loss with parameters of
            its own; accumulation, since the norm is that of the whole step's gradient; or ``delta`` is not positive.

    Note:
        A step takes twice as long, and twice the memory of parameters and of gradients. It penalises the loss of all
        techniques behind it in the list, over all processes; list it first, since adversaries before it would find
        their moves in both of its passes. Both have the same dropout and the same signs of ``Flooding``. That and
        sharpness-aware minimisation press on the same norm.

    Example:
        >>> ImplicitGradient(weight=0.01).scope
        'micro-batch'
    """

    scope = "micro-batch"

    def __init__(self, weight: float = 0.01, *, delta: float = 3e-4) -> None:
        self.weight = checked_number("ImplicitGradient: weight", weight, least=0)
        self.delta = checked_number("ImplicitGradient: delta", delta, above=0, hint="e.g. 3e-4")

    def prepare(self, trainer: Host) -> None:
        """Refuses numbers that are too coarse."""
        refuse_coarse_numbers("ImplicitGradient", trainer, "train in fp32")
        self._trainer = trainer

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch as it is, then at parameters that are moved along its gradient."""
        if any(p.requires_grad for p in self._trainer.task_loss.parameters()):
            raise ValueError("ImplicitGradient penalises gradients of the model, and this loss has parameters, too")
        parameters = [p for p in model.parameters() if p.requires_grad]
        before = _take_gradients(parameters)
        with twin_passes() as again:
            loss = run(batch)
            plain = _take_gradients(parameters)
            norm = torch.stack([gradient.norm() for gradient in plain]).norm()
            again()
            with _moved(parameters, plain, self.delta / norm.clamp(min=torch.finfo(norm.dtype).tiny)):
                run(batch, name=self.name, shown=0.0)
        factor = 2 * self.weight * norm / self.delta
        for parameter, start, here, there in zip(parameters, before, plain, _take_gradients(parameters), strict=True):
            parameter.grad = start + here + factor * (there - here)
        penalty = self.weight * norm.square()
        run.log(self.name, penalty / self._trainer.args.world_size)
        return loss + penalty


class ImplicitGradientLog(Technique):
    """Log ``rate / 4 * ||g||^2``: the penalty that gradient descent with this rate adds to the loss by itself.

    Source: arXiv 2009.11162 and kexue.fm/archives/7787.

    Note:
        ``g`` is the gradient that the optimizer gets, after clipping: with ``max_grad_norm`` the step is that of a
        clipped loss, and so is the penalty. It is what SGD implies, not what Adam or momentum do. Changes nothing in
        training.

    Example:
        >>> ImplicitGradientLog().name
        'implicit_gradient_log'
    """

    def prepare(self, trainer: Host) -> None:
        """Needs the trainer's log."""
        self._trainer = trainer

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Logs the penalty, over all groups of the optimizer with the rate of each."""
        penalties = [
            group["lr"] / 4 * p.grad.square().sum()
            for group in others["optimizer"].param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        if penalties:
            self._trainer.log_term(self.name, torch.stack(penalties).sum() / args.world_size)


def _take_gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The gradients, zeros where there are none; parameters have none afterwards."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    return gradients


@contextmanager
def _moved(parameters: Sequence[nn.Parameter], way: Sequence[Tensor], length: Tensor) -> Iterator[None]:
    """Within, parameters are moved; afterwards they are what they were, to the bit."""
    saved = [p.detach().clone() for p in parameters]
    try:
        with torch.no_grad():
            for parameter, direction in zip(parameters, way, strict=True):
                parameter.add_(length * direction)
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, saved, strict=True):
                parameter.copy_(value)
