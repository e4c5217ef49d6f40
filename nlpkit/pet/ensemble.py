"""Several classifiers as one: weighted averages of their scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from nlpkit.pet.classifiers.text_classifier import Source, TextClassifier, best_labels


def weighted_mean(scores: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """Mean of the members' log-probabilities.

    Source: PET (arXiv 2001.07676, section 3.4): uniform, or weighted by each member's accuracy on the training set
    before training; the mean is of scores, and the members' unknown constants are taken out first.

    Args:
        scores: of each member, ``(examples, labels)``.
        weights: one per member, not negative; ``None`` means equal. If all are 0 they count as equal.

    Returns:
        Shape ``(examples, labels)``.

    Raises:
        ValueError: no members, another number of weights, or a negative one.

    Example:
        >>> weighted_mean([torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 2.0]])], [1, 3]).exp()
        tensor([[0.5000, 0.5000]])
    """
    if not scores:
        raise ValueError("an ensemble needs at least one member")
    shares = torch.tensor([1.0] * len(scores) if weights is None else list(weights), dtype=torch.float64)
    if len(shares) != len(scores) or (shares < 0).any():
        raise ValueError(
            f"weights must be one number per member, none negative; got {weights} for {len(scores)} members"
        )
    if shares.sum() == 0:
        shares = torch.ones_like(shares)
    logs = torch.stack([member.log_softmax(dim=-1) for member in scores])  # (members, examples, labels)
    return (logs * (shares / shares.sum()).to(logs)[:, None, None]).sum(dim=0)


class Ensemble:
    """Classifiers for the same labels whose scores are averaged, each with its own pattern or seed.

    Args:
        members: with the same labels.
        weights: see ``weighted_mean``.

    Raises:
        ValueError: members with other labels, or none.
    """

    def __init__(self, members: Sequence[TextClassifier], weights: Sequence[float] | None = None) -> None:
        if len({member.labels for member in members}) != 1:
            raise ValueError(f"members must have the same labels; got {[member.labels for member in members]}")
        self.members, self.weights = list(members), weights

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores."""
        return self.members[0].labels

    def scores(self, sources: Iterable[Source], batch_size: int = 64) -> Tensor:
        """Log-probabilities up to a constant per row, ``(examples, labels)``."""
        listed = list(sources)
        return weighted_mean([member.scores(listed, batch_size) for member in self.members], self.weights)

    def predict(self, sources: Iterable[Source], batch_size: int = 64) -> list[str]:
        """The most probable label of each text."""
        return best_labels(self.scores(sources, batch_size), self.labels)
