"""PET's objective: labels, and a little masked-LM loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.objectives.masked_tokens import TokenMasker, joined, masked_lm_loss, parted
from nlpkit.pet.training.objective import Batch, Objective
from nlpkit.pet.training.training_rows import TrainingRow, unlabelled_of


class PetLoss(Objective[PetClassifier]):
    """PET's objective: cross-entropy over the labels, and a little masked-LM loss on unlabelled texts in the pattern.

    Source: Schick and Schuetze, 2021, arXiv 2001.07676, equation 3, with the weights of their implementation:
    ``alpha * CE + (1 - alpha) * MLM``.

    Args:
        classifier: what is trained.
        alpha: weight of the cross-entropy; at 1 there is no masked-LM term, and no unlabelled text is needed.
        mask_probability: share of an unlabelled cloze's tokens that are to be predicted.
        seed: of the masks.

    Raises:
        ValueError: ``alpha`` is not in (0, 1].
    """

    def __init__(
        self, classifier: PetClassifier, alpha: float = 0.9999, mask_probability: float = 0.15, seed: int = 0
    ) -> None:
        super().__init__(classifier)
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha must be above 0 and at most 1; got {alpha}")
        self.alpha = alpha
        self.masker = TokenMasker(classifier.collator.encoder, mask_probability, seed)

    @property
    def uses_unlabelled(self) -> bool:
        """Below ``alpha`` = 1."""
        return self.alpha < 1

    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """The classifier's inputs, and below ``alpha`` = 1 ``mlm_...`` of the unlabelled texts."""
        batch = self.classifier.collate_rows(rows)
        if not self.uses_unlabelled:
            return batch
        unlabelled, draws = unlabelled_of(rows)
        if not unlabelled:
            raise ValueError("alpha below 1 needs unlabelled texts in every step; set unlabelled_per_row, or alpha=1")
        encoder = self.masker.encoder
        clozes = encoder.encode(unlabelled, [1] * encoder.pattern.slots)
        return joined(batch, self.masker.mask(clozes, draws))

    @property
    def term_names(self) -> tuple[str, ...]:
        """Of the terms, for the log."""
        return ("label", "masked_lm") if self.uses_unlabelled else ("label",)

    def items(self, batch: Batch) -> Tensor:
        """Numbers of labelled examples and of masked tokens, ``(2,)``, or the first alone at ``alpha`` = 1."""
        counts = [(batch["labels"] != -100).sum()]
        if self.uses_unlabelled:
            counts.append((batch["mlm_labels"] != -100).sum())
        return torch.stack(counts)

    def terms(self, batch: Batch, items: Tensor) -> Tensor:
        """The weighted cross-entropy and masked-LM loss."""
        labelled, masked = parted(batch)
        found = [self.alpha * self.classifier(**labelled, num_items_in_batch=items[0]).loss]
        if self.uses_unlabelled:
            found.append((1 - self.alpha) * masked_lm_loss(self.classifier, masked, items[1]))
        return torch.stack(found)
