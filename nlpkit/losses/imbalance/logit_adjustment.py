"""Logit adjustment: the frequencies of classes belong into the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlpkit.checked_number import checked_number
from nlpkit.losses.imbalance.margin_loss import MarginLoss
from nlpkit.losses.item_losses import binary_cross_entropies
from nlpkit.losses.labels import (
    cells,
    checked_cells,
    checked_indices,
    class_indices,
    label_tensor,
    one_per_label,
    refuse_probabilities,
)
from nlpkit.losses.last_layer import last_layer, refuse_folded
from nlpkit.losses.loss import at_least_fp32

Prior = Sequence[float] | Tensor


def class_priors(
    labels: Sequence[Any] | Tensor, num_labels: int, smoothing: float = 1.0, *, multi_label: bool = False
) -> Tensor:
    """How often each class occurs in training labels.

    Source: counts as in arXiv 2007.07314, section 3; with one added to each, Laplace's rule of succession.

    Args:
        labels: class indices, of any shape; with ``multi_label`` 0 and 1, shape ``(rows, num_labels)``. -100 counts
            for nothing. Of the training split alone.
        num_labels: number of classes.
        smoothing: added to the count of each class (of each answer, with ``multi_label``), so that none is 0.
        multi_label: each class has a frequency of its own, in place of one distribution.

    Returns:
        Probabilities in fp32, shape ``(num_labels,)``.

    Raises:
        ValueError: labels are no classes, or of the other kind, or there is nothing to count; or a number is out of
            its range.

    Example:
        >>> class_priors([0, 0, 0, 1, -100], num_labels=3)
        tensor([0.5714, 0.2857, 0.1429])
    """
    checked_number("num_labels", num_labels, least=1, whole=True)
    checked_number("smoothing", smoothing, least=0, hint="1 leaves no class without a probability")
    given = label_tensor(labels)
    if multi_label:
        if given.dim() != 2 or given.shape[1] != num_labels:
            raise ValueError(f"labels are of shape {tuple(given.shape)}; multi_label=True needs (rows, {num_labels})")
        known = given != -100
        checked_cells(given[known])
        return _normalised((given == 1).sum(0) + smoothing, known.sum(0) + 2 * smoothing)
    counts = torch.bincount(checked_indices(given[given != -100], num_labels), minlength=num_labels) + smoothing
    return _normalised(counts, counts.sum())


def log_priors(prior: Prior, *, multi_label: bool = False) -> Tensor:
    """What a prior adds to logits: its logarithm, or that of the odds of each class.

    Args:
        prior: probabilities above 0, shape ``(classes,)``, that sum to 1; with ``multi_label`` each below 1.
        multi_label: a probability for each class, in place of one distribution.

    Returns:
        Shape ``(classes,)``, in fp32, or in fp64 if the prior is.

    Raises:
        ValueError: the prior is none.

    Example:
        >>> log_priors([0.9, 0.1])
        tensor([-0.1054, -2.3026])
    """
    given = at_least_fp32(torch.as_tensor(prior))
    if given.dim() != 1 or len(given) == 0:
        raise ValueError(f"prior is of shape {tuple(given.shape)}; give a probability for each class")
    if not (given > 0).all():
        place = int((~(given > 0)).nonzero()[0])
        raise ValueError(
            f"prior[{place}] is {given[place].item():.4g}, which has no finite logarithm: count with "
            "class_priors(labels, num_labels, smoothing=1)"
        )
    if multi_label:
        if not (given < 1).all():
            raise ValueError(
                f"prior has a probability of {given.max().item():.4g}; with multi_label=True each is below 1"
            )
        return given.logit()
    if not abs(given.sum().item() - 1) < 1e-4:
        raise ValueError(
            f"prior sums to {given.sum().item():.4g}, not to 1: give class_priors(labels, num_labels), or divide by "
            "the sum; probabilities of each class alone are for multi_label=True"
        )
    return given.log()


class LogitAdjustedLoss(MarginLoss):
    """Cross-entropy of logits to which the logarithm of the classes' frequencies is added.

    Source: arXiv 2007.07314, equation 10; kexue.fm/archives/7615, which comes to it from mutual information. The
    model learns what a text says about its class beside how often the class occurs: by ``logits`` it predicts for
    balanced accuracy, and by ``logits + tau * log prior`` for accuracy.

    Args:
        prior: frequencies in the training split, as ``class_priors`` counts them, shape ``(classes,)``.
        tau: 1 makes balanced accuracy largest where the model can fit the data; 0 is cross-entropy.
        multi_label: labels are 0 or 1 for each logit, and the logarithm of each class's odds is added.

    Raises:
        ValueError: the prior is none, or of another number of classes than the logits; ``tau`` is not finite; or
            labels are of another kind.

    Note:
        The same as a frozen bias ``tau * log prior`` in the head while training. Nothing of it is needed to use the
        model: its own logits are the balanced ones, and ``fold_priors(model, prior, tau=-1.0)`` makes those for
        accuracy of them for good. ``posthoc_adjust`` does the reverse for a model trained by cross-entropy.

    Example:
        >>> loss = LogitAdjustedLoss([0.9, 0.1])
        >>> loss(torch.zeros(2, 2), torch.tensor([0, 1])).item()  # -(log 0.9 + log 0.1) / 2
        1.203...
    """

    log_prior: Tensor

    def __init__(self, prior: Prior, tau: float = 1.0, *, multi_label: bool = False) -> None:
        super().__init__(multi_label)
        self.tau = checked_number("tau", tau)
        self.register_buffer("log_prior", log_priors(prior, multi_label=multi_label))

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """With what the prior adds, in fp32 or better."""
        logits = at_least_fp32(logits)
        if not self.multi_label:
            self.refuse_probabilities(logits.flatten(0, -2))  # which they are no more once the prior is added
        adjusted = logits + self.tau * _fitting(self.log_prior, logits)
        return one_per_label(adjusted, labels, self.multi_label)

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, shape ``(items,)`` or ``(cells,)``."""
        if self.multi_label:
            targets = cells(logits, labels).to(logits.dtype)
            return binary_cross_entropies(logits, targets)
        return F.cross_entropy(logits, class_indices(logits, labels), reduction="none")


def posthoc_adjust(
    logits: Tensor | np.ndarray, prior: Prior, tau: float = 1.0, *, multi_label: bool = False
) -> Tensor:
    """Logits of a model trained by cross-entropy, without the frequencies of classes.

    Source: arXiv 2007.07314, equation 9.

    Args:
        logits: shape ``(..., classes)``, of a model or of ``trainer.predict``.
        prior: frequencies in the training split, shape ``(classes,)``.
        tau: 1 for balanced accuracy, 0 for the logits as they are, -1 to add the frequencies instead.
        multi_label: the odds of each class, in place of one distribution.

    Returns:
        ``logits - tau * log prior``, in fp32 or better.

    Raises:
        ValueError: the prior is none, or of another number of classes; ``tau`` is not finite; or logits are surely
            probabilities.

    Example:
        >>> posthoc_adjust(torch.tensor([[1.0, 0.0]]), [0.9, 0.1]).argmax().item()
        1
    """
    checked_number("tau", tau)
    logits = at_least_fp32(torch.as_tensor(logits))
    if not multi_label:
        refuse_probabilities(logits)
    return logits - tau * _fitting(log_priors(prior, multi_label=multi_label), logits)


@torch.no_grad()
def fold_priors(
    model: nn.Module,
    prior: Prior,
    tau: float = 1.0,
    *,
    multi_label: bool = False,
    layer: nn.Linear | None = None,
) -> None:
    """Make ``posthoc_adjust`` a part of a model, so that it is saved, loaded and used like any other.

    The bias of the last layer becomes ``bias - tau * log prior``, and ``config.class_priors`` and
    ``config.class_priors_tau`` keep what was done.

    Args:
        model: a model of transformers, changed in place, whose logits are the output of a linear layer.
        prior: frequencies in the training split, shape ``(classes,)``.
        tau: as in ``posthoc_adjust``.
        multi_label: the odds of each class, in place of one distribution.
        layer: that linear layer; ``None`` means the only one of as many outputs outside the backbone.

    Raises:
        ValueError: the prior is none; ``tau`` is not finite; something is folded in already; or there is not just one
            such layer with a bias.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> model = BertForSequenceClassification(BertConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
        >>> fold_priors(model, [0.9, 0.1])
        >>> model.classifier.bias.data, model.config.class_priors
        (tensor([0.1054, 2.3026]), [0.8999999761581421, 0.10000000149011612])
    """
    checked_number("tau", tau)
    refuse_folded(model)
    shift = log_priors(prior, multi_label=multi_label)
    last = last_layer(model, len(shift)) if layer is None else layer
    if last.bias is None:
        raise ValueError(
            "the last layer has no bias that could hold the priors: adjust logits by posthoc_adjust instead"
        )
    last.bias.sub_(tau * _fitting(shift, last.bias))
    config: Any = getattr(model, "config", None)
    if config is not None:
        config.class_priors = torch.as_tensor(prior).tolist()
        config.class_priors_tau = tau


def _fitting(shift: Tensor, logits: Tensor) -> Tensor:
    if logits.shape[-1] != len(shift):
        raise ValueError(f"prior has {len(shift)} classes, but logits are for {logits.shape[-1]}")
    return shift.to(device=logits.device, dtype=logits.dtype)


def _normalised(counts: Tensor, total: Tensor) -> Tensor:
    if not (total > 0).all():
        raise ValueError("there are no labels to count; give those of the training split, or smoothing above 0")
    return (counts.double() / total).float()
