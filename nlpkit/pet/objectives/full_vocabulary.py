"""The blog's variant of PET: write the label word, over the whole vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nlpkit.pet.objectives.masked_text import MaskedTextLoss
from nlpkit.pet.training.objective import Batch
from nlpkit.pet.training.training_rows import TrainingRow, unlabelled_of


class FullVocabularyLoss(MaskedTextLoss):
    """The blog's variant: an ordinary masked LM, trained to write the label word where the label belongs.

    Source: kexue.fm/archives/7764: no restriction to label words while training; the label slot and 15 % of the other
    tokens are predicted over the whole vocabulary and averaged together; texts without a label join without a pattern.

    Args:
        classifier: what is trained.
        mask_probability: share of the tokens, besides the label's, that are to be predicted; 0 means the label's
            alone.
        seed: of the masks.

    Note:
        Of a label with several words the first is the one to write.
    """

    @property
    def uses_unlabelled(self) -> bool:
        """Always, if only for more random masks."""
        return True

    @property
    def needs_labels(self) -> bool:
        """Yes: they say what to write."""
        return True

    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """Clozes with their label words as targets, and texts whose label is not known, all randomly masked."""
        collator, encoder = self.classifier.collator, self.masker.encoder
        labelled = [row for row in rows if row.example.label is not None]
        others = [row for row in rows if row.example.label is None]
        words = [collator.right_word(row.example) for row in labelled]
        clozes = [
            cloze
            for row, word in zip(labelled, words, strict=True)
            for cloze in encoder.encode([row.example], word.mask_counts)
        ]
        unlabelled, draws = unlabelled_of(rows)
        plain = encoder.encode_plain([*(row.example for row in others), *unlabelled])
        masked = self.masker.mask([*clozes, *plain], [*(row.draw for row in (*labelled, *others)), *draws])
        for labels, cloze, word in zip(masked["labels"], clozes, words, strict=False):
            labels[cloze.slots] = torch.tensor(word.flat)
        return masked
