"""Any number of classes per row: every class that applies above a threshold, every other one below."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from nlpkit.checked_number import checked_number
from nlpkit.losses.divergences import Divergence, bernoulli
from nlpkit.losses.labels import signed
from nlpkit.losses.loss import Loss, at_least_fp32
from nlpkit.losses.multi_label.log_sums import keep_finite_, log_one_plus_sum


def zlpr(
    logits: Tensor, labels: Tensor, *, gamma: float = 1.0, margin: float = 0.0, threshold: Tensor | float = 0.0
) -> Tensor:
    """``log(1 + sum((1 - t) exp(s))) + log(1 + sum(t exp(-s)))`` of each row, with ``s`` the scores, ``t`` the labels.

    Source: ZLPR, arXiv 2208.02955, and kexue.fm/archives/7359, equation 10; labels between 0 and 1 from
    kexue.fm/archives/9064. With scale and margin, ``s`` is ``gamma * (s - threshold + margin)`` in the first sum and
    ``gamma * (s - threshold - margin)`` in the second.

    Args:
        logits: shape ``(..., classes)``; -inf leaves a class out.
        labels: whether each class applies, in [0, 1], or -100 where that is not known, of the same shape. Classes that
            are not known are in neither sum, and get no gradient.
        gamma: scale of the logits.
        margin: by how much a class must clear the threshold, in units of the logits.
        threshold: beyond which a class applies.

    Returns:
        Nats, shape ``(...)``; 0 where no class is known.

    Raises:
        ValueError: labels are of another shape, or no such numbers; a class that applies has a logit of -inf; or
            ``gamma`` is not above 0, ``margin`` below it, or ``threshold`` not finite.

    Example:
        >>> zlpr(torch.tensor([[2.0, -1.0, 0.0]]), torch.tensor([[1, 0, -100]])).item()
        0.4401...
    """
    check_scale(gamma, margin, threshold)
    _refuse_another_shape(logits, labels)
    logits, labels = at_least_fp32(logits), signed(labels)
    applies, known = labels == 1, labels != -100
    if (torch.isneginf(logits) & applies).any():
        raise ValueError("labels say that a class applies whose logit is -inf: set its label to 0 or -100")
    scores = _scaled(logits, gamma, threshold)
    if (applies | (labels == 0) | ~known).all():  # a logarithm of 1 for each class is most of the time
        absent = torch.where(known & ~applies, scores + gamma * margin, -torch.inf)
        present = torch.where(applies, gamma * margin - scores, -torch.inf)
        return log_one_plus_sum(absent) + log_one_plus_sum(present)
    _refuse_other_numbers(logits, labels)
    shares = labels.to(logits.dtype)
    unknown = ~known | torch.isneginf(logits)
    absent = torch.where(unknown | applies, -torch.inf, scores + gamma * margin + torch.log1p(-shares))
    present = torch.where(unknown | (shares == 0), -torch.inf, gamma * margin - scores + shares.log())
    return log_one_plus_sum(absent) + log_one_plus_sum(present)


def zlpr_probabilities(logits: Tensor | np.ndarray, *, gamma: float = 1.0, threshold: Tensor | float = 0.0) -> Tensor:
    """The probability of each class: ``sigmoid(2s)``, and not ``sigmoid(s)``, of a model that was trained by ZLPR.

    Source: kexue.fm/archives/9064: at the loss's minimum over ``s``, ``sigmoid(2s)`` is the label.

    Args:
        logits: any shape, of a model or of ``trainer.predict``.
        gamma: as in training.
        threshold: as in training.

    Returns:
        Probabilities in fp32 or better, of the same shape; above 0.5 where a logit is above the threshold.

    Note:
        ``fold_zlpr`` puts the factor into a model, so that ``pipeline`` gives these numbers. A margin in training
        makes them too sure.

    Example:
        >>> zlpr_probabilities(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([0.1192, 0.5000, 0.8808])
    """
    check_scale(gamma, threshold=threshold)
    return (2 * _scaled(at_least_fp32(torch.as_tensor(logits)), gamma, threshold)).sigmoid()


class ZLPRLoss(Loss):
    """``zlpr`` of rows (or tokens) with any number of classes each; an item is a row, whatever classes it has.

    Source: arXiv 2208.02955; kexue.fm/archives/7359, 9064.

    Args:
        gamma: scale of the logits.
        margin: by how much a class must clear the threshold, in units of the logits.
        threshold: ``None`` is 0; ``"learned"`` begins there and is a parameter of the loss, the same for all classes.

    Raises:
        ValueError: an argument is out of its range, or as ``zlpr``.

    Note:
        Labels are multi-hot, or shares of 1 (smoothed, mixed), shape ``(batch, classes)`` or
        ``(batch, length, classes)``; a row of which all labels are -100 is no item. A mask has the shape of the rows
        or that of the labels.

        Against the sigmoid cross-entropy of each class (``BinaryCrossEntropyLoss``) the loss is never larger than the
        sum over the classes, and does not drown in the many that do not apply. Where labels are lists of a few out of
        very many classes, take ``SparseZLPRLoss``.

        A learned threshold shifts all logits alike, as the bias of a last layer does: it is for heads that have none,
        such as products of two vectors. ``TechniqueTrainer`` trains it and saves it beside the model, as
        loss.safetensors; under the plain Trainer it stays where it is, since that optimizes the model alone. The
        plain Trainer counts labels, which are rows times classes only where no class of a counted row is -100.

    Example:
        >>> ZLPRLoss()(torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])).item()
        1.589...
    """

    def __init__(
        self, *, gamma: float = 1.0, margin: float = 0.0, threshold: Literal["learned"] | None = None
    ) -> None:
        super().__init__()
        check_scale(gamma, margin)
        if threshold not in (None, "learned"):
            raise ValueError(f'threshold={threshold!r} must be None, which is 0, or "learned"')
        self.gamma, self.margin = gamma, margin
        self.threshold = nn.Parameter(torch.zeros(())) if threshold == "learned" else 0.0

    def valid(self, labels: Tensor) -> Tensor:
        """Rows of which some class is known."""
        return (labels != -100).any(dim=-1)

    @property
    def divergence(self) -> Divergence:
        """Of the probabilities, without what a learned threshold has learnt."""
        return bernoulli(2 * self.gamma)

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The logits, if they are of the labels' shape."""
        _refuse_another_shape(logits, labels)
        return logits

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row in nats, shape ``(rows,)``."""
        return zlpr(logits, labels, gamma=self.gamma, margin=self.margin, threshold=self.threshold)

    def labels_per_item(self, labels: Tensor) -> int:
        """The classes."""
        return labels.shape[-1]


def check_scale(gamma: float, margin: float = 0.0, threshold: Tensor | float = 0.0) -> None:
    """A ``ValueError`` where scores cannot be scaled and moved so."""
    checked_number("gamma", gamma, above=0, hint="it scales the logits")
    checked_number("margin", margin, least=0)
    if not isinstance(threshold, Tensor):
        checked_number("threshold", threshold)


def _refuse_another_shape(logits: Tensor, labels: Tensor) -> None:
    if labels.shape != logits.shape:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} ({labels.dtype}) do not fit logits of shape "
            f"{tuple(logits.shape)}: {_way_out(logits)}"
        )


def _refuse_other_numbers(logits: Tensor, labels: Tensor) -> None:
    outside = ~((labels >= 0) & (labels <= 1) | (labels == -100))
    if outside.any():
        raise ValueError(f"labels hold {labels[outside][0].item():g}: {_way_out(logits)}")


def _way_out(logits: Tensor) -> str:
    return (
        f"give a number in [0, 1] for each class, or -100 where it is not known; class indices become such rows by "
        f"torch.nn.functional.one_hot(labels, {logits.shape[-1]}), or, padded with -100, go to SparseZLPRLoss"
    )


def _scaled(logits: Tensor, gamma: float, threshold: Tensor | float) -> Tensor:
    moved = logits - threshold if isinstance(threshold, Tensor) or threshold != 0 else logits
    return moved if gamma == 1 else keep_finite_(gamma * moved)
