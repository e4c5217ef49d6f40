"""ADAPET: a decoupled label loss, and predicting the input from the label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.data.masking import counter_uniforms
from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.clozes.cloze import filled
from nlpkit.pet.clozes.examples import NO_LABEL, label_number
from nlpkit.pet.objectives.masked_tokens import TokenMasker, joined, parted
from nlpkit.pet.scoring import labels_from_words
from nlpkit.pet.training.objective import Batch, Objective
from nlpkit.pet.training.training_rows import TrainingRow


def log_one_minus_exp(log_probability: Tensor) -> Tensor:
    """``log(1 - exp(x))`` for ``x < 0``, accurate at both ends.

    Source: Maechler, *Accurately computing log(1 - exp(-|a|))*, 2012.

    Example:
        >>> log_one_minus_exp(torch.tensor([-1e-6, -50.0]))
        tensor([-1.3816e+01, -1.9287e-22])
    """
    below = log_probability.clamp(max=-torch.finfo(log_probability.dtype).tiny)
    near = below > -0.6931
    # Each branch gets a harmless argument where the other is meant: its gradient would be infinite times zero.
    small = torch.log(-torch.expm1(torch.where(near, below, -1.0)))
    large = torch.log1p(-torch.exp(torch.where(near, -1.0, below)))
    return torch.where(near, small, large)


class AdapetLoss(Objective[PetClassifier]):
    """Full-vocabulary probabilities for right and wrong labels alike, and the input predicted from each.

    Source: ADAPET (Tam et al., 2021, arXiv 2103.11955, sections 3.1 and 3.2). The decoupled label loss pushes the
    right label's probability under the whole vocabulary to 1 and every wrong label's to 0. Label conditioning fills in
    a label, masks some of the input, and pushes the probability of the original tokens to 1 for the right label, to 0
    for a wrong.

    Args:
        classifier: what is trained.
        mask_probability: share of the tokens to predict from the label (the paper's configurations use about 0.1).
        label_condition: weight of the second term; 0 leaves it out.
        seed: of masks and of the choice between right and wrong labels (even odds).

    Raises:
        ValueError: the classifier has no common labels, or the weight is negative or not finite.

    Note:
        No unlabelled text is used. A step costs one pass for the label and one for the input.
    """

    def __init__(
        self,
        classifier: PetClassifier,
        mask_probability: float = 0.105,
        label_condition: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(classifier)
        if not classifier.labels:
            raise ValueError("ADAPET needs labels common to all examples; these bring candidates of their own")
        self.label_condition, self.seed = checked_number("label_condition", label_condition, least=0), seed
        self.masker = TokenMasker(classifier.collator.encoder, mask_probability, seed)

    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """The classifier's inputs, and ``mlm_...`` of clozes with a right or wrong label filled in."""
        collator = self.classifier.collator
        batch = self.classifier.collate_rows(rows)
        draws = [row.draw for row in rows]
        random = counter_uniforms(self.seed, 17, torch.tensor(draws).numpy(), 2)
        clozes, wanted = [], []
        words = collator.first_words()
        for row, (coin, pick) in zip(rows, random.tolist(), strict=True):
            right = label_number(row.example, collator.labels)
            others = [number for number in range(len(words)) if number != right]
            is_right = coin < 0.5 and right != NO_LABEL
            word = words[right if is_right else others[int(pick * len(others))]]
            (cloze,) = collator.encoder.encode([row.example], word.mask_counts)
            clozes.append(filled(cloze, word.flat))
            wanted.append(is_right)
        masked = self.masker.mask(clozes, draws)
        masked["labels"][batch["labels"] == NO_LABEL] = -100  # nothing follows from a label that is not known
        for number, cloze in enumerate(clozes):  # the label itself is given, not asked for
            slots = torch.tensor(cloze.slots)
            masked["labels"][number, slots] = -100
            masked["input_ids"][number, slots] = torch.tensor([cloze.input_ids[place] for place in cloze.slots])
        masked["is_right"] = torch.tensor(wanted)
        return joined(batch, masked)

    @property
    def term_names(self) -> tuple[str, ...]:
        """Of the terms, for the log."""
        return ("label", "label_conditioning")

    def items(self, batch: Batch) -> Tensor:
        """Numbers of labelled examples and of masked tokens, ``(2,)``."""
        return torch.stack([(batch["labels"] != -100).sum(), (batch["mlm_labels"] != -100).sum()])

    def terms(self, batch: Batch, items: Tensor) -> Tensor:
        """The decoupled label loss and the weighted label-conditioned loss, ``(2,)``."""
        labelled, masked = parted(batch)
        return torch.stack([self._label_term(labelled, items[0]), self._input_term(masked, items[1])])

    def _label_term(self, batch: Batch, items: Tensor) -> Tensor:
        labels, groups = batch.pop("labels"), batch.pop("groups")
        words = self.classifier.word_scores(**batch, normalize=True)  # (batch, words)
        log_probabilities = labels_from_words(words, groups, self.classifier.aggregate)  # (batch, labels)
        right = torch.zeros_like(log_probabilities, dtype=torch.bool)
        right[labels >= 0, labels[labels >= 0]] = True
        losses = -torch.where(right, log_probabilities, log_one_minus_exp(log_probabilities)).sum(dim=1)
        return losses[labels >= 0].sum() / items.clamp(min=1)

    def _input_term(self, batch: Batch, items: Tensor) -> Tensor:
        labels, is_right = batch.pop("labels"), batch.pop("is_right")
        rows, columns = (labels != -100).nonzero(as_tuple=True)
        log_probabilities = self.classifier.log_probabilities_at(rows, columns, **batch)  # (positions, vocabulary)
        own = log_probabilities.gather(1, labels[rows, columns][:, None])[:, 0]  # (positions,)
        losses = -torch.where(is_right[rows], own, log_one_minus_exp(own))
        return self.label_condition * losses.sum() / items.clamp(min=1)
