"""Any number of classes per row, given as short lists out of very many."""

from __future__ import annotations

import torch
from torch import Tensor

from nlpkit.losses.labels import signed
from nlpkit.losses.loss import at_least_fp32
from nlpkit.losses.multi_label.log_sums import keep_finite_, log_one_plus_sum
from nlpkit.losses.multi_label.zlpr import ZLPRLoss, check_scale


def sparse_zlpr(
    logits: Tensor, labels: Tensor, *, gamma: float = 1.0, margin: float = 0.0, threshold: Tensor | float = 0.0
) -> Tensor:
    """``zlpr`` of each row, whose classes are given by their indices.

    Source: kexue.fm/archives/8888, where the sum over the classes that do not apply is the difference of two sums: in
    fp32 its gradient has the wrong sign where the classes that do apply have logits of 15. Here these are taken out of
    a copy of the logits.

    Args:
        logits: shape ``(..., classes)``; -inf leaves a class out.
        labels: indices of the classes that apply, in any order, padded with -100, shape ``(..., most per row)``; an
            index that comes twice counts once.
        gamma: as for ``zlpr``.
        margin: as for ``zlpr``.
        threshold: as for ``zlpr``.

    Returns:
        Nats, shape ``(...)``.

    Raises:
        ValueError: labels are no indices of classes, or of another number of rows; or a class that applies has a logit
            of -inf; or as ``zlpr``.

    Note:
        One copy of the logits is held for the gradient, and nothing else of that size.

    Example:
        >>> logits = torch.tensor([[2.0, -1.0, 0.0], [2.0, -1.0, 0.0]])
        >>> sparse_zlpr(logits, torch.tensor([[0, -100], [-100, -100]]))
        tensor([0.9889, 2.2780])
    """
    check_scale(gamma, margin, threshold)
    refuse_other_than_indices(logits, labels)
    return zlpr_of_indices(logits, labels, gamma, margin, threshold)


def zlpr_of_indices(
    logits: Tensor, labels: Tensor, gamma: float = 1.0, margin: float = 0.0, threshold: Tensor | float = 0.0
) -> Tensor:
    """``sparse_zlpr`` of labels that are known to be indices, of which none is taken for a multi-hot row."""
    logits, labels = at_least_fp32(logits), signed(labels).sort(dim=-1).values
    given = labels >= 0
    given[..., 1:] &= labels[..., 1:] != labels[..., :-1]
    found = logits.gather(-1, labels.clamp(min=0))
    if (torch.isneginf(found) & given).any():
        raise ValueError("labels name a class whose logit is -inf: leave it out of the labels")
    absent = logits.clone()
    absent[(*given.nonzero(as_tuple=True)[:-1], labels[given])] = -torch.inf
    if (gamma, margin) != (1, 0) or isinstance(threshold, Tensor) or threshold != 0:
        absent = keep_finite_(gamma * (absent - threshold + margin))
    present = torch.where(given, keep_finite_(-gamma * (found - threshold - margin)), -torch.inf)
    return log_one_plus_sum(absent) + log_one_plus_sum(present)


class SparseZLPRLoss(ZLPRLoss):
    """``ZLPRLoss`` of labels that are lists of class indices, for very many classes, such as all spans of a text.

    Source: kexue.fm/archives/7359, 8888.

    Args:
        gamma: scale of the logits.
        margin: by how much a class must clear the threshold, in units of the logits.
        threshold: ``None`` is 0; ``"learned"`` begins there and is a parameter of the loss.

    Note:
        Labels have the shape of the logits but for the last dimension: the indices of a row's classes, padded with
        -100. **Every row is an item**: one of which all labels are -100 is a row to which no class applies, and is
        trained on. Only ``mask``, of the shape of the rows, leaves rows out, and a Trainer gives none: classes of
        tokens, some of which are padding, are for ``ZLPRLoss``.

        Labels as wide as there are classes that hold 0, 1 and -100 alone, and a row of which repeats one or has no
        -100, are taken for multi-hot rows and refused.

        Logits of spans, ``(batch, types, length, length)``, are flattened in their last two dimensions; the index of
        the span from ``first`` to ``last`` is ``first * length + last``, with the length of the batch.

        The plain Trainer counts labels, from which rows cannot be told, and is refused; ``TechniqueTrainer`` counts
        rows. In a loop of your own, ``average(outputs, labels, items=)`` takes the rows of a whole step.

    Example:
        >>> SparseZLPRLoss()(torch.zeros(2, 3), torch.tensor([[0], [-100]])).item()
        1.589...
    """

    def valid(self, labels: Tensor) -> Tensor:
        """All rows."""
        return torch.ones(labels.shape[:-1], dtype=torch.bool, device=labels.device)

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The logits, those of spans as a row for each type."""
        of_spans = logits.dim() == labels.dim() + 1 > 2 and logits.shape[-2] == logits.shape[-1]
        logits = logits.flatten(-2) if of_spans else logits
        refuse_other_than_indices(logits, labels)
        return logits

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row in nats, shape ``(rows,)``."""
        return sparse_zlpr(logits, labels, gamma=self.gamma, margin=self.margin, threshold=self.threshold)

    def labels_per_item(self, labels: Tensor) -> int:
        """Not known: raises a ``ValueError``."""
        raise ValueError(
            "SparseZLPRLoss averages over rows, and num_items_in_batch counts labels: give the loss to "
            "TechniqueTrainer(loss=...), which counts rows, or call average(outputs, labels, items=rows)"
        )


def refuse_other_than_indices(logits: Tensor, labels: Tensor) -> None:
    """Raise a ``ValueError`` if labels are no lists of class indices."""
    classes = logits.shape[-1]
    if labels.is_floating_point() or labels.dtype == torch.bool or _may_be_multi_hot(logits, labels):
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} ({labels.dtype}) are numbers for each class, not indices of the "
            f"classes that apply: give them to ZLPRLoss"
            + ("; so are lists of both of two classes, which cannot be told from them" if classes == 2 else "")
        )
    if labels.shape[:-1] != logits.shape[:-1] or not labels.dim():
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit logits of shape {tuple(logits.shape)}: give a list of "
            f"class indices, padded with -100, for each row of logits, shape {(*logits.shape[:-1], 'most per row')}"
        )
    labels = signed(labels)
    outside = ((labels < 0) | (labels >= classes)) & (labels != -100)
    if outside.any():
        raise ValueError(
            f"labels hold {int(labels[outside][0])}, but logits are for {classes} classes: give 0 to {classes - 1}, "
            f"and pad with -100"
        )


def _may_be_multi_hot(logits: Tensor, labels: Tensor) -> bool:
    """As many labels as classes, and none but 0, 1 and -100, where some row repeats itself or, of two, lists both."""
    if labels.shape != logits.shape or logits.shape[-1] < 2:
        return False
    no, yes = labels == 0, labels == 1
    if not (no | yes | (signed(labels) == -100)).all():
        return False
    repeats = (no.sum(-1) > 1) | (yes.sum(-1) > 1)
    return bool((repeats | (no | yes).all(-1)).any())
