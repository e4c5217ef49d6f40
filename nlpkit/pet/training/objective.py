"""The interface of everything that a classifier is trained on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from nlpkit.losses.loss import Loss
from nlpkit.pet.training.scorer import Scorer
from nlpkit.pet.training.training_rows import TrainingRow

Batch = dict[str, Tensor]
#: The kind of classifier that an objective trains.
C = TypeVar("C", bound=Scorer, covariant=True)


class Objective(nn.Module, Generic[C]):
    """A loss over batches of training rows, as a sum of terms that are each averaged over items of their own.

    Args:
        classifier: what is trained.

    Note:
        ``forward`` runs all of a step's passes, so that it works under DDP; ``items`` counts what each term is
        averaged over, which the trainer sums over accumulated batches and processes before the first of them is run.
    """

    #: Tells the Trainer that ``forward`` takes ``num_items_in_batch``.
    accepts_loss_kwargs = True

    classifier: C

    def __init__(self, classifier: C) -> None:
        super().__init__()
        self.classifier = classifier

    @property
    def uses_unlabelled(self) -> bool:
        """Whether rows should come with unlabelled texts."""
        return False

    @property
    def needs_labels(self) -> bool:
        """Whether nothing can be learnt from training examples without a label."""
        return True

    @abstractmethod
    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """The inputs of ``forward``."""

    @property
    def term_names(self) -> tuple[str, ...]:
        """Of the terms, in their order, for the log."""
        return ("loss",)

    @abstractmethod
    def items(self, batch: Batch) -> Tensor:
        """Items of each term in a batch, shape ``(terms,)``."""

    @abstractmethod
    def terms(self, batch: Batch, items: Tensor) -> Tensor:
        """Each weighted term of the loss, divided by its number of items, shape ``(terms,)``."""

    def finish(self) -> C:
        """Take out of the classifier what only training needed; returns the classifier."""
        return self.classifier

    def forward(self, num_items_in_batch: Tensor | None = None, **batch: Tensor) -> dict[str, Tensor]:
        """The loss of a batch that ``collate`` made.

        Args:
            num_items_in_batch: items of each term in the whole optimizer step, ``(terms,)``; ``None`` means of this
                batch.
            **batch: what ``collate`` returned.

        Returns:
            ``loss``, shape ``()``, in nats, and the ``terms`` that it is the sum of.
        """
        items = self.items(batch) if num_items_in_batch is None else num_items_in_batch
        terms = self.terms(batch, items)
        return {"loss": terms.sum(), "terms": terms}


class ObjectiveTerms(Loss):
    """The terms of an objective, as the Trainer takes them: the objective is the model, and returns them as sums.

    Args:
        objective: that is trained.
    """

    columns: ClassVar[tuple[str, ...]] = ()

    def __init__(self, objective: Objective[Any]) -> None:
        super().__init__()
        self._objective = (objective,)  # not a submodule: its weights are the model's

    def inputs_of(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch, and one item for each term, by which nothing is divided yet."""
        (objective,) = self._objective
        return dict(batch) | {"num_items_in_batch": torch.ones_like(objective.items(dict(batch)))}

    def items_of(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Items of each term in a batch."""
        (objective,) = self._objective
        return dict(zip(objective.term_names, objective.items(dict(batch)), strict=True))

    def terms(self, outputs: Any, batch: Mapping[str, Any], items: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each term's sum over its items of the whole step."""
        (objective,) = self._objective
        counts = items or self.items_of(batch)
        named = zip(objective.term_names, outputs["terms"], strict=True)
        return {name: total / counts[name].clamp(min=1) for name, total in named}


class ObjectiveWrapper(Objective[C]):
    """An objective around another one, which answers whatever the wrapper does not define itself.

    Args:
        objective: the inner one; its classifier is the wrapper's.
    """

    # Set below, with all the others; here so that type checkers know that they are there.
    collate: Any
    items: Any
    terms: Any

    def __init__(self, objective: Objective[C]) -> None:
        super().__init__(objective.classifier)
        self.objective = objective


def _of_the_inner(name: str, own: Any) -> Any:
    if not callable(own):
        return property(lambda wrapper: getattr(wrapper.objective, name))

    @wraps(own)
    def method(wrapper: ObjectiveWrapper[Any], *args: Any, **kwargs: Any) -> Any:
        return getattr(wrapper.objective, name)(*args, **kwargs)

    return method


# Whatever belongs to the interface, now or later: a wrapper that lists what it forwards forgets something one day.
for _name, _own in vars(Objective).items():
    if not _name.startswith("_"):
        setattr(ObjectiveWrapper, _name, _of_the_inner(_name, _own))
