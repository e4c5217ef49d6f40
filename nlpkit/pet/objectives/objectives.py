"""What a prompted model is trained on: each objective is a module around the classifier, for any Trainer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from nlpkit.data.masking import MaskedTokenCollator
from nlpkit.losses.normalised import cross_entropy
from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.classifiers.text_classifier import TextClassifier
from nlpkit.pet.clozes.cloze import Cloze, ClozeEncoder
from nlpkit.pet.clozes.cloze_batch import pad_clozes
from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.objectives.training_rows import TrainingRow
from nlpkit.pet.output_layer_input import logits_of, output_layer

Batch = dict[str, Tensor]
#: The kind of classifier that an objective trains.
C = TypeVar("C", bound=TextClassifier, covariant=True)


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

    @property
    def uses_unlabelled(self) -> bool:
        """Whether rows shall come with unlabelled texts."""
        return False

    def __init__(self, classifier: C) -> None:
        super().__init__()
        self.classifier = classifier

    @abstractmethod
    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """The inputs of ``forward``."""

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
            ``loss``, shape ``()``, in nats.
        """
        items = self.items(batch) if num_items_in_batch is None else num_items_in_batch
        return {"loss": self.terms(batch, items).sum()}


class LabelLoss(Objective[C]):
    """Cross-entropy over the labels; the plain way to train a classifier, prompted or not.

    Args:
        classifier: any classifier of this package.
    """

    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """The classifier's inputs; see `TextClassifier.collate`."""
        return self.classifier.collate_rows(rows)

    def items(self, batch: Batch) -> Tensor:
        """Number of labelled examples, ``(1,)``."""
        return (batch["labels"] != -100).sum()[None]

    def terms(self, batch: Batch, items: Tensor) -> Tensor:
        """The cross-entropy, ``(1,)``."""
        return self.classifier(**batch, num_items_in_batch=items[0]).loss[None]


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
        if self.alpha < 1:
            encoder = self.masker.encoder
            unlabelled, draws = companions(rows)
            if not unlabelled:
                raise ValueError(
                    "alpha below 1 needs unlabelled texts in every step; set unlabelled_a_row, or alpha=1"
                )
            clozes = encoder.encode(unlabelled, [1] * encoder.pattern.slots)
            batch |= {f"mlm_{name}": tensor for name, tensor in self.masker.mask(clozes, draws).items()}
        return batch

    def items(self, batch: Batch) -> Tensor:
        """Numbers of labelled examples and of masked tokens, ``(2,)``, or the first alone at ``alpha`` = 1."""
        counts = [(batch["labels"] != -100).sum()]
        if self.alpha < 1:
            counts.append((batch["mlm_labels"] != -100).sum())
        return torch.stack(counts)

    def terms(self, batch: Batch, items: Tensor) -> Tensor:
        """The weighted cross-entropy and masked-LM loss."""
        mlm = {name.removeprefix("mlm_"): tensor for name, tensor in batch.items() if name.startswith("mlm_")}
        labelled = {name: tensor for name, tensor in batch.items() if not name.startswith("mlm_")}
        found = [self.alpha * self.classifier(**labelled, num_items_in_batch=items[0]).loss]
        if self.alpha < 1:
            found.append((1 - self.alpha) * masked_lm_loss(self.classifier, mlm, items[1]))
        return torch.stack(found)


class FullVocabularyLoss(Objective[PetClassifier]):
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

    def __init__(self, classifier: PetClassifier, mask_probability: float = 0.15, seed: int = 0) -> None:
        super().__init__(classifier)
        self.masker = TokenMasker(classifier.collator.encoder, mask_probability, seed)

    @property
    def uses_unlabelled(self) -> bool:
        """Always, if only for more random masks."""
        return True

    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """Clozes with their label words as targets, and unlabelled texts, all randomly masked."""
        collator = self.classifier.collator
        encoder = collator.encoder
        clozes, fillings = [], []
        for row in rows:
            word = collator.right_word(row.example)
            clozes += encoder.encode([row.example], word.mask_counts)
            fillings.append(word.flat)
        unlabelled, draws = companions(rows)
        clozes += encoder.encode_plain(unlabelled)
        batch = self.masker.mask(clozes, [row.draw for row in rows] + draws)
        for number, filling in enumerate(fillings):
            batch["labels"][number, clozes[number].slots] = torch.tensor(filling)
        return batch

    def items(self, batch: Batch) -> Tensor:
        """Number of positions to predict, ``(1,)``."""
        return (batch["labels"] != -100).sum()[None]

    def terms(self, batch: Batch, items: Tensor) -> Tensor:
        """The masked-LM loss, ``(1,)``."""
        return masked_lm_loss(self.classifier, batch, items[0])[None]


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


class TokenMasker:
    """Masks random tokens of clozes, reproducibly (see ``nlpkit.data.masking.MaskedTokenCollator``).

    Args:
        encoder: gives the tokenizer.
        probability: share of the ordinary tokens that become targets; 0 means none.
        seed: of the masks.
    """

    def __init__(self, encoder: ClozeEncoder, probability: float, seed: int) -> None:
        self.encoder = encoder
        self._random = MaskedTokenCollator(encoder.tokenizer, probability, seed=seed) if probability else None

    def mask(self, clozes: Sequence[Cloze], draws: Sequence[int]) -> Batch:
        """Inputs with masks, and ``labels``, the tokens to predict, -100 elsewhere, ``(clozes, length)``."""
        batch = pad_clozes(clozes, self.encoder.tokenizer.pad_token_id)
        batch["labels"] = torch.full_like(batch["input_ids"], -100)
        if self._random is not None:
            ids = batch["input_ids"].numpy()
            inputs, labels = self._random.mask(ids, torch.tensor(draws).numpy())
            batch |= {"input_ids": torch.from_numpy(inputs), "labels": torch.from_numpy(labels)}
        return batch


def companions(rows: Sequence[TrainingRow]) -> tuple[list[Example], list[int]]:
    """The unlabelled examples of some rows, and a number for each that no labelled row has."""
    examples = [example for row in rows for example in row.unlabelled]
    numbers = [-1 - row.draw * len(row.unlabelled) - place for row in rows for place in range(len(row.unlabelled))]
    return examples, numbers


def masked_lm_loss(classifier: PetClassifier, batch: Batch, items: Tensor) -> Tensor:
    """Cross-entropy over the whole vocabulary at the labelled positions, computed there only.

    Args:
        classifier: gives the model.
        batch: inputs and ``labels``, ``(rows, length)``.
        items: labelled positions of the whole optimizer step, ``()``.

    Returns:
        Nats a position, shape ``()``.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    rows, columns = (batch["labels"] != -100).nonzero(as_tuple=True)
    states = classifier.states_at(rows, columns, **inputs)  # (positions, hidden)
    logits = logits_of(output_layer(classifier.model), states, None)  # (positions, vocab)
    return cross_entropy(logits, batch["labels"][rows, columns], num_items_in_batch=items)
