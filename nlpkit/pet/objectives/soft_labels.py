"""Training on a teacher's scores instead of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses.loss import at_least_fp32
from nlpkit.losses.normalised import divide_by_items
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.training.objective import Batch, Objective
from nlpkit.pet.training.scorer import Scorer
from nlpkit.pet.training.training_rows import TrainingRow


def distillation_loss(
    scores: Tensor, teacher: Tensor, temperature: float, num_items_in_batch: Tensor | int | None = None
) -> Tensor:
    """Kullback-Leibler divergence from the teacher's softened distribution, times the temperature squared.

    Source: Hinton et al., 2015, arXiv 1503.02531, section 2; PET uses temperature 2 (arXiv 2001.07676, section 4).

    Args:
        scores: of the student, ``(batch, labels)``.
        teacher: scores of the teacher, ``(batch, labels)``.
        temperature: above 0; towards infinity the loss becomes half the squared difference of the centred scores,
            divided by the number of labels.
        num_items_in_batch: examples of the whole optimizer step; ``None`` means of this batch.

    Returns:
        Nats per example, shape ``()``.

    Example:
        >>> distillation_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 4.0]]), 2.0).item()
        0.0
    """
    student = (at_least_fp32(scores) / temperature).log_softmax(dim=-1)
    wanted = (at_least_fp32(teacher) / temperature).log_softmax(dim=-1).to(student.dtype)
    total = F.kl_div(student, wanted, reduction="sum", log_target=True) * temperature**2
    return divide_by_items(total, torch.ones(len(scores), dtype=torch.bool, device=scores.device), num_items_in_batch)


@dataclass(frozen=True)
class SoftExample(Example):
    """An example with a teacher's score of each label."""

    scores: Mapping[str, float] = field(default_factory=dict)


def soft_examples(examples: Sequence[Example], teacher_scores: Tensor, labels: Sequence[str]) -> list[SoftExample]:
    """Examples for ``SoftLabelLoss``.

    Args:
        examples: usually without labels.
        teacher_scores: ``(examples, labels)``.
        labels: the teacher's, in the order of its scores; the student may have another order. Empty where each
            example brings candidates of its own.

    Raises:
        ValueError: not as many labels as scores, or not as many rows as examples.
    """
    names = list(labels) or [str(number) for number in range(teacher_scores.shape[1])]
    return [
        SoftExample(example.fields, example.label, example.candidates, dict(zip(names, row, strict=True)))
        for example, row in zip(examples, teacher_scores.tolist(), strict=True)
    ]


class SoftLabelLoss(Objective[Scorer]):
    """Trains a classifier on a teacher's scores instead of labels.

    Source: PET (arXiv 2001.07676, section 3.4): the ensemble labels the unlabelled texts, and a plain classifier
    learns from its soft labels.

    Args:
        classifier: the student; its training examples are ``SoftExample``.
        temperature: see ``distillation_loss``.

    Raises:
        ValueError: the temperature is not above 0.
    """

    def __init__(self, classifier: Scorer, temperature: float = 2.0) -> None:
        super().__init__(classifier)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0; got {temperature}")
        self.temperature = temperature

    @property
    def needs_labels(self) -> bool:
        """No: the teacher's scores stand for them."""
        return False

    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """The classifier's inputs and ``teacher``, ``(batch, labels)``.

        Raises:
            TypeError: an example without a teacher's scores.
            ValueError: the teacher scored other labels than the student has.
        """
        teacher = torch.tensor([self._scores(row.example) for row in rows])
        return self.classifier.collate_rows(rows) | {"teacher": teacher}

    def _scores(self, example: Example) -> list[float]:
        """The teacher's scores in the order of the student's labels."""
        if not isinstance(example, SoftExample):
            raise TypeError(f"{example!r} has no scores of a teacher; make training examples with soft_examples")
        labels = self.classifier.labels or tuple(example.scores)
        if set(labels) != set(example.scores):
            raise ValueError(f"the student's labels are {list(labels)}; its teacher scored {list(example.scores)}")
        return [example.scores[label] for label in labels]

    def items(self, batch: Batch) -> Tensor:
        """Number of examples, ``(1,)``."""
        return torch.tensor([len(batch["teacher"])], device=batch["teacher"].device)

    def terms(self, batch: Batch, items: Tensor) -> Tensor:
        """The divergence from the teacher, ``(1,)``."""
        inputs = {name: tensor for name, tensor in batch.items() if name not in ("labels", "teacher")}
        return distillation_loss(self.classifier(**inputs).logits, batch["teacher"], self.temperature, items[0])[None]
