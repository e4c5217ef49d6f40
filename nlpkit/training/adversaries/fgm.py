"""The fast gradient method: one step against the model at its embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.training.technique import Batch, Host, Items, Run, Technique


class FGM(Technique):
    """Train on every batch once more, with the embedding of each row moved against its loss.

    Source: arXiv 1605.07725, equation 5, and kexue.fm/archives/7234. The move is ``epsilon * g / ||g||``, with ``g``
    the gradient at the output of the embedding and the norm taken over a row (a text), so that rows do not depend on
    each other, nor on how a step is cut into micro-batches. The post moves the embedding matrix instead.

    Args:
        epsilon: length of the move of a row, in units of the embedding's output.
        weight: of the loss at the moved embeddings, beside the loss as it is.
        at: the module whose output is moved; ``None`` means the input embedding. Give a module behind frozen
            embeddings, such as the first trained block, where these take no gradient.

    Raises:
        ValueError: no gradient reaches the module's output.

    Note:
        A step takes twice as long; activations of one pass are held at a time. Under DDP gradients are reduced twice.
    """

    def __init__(self, epsilon: float = 1.0, weight: float = 1.0, at: nn.Module | None = None) -> None:
        self.epsilon, self.weight, self.at = epsilon, weight, at

    def prepare(self, trainer: Host) -> None:
        """Finds the embedding."""
        model: Any = trainer.model
        self._module: nn.Module = model.get_input_embeddings() if self.at is None else self.at
        if self.at is None and not any(p.requires_grad for p in self._module.parameters()):
            raise ValueError(
                "FGM: the input embedding is frozen, so no gradient reaches its output; name a module behind it that "
                "is trained: FGM(at=...)"
            )

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch as it is, then moved."""
        with _watched(self._module) as outputs:
            loss = run(batch)
        moves = [self.epsilon * _unit_rows(self._gradient(output)) for output in outputs]
        with _moved(self._module, moves):
            return loss + run(batch, weight=self.weight, name=self.name)

    def _gradient(self, output: Tensor) -> Tensor:
        if output.grad is None:
            raise ValueError(f"FGM: no gradient reaches the output of {type(self._module).__name__}; give another at=")
        return output.grad


def _unit_rows(gradient: Tensor) -> Tensor:
    """Each row divided by its norm, zeros where there is none, shape as given, ``(batch, ...)``."""
    wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    norms = wide.flatten(1).norm(dim=1).view(-1, *[1] * (gradient.dim() - 1))
    return torch.where(norms > 0, wide / norms.clamp(min=torch.finfo(wide.dtype).tiny), 0.0).to(gradient.dtype)


@contextmanager
def _watched(module: nn.Module) -> Iterator[list[Tensor]]:
    """The outputs of a module, call by call, which keep their gradients."""
    outputs: list[Tensor] = []

    def keep(_: nn.Module, inputs: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        if tensor.requires_grad:
            tensor.retain_grad()
        outputs.append(tensor)

    handle = module.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()


@contextmanager
def _moved(module: nn.Module, moves: list[Tensor]) -> Iterator[None]:
    """The same calls of a module give outputs that are moved."""
    left = iter(moves)

    def move(_: nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return output[0] + next(left), *output[1:]
        return output + next(left)

    handle = module.register_forward_hook(move)
    try:
        yield
    finally:
        handle.remove()
