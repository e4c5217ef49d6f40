"""A penalty on weights that shifting scale between layers cannot escape."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import at_least_fp32
from nlpkit.training.technique import Batch, Host, Items, Technique, Terms


def weight_scale_invariant_penalty(
    weights: Sequence[Tensor], l1: float = 1.0, l2: float = 0.0, *, floor: float = 1e-3
) -> Tensor:
    """``l1 * sum log ||W|| + l2 * sum || W / ||W|| ||_1``, norms of Frobenius.

    Args:
        weights: of layers, any shapes.
        l1: of the logarithms.
        l2: of the 1-norms of directions.
        floor: norms below it count as this, and are not pressed further: the logarithm has no lower bound, and its
            gradient grows without one as a weight shrinks.

    Returns:
        The penalty, shape ``()``. The same after ``W_l -> c_l W_l`` where the product of all ``c_l`` is 1.

    Example:
        >>> first, second = torch.ones(2, 2), torch.eye(2)
        >>> [round(weight_scale_invariant_penalty(pair, 1.0, 1.0).item(), 4)
        ...  for pair in ((first, second), (first * 4, second / 4))]
        [4.4539, 4.4539]
    """
    total = torch.zeros((), device=weights[0].device)
    for weight in map(at_least_fp32, weights):
        norm = torch.linalg.vector_norm(weight).clamp(min=floor)
        total = total + l1 * norm.log() + l2 * (weight / norm).abs().sum()
    return total


class WeightScaleInvariant(Technique):
    """Add a penalty on weights that is the same however their scale is spread over layers.

    Source: WEISSI, arXiv 2008.02965, and kexue.fm/archives/7681: see ``weight_scale_invariant_penalty``. A network of
    linear layers and ReLU is the same function after ``W_l -> c_l W_l`` where the product of all ``c_l`` is 1;
    ``sum ||W||^2`` is not the same, so that weight decay can be had for nothing.

    Args:
        weight: of the whole penalty.
        parameters: which are penalised: their names, or a function of name and parameter that says so.
        l1: of ``sum log ||W||``.
        l2: of the 1-norms of directions.
        floor: of norms.

    Raises:
        ValueError: no parameter that is trained is chosen, or a name is none.

    Note:
        The same in every step whatever its micro-batches and processes; each pass of techniques behind it in the list
        (``FGM``) has it once more. The reason holds for stacks of layers with ReLU-like activations, such as the head
        of a classifier; before a LayerNorm the scale of a weight makes no difference at all, and residual streams of
        a Transformer are not of this form. Under AdamW a term of the loss is not decay. No figures of its use are
        public beside the paper's own.

    Example:
        >>> WeightScaleInvariant(1e-3, parameters=lambda name, p: name.startswith("classifier") and p.dim() > 1).name
        'weight_scale_invariant'
    """

    def __init__(
        self,
        weight: float = 1.0,
        *,
        parameters: Callable[[str, nn.Parameter], bool] | Collection[str],
        l1: float = 1.0,
        l2: float = 0.0,
        floor: float = 1e-3,
    ) -> None:
        name = "WeightScaleInvariant"
        self.weight = checked_number(f"{name}: weight", weight, least=0)
        self.l1 = checked_number(f"{name}: l1", l1, least=0)
        self.l2 = checked_number(f"{name}: l2", l2, least=0)
        self.floor = checked_number(f"{name}: floor", floor, above=0)
        self.parameters = parameters

    def prepare(self, trainer: Host) -> None:
        """Chooses the parameters."""
        named = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
        if callable(self.parameters):
            chosen = {name: p for name, p in named.items() if self.parameters(name, p)}
        else:
            missing = [name for name in self.parameters if name not in named]
            if missing:
                raise ValueError(f"WeightScaleInvariant: no trained parameter is called {missing[0]!r}")
            chosen = {name: named[name] for name in self.parameters}
        if not chosen:
            raise ValueError(
                f"WeightScaleInvariant: parameters chooses none of the {len(named)} that are trained, such as "
                f"{next(iter(named), 'none')!r}"
            )
        self._weights = list(chosen.values())

    def items(self, batch: Batch) -> dict[str, Tensor]:
        """Micro-batches, since each adds the whole penalty."""
        return {self.name: torch.tensor(1)}

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """Adds the penalty."""
        penalty = weight_scale_invariant_penalty(self._weights, self.l1, self.l2, floor=self.floor)
        return terms | {self.name: self.weight * penalty / items[self.name]}
