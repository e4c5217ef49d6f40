"""The masked-LM loss on texts alone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.objectives.masked_tokens import TokenMasker, masked_lm_loss
from nlpkit.pet.training.objective import Batch, Objective
from nlpkit.pet.training.training_rows import TrainingRow


class MaskedTextLoss(Objective[PetClassifier]):
    """The masked-LM loss on texts without pattern or label: a model gets used to a domain before it is asked.

    Source: kexue.fm/archives/7764, the row "RoBERTa + MLM on unlabelled text".

    Args:
        classifier: what is trained; its training examples need no labels.
        mask_probability: share of the tokens to predict.
        seed: of the masks.
    """

    def __init__(self, classifier: PetClassifier, mask_probability: float = 0.15, seed: int = 0) -> None:
        super().__init__(classifier)
        self.masker = TokenMasker(classifier.collator.encoder, mask_probability, seed)

    @property
    def needs_labels(self) -> bool:
        """No."""
        return False

    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """Masked texts."""
        clozes = self.masker.encoder.encode_plain([row.example for row in rows])
        return self.masker.mask(clozes, [row.draw for row in rows])

    def items(self, batch: Batch) -> Tensor:
        """Number of positions to predict, ``(1,)``."""
        return (batch["labels"] != -100).sum()[None]

    def terms(self, batch: Batch, items: Tensor) -> Tensor:
        """The masked-LM loss, ``(1,)``."""
        return masked_lm_loss(self.classifier, batch, items[0])[None]
