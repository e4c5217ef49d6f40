"""The plain way to train a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nlpkit.losses.loss import Loss, at_least_fp32
from nlpkit.pet.clozes.examples import label_name
from nlpkit.pet.training.objective import Batch, C, Objective
from nlpkit.pet.training.training_rows import TrainingRow


class LabelLoss(Objective[C]):
    """The classifier's own loss over the labels, cross-entropy for most; the plain way to train it, prompted or not.

    Args:
        classifier: any classifier of this package.
        class_weight: of each label in the loss, 1 where a label has none; ``None`` weighs all alike.
        loss: of ``nlpkit.losses``, in place of the classifier's own, ``FocalLoss()`` for example.

    Raises:
        ValueError: a weight of a label that the classifier does not know, one that is not finite or below 0, or none
            above 0.

    Note:
        Weighted losses are divided by the number of examples, as all losses here, and not by the sum of the weights:
        weights whose mean over the training set is 1 (``"balanced"`` of ``fit``) keep the size of steps.
    """

    weights: Tensor | None

    def __init__(
        self, classifier: C, class_weight: Mapping[Any, float] | None = None, loss: Loss | None = None
    ) -> None:
        super().__init__(classifier)
        self.own = loss
        weights = None
        refuse_no_weights(class_weight)
        if class_weight is not None and not classifier.one_label:
            raise ValueError("class_weight is for examples of one label; here each has any number of them")
        if class_weight is not None:
            given = {label_name(label): float(weight) for label, weight in class_weight.items()}
            strangers = [label for label in given if label not in classifier.labels]
            if strangers or not all(0 <= weight < float("inf") for weight in given.values()):  # false for NaN
                raise ValueError(
                    f"class_weight={dict(class_weight)!r} must give labels among "
                    f"{', '.join(map(repr, classifier.labels))} weights that are not negative, and finite"
                )
            weights = torch.tensor([given.get(label, 1.0) for label in classifier.labels])
            if not weights.any():
                raise ValueError(
                    f"class_weight={dict(class_weight)!r} takes every label out of the loss, so that nothing would be "
                    "learnt; give one of them a weight above 0"
                )
        self.register_buffer("weights", weights, persistent=False)

    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """The classifier's inputs; see ``Scorer.collate``."""
        return self.classifier.collate_rows(rows)

    def items(self, batch: Batch) -> Tensor:
        """Number of labelled examples, ``(1,)``."""
        return self.classifier.known(batch["labels"]).sum()[None]

    def terms(self, batch: Batch, items: Tensor) -> Tensor:
        """The mean of the examples' losses, ``(1,)``."""
        labels = batch["labels"]
        scores = self.classifier(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits
        known = self.classifier.known(labels)
        if self.own is None:
            losses = self.classifier.losses(scores, labels)[known]
        else:
            losses = self.own.values(at_least_fp32(scores[known]), labels[known])
        if self.weights is not None:
            losses = losses * self.weights.to(losses)[labels[known]]
        return (losses.sum() / items[0].clamp(min=1))[None]


def refuse_no_weights(class_weight: Any) -> None:
    """Refuse what does not say a weight for each label by its name.

    Raises:
        TypeError: it is a list, for example, whose order nobody knows.
        ValueError: it is another word than ``"balanced"``.
    """
    if isinstance(class_weight, str) and class_weight != "balanced":
        raise ValueError(f"class_weight={class_weight!r} must be 'balanced', or a weight for each label")
    if not isinstance(class_weight, str | Mapping | None):
        raise TypeError(
            f"class_weight={class_weight!r} must be 'balanced', or a weight for each label by its name, e.g. "
            "{'good': 1.0, 'bad': 2.0}"
        )


def balanced_weights(labels: Sequence[str | None]) -> dict[str, float]:
    """Weights by which every label has the same part in the loss, with a mean of 1 over the examples.

    Source: King and Zeng, *Logistic regression in rare events data*, 2001; ``class_weight="balanced"`` of
    scikit-learn: ``examples / (labels * examples of the label)``.

    Args:
        labels: of the examples, ``None`` where not known.

    Example:
        >>> balanced_weights(["a", "a", "a", "b"])
        {'a': 0.666..., 'b': 2.0}
    """
    known = [label for label in labels if label is not None]
    names = dict.fromkeys(known)
    return {label: len(known) / (len(names) * known.count(label)) for label in names}
