"""Center loss: features of a class towards its center, beside the task's own loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.checked_number import checked_number
from nlpkit.losses.around import LossAround
from nlpkit.losses.labels import checked_indices
from nlpkit.losses.loss import Loss, at_least_fp32
from nlpkit.losses.step_sums import StepSums


def center_distances(features: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance of features to the center of their class.

    Source: Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016.

    Args:
        features: shape ``(items, dim)``.
        centers: shape ``(classes, dim)``.
        labels: class indices, shape ``(items,)``.

    Returns:
        Shape ``(items,)``.

    Example:
        >>> center_distances(torch.ones(1, 2), torch.zeros(3, 2), torch.tensor([1]))
        tensor([1.])
    """
    return (features - centers[labels]).square().sum(-1) / 2


class CenterLoss(LossAround):
    """A loss over classes, and the distance of features to the center of their class.

    Source: Wen et al., ECCV 2016, where centers move towards the mean of a batch.

    Args:
        task: the loss over classes, whose labels are class indices.
        num_classes: number of classes.
        dim: of a feature.
        weight: of the distances: lambda of the source, 0.003 there. Both losses are sums over a batch there, and
            means over the same items here, so that the number means the same.
        momentum: centers are means of features over the last steps, which count this less with each step; ``None``
            makes them parameters, trained with the model.
        features: a function from what the model returned to features, shape ``(batch, dim)`` or, for labels of tokens,
            ``(batch, length, dim)``; ``None`` takes the last hidden states, of the first token where labels are those
            of rows.

    Raises:
        ValueError: a number is out of its range; the model returned no hidden states; features or labels do not fit.

    Note:
        Centers are those from before the step (see ``StepSums``), and classes without one have no distance yet.
        Parameters move no faster than the model, which is too slow for them at the rates of fine-tuning: give them
        another rate, or a momentum. In evaluation, where gradients are off, the loss is the task's alone. Distances
        can be made small by small features, so that a large weight is dangerous. Centers of earlier training are
        forgotten as those of ``F1WeightedLoss`` are, unless they are parameters. Around a loss over a batch
        (``BatchLoss``) a step has to be one batch, as for that loss alone.

    Example:
        >>> from nlpkit.losses import CrossEntropyLoss
        >>> loss = CenterLoss(CrossEntropyLoss(), 2, 2, weight=1.0, momentum=None, features=lambda outputs: outputs)
        >>> loss(torch.ones(1, 2), torch.tensor([0])).item()  # log 2, and half of 1 + 1
        1.693...
    """

    def __init__(
        self,
        task: Loss,
        num_classes: int,
        dim: int,
        weight: float = 0.003,
        *,
        momentum: float | None = 0.9,
        features: Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__(task)
        checked_number("num_classes", num_classes, least=1, whole=True)
        checked_number("dim", dim, least=1, whole=True)
        checked_number("weight", weight, least=0)
        self.num_classes, self.dim, self.weight, self.features = num_classes, dim, weight, features
        self.learnt = nn.Parameter(torch.zeros(num_classes, dim)) if momentum is None else None
        self.sums = None if momentum is None else StepSums(momentum, num_classes, dim + 1)

    @property
    def centers(self) -> Tensor:
        """Shape ``(classes, dim)``; NaN for classes of which nothing has been seen."""
        if self.sums is None:
            assert self.learnt is not None
            return self.learnt
        return self.sums.done[:, :-1] / self.sums.done[:, -1:]

    def inputs_of(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The task's; in training with the wish for hidden states, if they are the features."""
        wanted = {"output_hidden_states": True} if self.features is None and torch.is_grad_enabled() else {}
        return self.task.inputs_of(batch) | wanted

    def items_of(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """The task's, which may be sums of weights, and how many items have a distance."""
        own = self._chosen(self.labels_of(batch), None)[1].sum() if self._has_labels(batch) else torch.tensor(0)
        return self.task.items_of(batch) | {"center": own}

    def terms(self, outputs: Any, batch: Mapping[str, Any], items: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The task's ``"loss"``, and in training ``"center"``, each averaged over its items."""
        terms = self.task.terms(outputs, batch, items)
        if torch.is_grad_enabled() and self._has_labels(batch):
            terms["center"] = self._pull(outputs, self.labels_of(batch), items.get("center"), None)
        return terms

    def average(
        self, outputs: Any, labels: Tensor, items: Tensor | float | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """As ``Loss.average``, both terms; a ``ValueError`` where ``items`` are weights of the task's classes."""
        if items is not None and torch.is_grad_enabled() and getattr(self.task, "class_weights", None) is not None:
            raise ValueError(
                "CenterLoss divides distances by how many items there are, and the task's loss by the weights of "
                "their classes: one number of items is not both; give the loss to TechniqueTrainer(loss=...), or call "
                "terms(outputs, batch, items) with items_of(batch) summed over the step"
            )
        loss = self.task.average(outputs, labels, items, mask)
        return loss + self._pull(outputs, labels, items, mask) if torch.is_grad_enabled() else loss

    def _pull(self, outputs: Any, labels: Tensor, items: Tensor | float | None, mask: Tensor | None) -> Tensor:
        labels, chosen = self._chosen(labels, mask)
        features = self._features(outputs, labels)[chosen]
        classes = checked_indices(labels[chosen], self.num_classes, "num_classes gives")
        count = torch.as_tensor(len(classes) if items is None else items, device=features.device)
        if self.sums is None:
            distances = center_distances(features, self.centers, classes)
        else:
            seen = self.sums.before(items)[classes, -1] > 0
            distances = center_distances(features[seen], self.centers.to(features.dtype), classes[seen])
            found = torch.cat([features.detach(), torch.ones_like(features[:, :1])], dim=1)
            self.sums.add(found.new_zeros(self.num_classes, self.dim + 1).index_add(0, classes, found))
        return self.weight * distances.sum() / count.clamp(min=1)

    def _features(self, outputs: Any, labels: Tensor) -> Tensor:
        found = at_least_fp32(_last_hidden_states(outputs) if self.features is None else self.features(outputs))
        if found.dim() == labels.dim() + 2:
            found = found[:, 0]
        if found.shape != (*labels.shape, self.dim):
            raise ValueError(
                f"features are of shape {tuple(found.shape)}, and dim={self.dim} with labels of shape "
                f"{tuple(labels.shape)} needs {(*labels.shape, self.dim)}"
            )
        return found


def _last_hidden_states(outputs: Any) -> Tensor:
    states = outputs.get("hidden_states") if isinstance(outputs, Mapping) else None
    if states is None:
        raise ValueError(
            "the model returned no hidden_states to take features from: train by nlpkit.TechniqueTrainer, set "
            "config.output_hidden_states=True, or give CenterLoss(features=...)"
        )
    return states[-1]
