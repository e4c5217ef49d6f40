"""Random masks, and the loss at them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nlpkit.data.masking import MaskedTokenCollator
from nlpkit.losses.normalised import cross_entropy
from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.clozes.cloze import Cloze, ClozeEncoder
from nlpkit.pet.output_layer_input import logits_of, output_layer
from nlpkit.pet.training.objective import Batch

#: What the names of masked texts begin with, in a batch that holds labelled examples too.
_PREFIX = "mlm_"


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
        batch = self.encoder.pad(clozes)
        batch["labels"] = torch.full_like(batch["input_ids"], -100)
        if self._random is not None:
            ids = batch["input_ids"].numpy()
            inputs, labels = self._random.mask(ids, torch.tensor(draws).numpy())
            batch |= {"input_ids": torch.from_numpy(inputs), "labels": torch.from_numpy(labels)}
        return batch


def masked_lm_loss(classifier: PetClassifier, batch: Batch, items: Tensor) -> Tensor:
    """Cross-entropy over the whole vocabulary at the labelled positions, computed there only.

    Args:
        classifier: gives the model.
        batch: inputs and ``labels``, ``(rows, length)``.
        items: labelled positions of the whole optimizer step, ``()``.

    Returns:
        Nats per position, shape ``()``.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    rows, columns = (batch["labels"] != -100).nonzero(as_tuple=True)
    states = classifier.states_at(rows, columns, **inputs)  # (positions, hidden)
    logits = logits_of(output_layer(classifier.model), states, None)  # (positions, vocabulary)
    return cross_entropy(logits, batch["labels"][rows, columns], num_items_in_batch=items)


def joined(labelled: Batch, masked: Batch) -> Batch:
    """One batch of labelled examples and of masked texts, the latter under names with ``mlm_``."""
    return labelled | {_PREFIX + name: tensor for name, tensor in masked.items()}


def parted(batch: Batch) -> tuple[Batch, Batch]:
    """The two batches of ``joined``."""
    masked = {name.removeprefix(_PREFIX): tensor for name, tensor in batch.items() if name.startswith(_PREFIX)}
    return {name: tensor for name, tensor in batch.items() if not name.startswith(_PREFIX)}, masked
