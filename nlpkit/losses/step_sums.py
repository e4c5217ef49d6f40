"""Sums over the optimizer steps that are done, for losses that look back at their training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nlpkit.checked_number import checked_number
from nlpkit.losses.gathering import sum_over_processes


class StepSums(nn.Module):
    """Sums over each optimizer step and its processes, of which older steps count less and less.

    A loss is called once per micro-batch, and is not told when a step ends. But the Trainer hands all of a step's
    micro-batches one and the same tensor of items: another tensor is another step.

    Args:
        momentum: what a step's sums count once the next step is done; at least 0, below 1.
        *shape: of the sums.

    Raises:
        ValueError: the momentum is out of its range.

    Note:
        Nothing is added or closed where gradients are off, so evaluation leaves no trace. What a process adds is
        summed over all of them at once, so that a checkpoint, which one process writes, holds the sums of all.
        Processes must call ``add`` equally often, as they do where each of a Trainer's batches has labels.

    Example:
        >>> sums, step = StepSums(0.5, 1), torch.tensor(2)
        >>> for micro_batch in (1.0, 3.0):
        ...     _ = sums.before(step)
        ...     sums.add(torch.tensor([micro_batch]))
        >>> sums.before(step).item(), sums.before(torch.tensor(2)).item()
        (0.0, 2.0)
    """

    done: Tensor
    current: Tensor

    def __init__(self, momentum: float, *shape: int) -> None:
        super().__init__()
        self.momentum = checked_number("momentum", momentum, least=0, below=1, hint="such as 0.9")
        self.register_buffer("done", torch.zeros(shape))
        self.register_buffer("current", torch.zeros(shape))
        self._step: object = None

    def before(self, items: Tensor | float | None) -> Tensor:
        """The sums as they were before this step.

        Args:
            items: of the whole step, the same tensor for each of its micro-batches; ``None`` or a number means that a
                step has one batch.

        Returns:
            ``(1 - momentum) * sum of momentum^age * sums of a step``.
        """
        if torch.is_grad_enabled() and (items is not self._step or not isinstance(items, Tensor)):
            self.done = self.momentum * self.done + (1 - self.momentum) * self.current
            self.current = torch.zeros_like(self.current)
            self._step = items
        return self.done

    def restart(self) -> None:
        """Forget all steps."""
        self.done, self.current, self._step = torch.zeros_like(self.done), torch.zeros_like(self.current), None

    def add(self, found: Tensor) -> None:
        """Add to the sums of the step that is running, with what all other processes add."""
        if torch.is_grad_enabled():
            self.current = self.current + sum_over_processes(found.to(self.current.dtype))
