"""What gives every label of a text a score: the part of a classifier that training and evaluation need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from nlpkit.batches import batches_by_length
from nlpkit.losses.item_losses import cross_entropies
from nlpkit.losses.loss import at_least_fp32
from nlpkit.losses.normalised import divide_by_items
from nlpkit.modes import evaluating
from nlpkit.pet.clozes.columns import Columns
from nlpkit.pet.clozes.examples import (
    NO_LABEL,
    Example,
    LabelledExamples,
    Sources,
    as_examples,
    label_number,
    labelled_examples,
)
from nlpkit.pet.clozes.known_labels import refuse_unlabelled
from nlpkit.pet.scoring import calibrated, refuse_no_numbers
from nlpkit.pet.training.training_rows import TrainingRow


class Scorer(nn.Module, ABC):
    """Scores the labels of texts; subclasses say how a batch of examples is scored."""

    #: Tells the Trainer that ``forward`` takes ``num_items_in_batch``.
    accepts_loss_kwargs = True
    #: Whether an example has one label, and not any number of them.
    one_label: ClassVar[bool] = True
    model: PreTrainedModel

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the scores; empty where each example brings candidates of its own."""

    @property
    @abstractmethod
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that an example needs."""

    @abstractmethod
    def batch_scores(self, examples: Sequence[Example]) -> Tensor:
        """Scores of a batch's labels, up to a constant per row, ``(batch, labels)``."""

    @abstractmethod
    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The inputs of ``forward``."""

    @abstractmethod
    def save_pretrained(self, save_directory: str | Path) -> None:
        """Save it so that ``from_pretrained`` loads it again."""

    @property
    def prior(self) -> Tensor | None:
        """Log-probabilities of the labels that are taken out of every prediction, ``(labels,)``."""
        return None

    def collate_rows(self, rows: Sequence[TrainingRow]) -> dict[str, Tensor]:
        """The inputs of ``forward`` for training; what is drawn at random is a function of the rows' numbers."""
        return self.collate([row.example for row in rows])

    def labelled(
        self, sources: Sources, labels: Iterable[Any] | str | None = None, text: Columns = None
    ) -> LabelledExamples:
        """Examples with their labels, where they have any; see ``nlpkit.pet.labelled_examples``."""
        return labelled_examples(sources, labels, self.fields, text, required=False, known=self.labels)

    def fully_labelled(self, sources: Sources) -> list[Example]:
        """Examples to measure by: each has a label.

        Raises:
            ValueError: one has none; the message names the first.
        """
        examples = self.labelled(sources).examples
        refuse_unlabelled([one.known_labels for one in examples])
        return examples

    def target(self, example: Example) -> Tensor:
        """What ``labels`` of a batch hold for an example: the number of its label, -100 where it is not known.

        Raises:
            ValueError: its label is none of the classifier's.
        """
        return torch.tensor(label_number(example, self.labels))

    def targets(self, examples: Sequence[Example]) -> Tensor:
        """``target`` of each example, ``(examples,)``."""
        return torch.stack([self.target(example) for example in examples])

    def losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example in nats, 0 where its label is not known, ``(batch,)``.

        Args:
            scores: ``(batch, labels)``.
            targets: as ``targets`` makes them.
        """
        return cross_entropies(at_least_fp32(scores), targets)

    def known(self, targets: Tensor) -> Tensor:
        """Whether the label of each example is known, ``(batch,)``."""
        return targets != NO_LABEL

    def mean_loss(self, scores: Tensor, targets: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """The sum of the examples' losses, divided by the labelled examples of the whole optimizer step, ``()``."""
        return divide_by_items(self.losses(scores, targets).sum(), self.known(targets), num_items_in_batch)

    def measure(self, scores: Tensor, examples: Sequence[Example]) -> dict[str, float]:
        """How right scores are; ``accuracy`` and ``loss`` at least, over the examples whose labels are known."""
        return accuracy_and_loss(scores, self.targets(examples))

    def adjusted(self, scores: Tensor) -> Tensor:
        """Scores of labels without what ``calibrate`` found that the model prefers anyway, ``(batch, labels)``."""
        return scores if self.prior is None else calibrated(scores, self.prior.to(scores.device))

    @torch.inference_mode()
    def scores(self, sources: Sources, batch_size: int = 64, *, text: Columns = None) -> Tensor:
        """Scores of labels, up to a constant per row, calibrated if ``calibrate`` was called.

        Args:
            sources: texts, in any form that ``nlpkit.pet.as_examples`` reads.
            batch_size: examples per forward pass.
            text: the column of the text, or of each field, where it has another name.

        Returns:
            Shape ``(examples, labels)``, on the CPU, in fp32, or in fp64 where the model is; where examples bring
            candidates, as many columns as the most.

        Raises:
            ValueError: ``batch_size`` is below 1, or a score is NaN or infinite.

        Note:
            Runs in evaluation mode, and leaves the mode of every module as it was; longest first, so that batches hold
            little padding; shows progress after a moment.
        """
        examples = as_examples(sources, self.fields, text)
        lengths = [sum(map(len, example.fields.values())) for example in examples]
        found: dict[int, Tensor] = {}
        with evaluating(self):
            for chosen in batches_by_length(lengths, batch_size, "classifying", show_progress=None):
                rows = self.adjusted(self.batch_scores([examples[number] for number in chosen])).cpu()
                found |= dict(zip(chosen, rows, strict=True))
        width = max((len(row) for row in found.values()), default=len(self.labels))
        dtype = next((torch.promote_types(row.dtype, torch.float32) for row in found.values()), torch.float32)
        padded = torch.full((len(examples), width), torch.finfo(torch.float32).min, dtype=dtype)
        for number, row in found.items():
            padded[number, : len(row)] = row
        return refuse_no_numbers(padded)


def accuracy_and_loss(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """How right scores are.

    Args:
        scores: of the labels, ``(examples, labels)``.
        labels: the right ones, -100 where they are not known, ``(examples,)``.

    Returns:
        ``accuracy``, and ``loss``, the cross-entropy in nats per example.

    Example:
        >>> accuracy_and_loss(torch.zeros(2, 4), torch.tensor([0, 3]))
        {'accuracy': 0.5, 'loss': 1.386...}
    """
    scores, labels = scores[labels != NO_LABEL], labels[labels != NO_LABEL]
    hits = (scores.argmax(dim=1) == labels).float().mean()
    return {"accuracy": hits.item(), "loss": F.cross_entropy(scores, labels).item()}
