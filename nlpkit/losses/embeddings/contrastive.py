"""Contrastive losses over a batch: InfoNCE, FlatNCE and the supervised one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.checked_number import checked_number
from nlpkit.embeddings import unit_rows
from nlpkit.losses.embeddings.embedding_loss import LONELY, EmbeddingLoss, Pooling, partners
from nlpkit.losses.gathering import sum_over_processes
from nlpkit.masked import masked_logsumexp


def _over_positives(values: Tensor, anchors: Tensor, positives: Tensor) -> Tensor:
    """Means of each anchor's values at its positives, 0 where it has none.

    Args:
        values: one for each positive, or for those that are not 0, shape ``(positives,)``.
        anchors: whose each is.
        positives: mask of shape ``(anchors, candidates)``.
    """
    counts = positives.sum(dim=-1)
    return values.new_zeros(len(counts)).index_add(0, anchors, values) / counts.clamp(min=1)


def info_nce(scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """``log(1 + sum of exp(s_n - s_p))`` over the negatives n, averaged over an anchor's positives p.

    Source: arXiv 1807.03748, equation 4, one positive at a time against all negatives. Computed as the softplus of a
    difference, it stays exact where the cross-entropy over candidates rounds to 0.

    Args:
        scores: shape ``(anchors, candidates)``.
        positives: mask of the same shape.
        negatives: mask of the same shape.

    Returns:
        Nats, shape ``(anchors,)``; 0 without positives or negatives.

    Example:
        >>> masks = torch.tensor([[True, False, False]]), torch.tensor([[False, True, True]])
        >>> info_nce(torch.tensor([[20.0, 0.0, 0.0]]), *masks).item()
        4.122...e-09
    """
    below = masked_logsumexp(scores, negatives)
    anchors, places = positives.nonzero(as_tuple=True)
    return _over_positives(F.softplus(below[anchors] - scores[anchors, places]), anchors, positives)


def flat_nce(scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """``log(sum of exp(s_n))`` over the negatives n, less the mean of an anchor's positives.

    Source: FlatNCE, arXiv 2107.01152, whose loss has this one's gradient (kexue.fm/archives/8586); decoupled
    contrastive learning, arXiv 2110.06848, equation 6.

    Args:
        scores: shape ``(anchors, candidates)``.
        positives: mask of the same shape.
        negatives: mask of the same shape.

    Returns:
        Nats, shape ``(anchors,)``, negative where positives stand far above; 0 without positives or negatives.

    Note:
        The gradient at a positive is -1 whatever the scores, and never rounds to 0 as InfoNCE's does in small batches.
        It does not vanish either where all is learnt: the temperature and weight decay limit the scores.

    Example:
        >>> masks = torch.tensor([[True, False, False]]), torch.tensor([[False, True, True]])
        >>> flat_nce(torch.tensor([[20.0, 0.0, 0.0]]), *masks).item()
        -19.30...
    """
    below = masked_logsumexp(scores, negatives)
    anchors, places = positives.nonzero(as_tuple=True)
    above = _over_positives(scores[anchors, places], anchors, positives)
    counted = positives.any(dim=-1) & below.isfinite()
    return torch.where(counted, torch.where(counted, below, 0.0) - above, 0.0)


def supervised_contrastive(scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Cross-entropy of each positive among all candidates, the other positives included, averaged over positives.

    Source: supervised contrastive learning, arXiv 2004.11362, equation 2 (``L_out``).

    Args:
        scores: shape ``(anchors, candidates)``.
        positives: mask of the same shape.
        negatives: mask of the same shape.

    Returns:
        Nats, shape ``(anchors,)``; 0 without positives. With one positive it is ``info_nce``; with k equal ones and no
        negative it is ``log(k)``.

    Example:
        >>> masks = torch.tensor([[True, True, False]]), torch.tensor([[False, False, False]])
        >>> supervised_contrastive(torch.zeros(1, 3), *masks).item()
        0.693...
    """
    if not scores.shape[-1]:
        return scores.sum(dim=-1)
    top = torch.where(positives, scores.detach(), -torch.inf).argmax(dim=-1, keepdim=True)
    highest = scores.gather(-1, top).squeeze(-1)
    # The sum over all candidates is that of the best positive and of the rest, so that no digits cancel where it is
    # nearly all of the sum.
    rest = masked_logsumexp(scores, (positives | negatives).scatter(-1, top, False))
    best = torch.where(positives.any(dim=-1), F.softplus(rest - highest), 0.0)
    anchors, places = positives.scatter(-1, top, False).nonzero(as_tuple=True)
    return best + _over_positives(highest[anchors] - scores[anchors, places], anchors, positives)


#: Why a batch may have positives and teach nothing, and what to do.
ALIKE = (
    "no text of this batch that has another of its group has one of another group",
    "put several groups into one batch; labels are numbers of groups",
)


class ContrastiveLoss(EmbeddingLoss):
    """Texts of a group towards each other, and away from all other texts of the batch of all processes.

    Labels are groups, or groups and views (see ``PooledLoss``): with views, a text is compared with those of other
    views only, as a question with all answers. A text whose group has no other row is a negative for the rest.

    Args:
        temperature: by which cosines are divided.
        margin: taken from the cosine of positives.
        symmetric: whether every text is an anchor; otherwise those of view 0 alone are.
        pooling: see ``PooledLoss``.

    Raises:
        ValueError: the temperature is not above 0, or the margin below it; or labels have no views and
            ``symmetric=False``.

    Note:
        Memory is one matrix of ``(texts of this process, texts of all processes)``. For batches that the model itself
        cannot hold, use ``TechniqueTrainer`` with accumulation and ``GradCache()``.
    """

    def __init__(
        self, temperature: float = 0.05, margin: float = 0.0, symmetric: bool = True, pooling: Pooling = "mean"
    ) -> None:
        super().__init__(pooling)
        self.temperature = checked_number(
            "temperature", temperature, above=0, hint="cosines are divided by it, e.g. by 0.05"
        )
        self.margin = checked_number("margin", margin, least=0)
        self.symmetric = symmetric

    def of_anchors(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """The loss of each anchor, shape ``(anchors,)``, given scores and masks of shape ``(anchors, candidates)``."""
        raise NotImplementedError(f"{type(self).__name__} must define of_anchors(scores, positives, negatives)")

    def counts(self, positives: Tensor, negatives: Tensor) -> Tensor:
        """Which anchors the loss is averaged over, shape ``(anchors,)``: those that have a positive and a negative."""
        return positives.any(dim=-1) & negatives.any(dim=-1)

    def share(self, logits: Tensor, labels: Tensor, own: slice) -> Tensor:
        """The sum over this process's anchors, divided by the anchors of all."""
        directions = unit_rows(logits)
        rows = torch.arange(len(labels), device=labels.device)
        anchors, candidates = rows[own], rows
        if not self.symmetric:
            first = self._first_view(labels)
            anchors, candidates = anchors[first[own]], rows[~first]
        positives, negatives = partners(labels, anchors, candidates)
        scores = directions[anchors] @ directions[candidates].T / self.temperature
        if self.margin:
            scores = scores - positives * (self.margin / self.temperature)
        counted = self.counts(positives, negatives)
        total = torch.where(counted, self.of_anchors(scores, positives, negatives), 0.0).sum()
        anchored = sum_over_processes(counted.sum())
        self.warn_without_pairs(anchored, *(LONELY if not positives.any() else ALIKE))
        return total / anchored.clamp(min=1)

    def _first_view(self, labels: Tensor) -> Tensor:
        if labels.dim() != 2:
            raise ValueError(
                "symmetric=False needs labels of shape (batch, 2), the second column of which says which view of its "
                f"group a row is; these have shape {tuple(labels.shape)}"
            )
        return labels[:, 1] == 0


class InfoNCELoss(ContrastiveLoss):
    """``info_nce`` over the texts of a batch.

    Source: arXiv 1807.03748, equation 4; over dropout's two views of a text, SimCSE, arXiv 2104.08821, equation 1.

    Example:
        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> InfoNCELoss(temperature=1.0)(embeddings, torch.tensor([0, 0, 1, 1])).item()
        0.551...
    """

    def of_anchors(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """See ``info_nce``."""
        return info_nce(scores, positives, negatives)


class FlatNCELoss(ContrastiveLoss):
    """``flat_nce`` over the texts of a batch: for small batches, and half precision.

    Source: FlatNCE, arXiv 2107.01152; decoupled, arXiv 2110.06848; see ``flat_nce``.

    Example:
        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> FlatNCELoss(temperature=1.0)(embeddings, torch.tensor([0, 0, 1, 1])).item()
        -0.306...
    """

    def of_anchors(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """See ``flat_nce``."""
        return flat_nce(scores, positives, negatives)


class SupervisedContrastiveLoss(ContrastiveLoss):
    """``supervised_contrastive`` over the texts of a batch, whose labels are classes.

    Source: arXiv 2004.11362, equation 2.

    Example:
        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> SupervisedContrastiveLoss(temperature=1.0)(embeddings, torch.tensor([0, 0, 1, 1])).item()
        0.551...
    """

    def of_anchors(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """See ``supervised_contrastive``."""
        return supervised_contrastive(scores, positives, negatives)

    def counts(self, positives: Tensor, negatives: Tensor) -> Tensor:
        """Anchors that have a positive."""
        return positives.any(dim=-1)
