"""How many items an optimizer step has, over its micro-batches and processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from nlpkit.losses.loss import Loss
from nlpkit.training.technique import Batch, Technique


def step_items(
    loss: Loss, techniques: Sequence[Technique], batches: Iterable[Batch], accelerator: Accelerator
) -> dict[str, Tensor]:
    """The items of a step, by the name of what is averaged over them.

    Args:
        loss: of the task.
        techniques: those that act.
        batches: of the step, on this process.
        accelerator: adds up over processes.

    Returns:
        Tensors of shape ``()`` on the device; 1 where there are none.

    Example:
        >>> from nlpkit.losses import CrossEntropyLoss
        >>> batches = [{"labels": torch.tensor([1, -100])}, {"labels": torch.tensor([0, 2])}]
        >>> step_items(CrossEntropyLoss(), [], batches, Accelerator(cpu=True))
        {'loss': tensor(3)}
    """
    counts: dict[str, Tensor] = {}
    for batch in batches:
        for found in (loss.items_of(batch), *(technique.items(batch) for technique in techniques)):
            for name, count in found.items():
                counts[name] = counts.get(name, 0) + count.to(accelerator.device)
    if accelerator.num_processes > 1:
        summed = accelerator.reduce(torch.stack([count.double() for count in counts.values()]), "sum")
        counts = dict(zip(counts, summed, strict=True))
    return {name: count + (count == 0) for name, count in counts.items()}  # weights may add up to less than 1
