"""Label words of several tokens, scored by filling one mask after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nlpkit.pet.output_layer_input import logits_of, output_layer
from nlpkit.pet.scoring import PADDING, label_scores

if TYPE_CHECKING:
    from nlpkit.pet.classifiers.pet_classifier import PetClassifier


def scores_in_turn(classifier: PetClassifier, batch: dict[str, Tensor], rows_at_once: int) -> Tensor:
    """Scores of labels whose words are filled in token by token.

    Source: PET with several masks (Schick and Schuetze, 2021, arXiv 2009.07118, equation 4 for the most confident
    first); the chain rule for left to right.

    Args:
        classifier: gives the model and the order.
        batch: what the classifier's ``collate`` made, without labels.
        rows_at_once: rows a forward pass.

    Returns:
        Shape ``(batch, labels)``.

    Note:
        Every word of every example is a row of its own, and each of its tokens a forward pass; words of fewer tokens
        leave the batch early.
    """
    assert classifier.verbalizer is not None
    words, variants, slots = batch["words"], batch["variants"], batch["slots"]
    examples, count, _ = words.shape
    row = torch.arange(examples, device=words.device)[:, None] * (len(slots) // examples) + variants  # (batch, words)
    inputs = {name: batch[name][row.flatten()] for name in ("input_ids", "attention_mask", "token_type_ids")}
    flat = words.flatten(end_dim=1)  # (batch * words, masks)
    targets = torch.where(flat == PADDING, PADDING, batch["tokens"][flat.clamp(min=0)])
    totals = torch.cat(
        [
            _fill(classifier, {name: tensor[part] for name, tensor in inputs.items()}, places[part], targets[part])
            for places in [slots[row.flatten()]]
            for part in torch.arange(len(flat), device=flat.device).split(rows_at_once)
        ]
    )
    if classifier.verbalizer.length_normalization == "mean":
        totals = totals / (targets != PADDING).sum(dim=1)
    return label_scores(totals.view(examples, count), batch["groups"], classifier.verbalizer.aggregate)


def _fill(classifier: PetClassifier, inputs: dict[str, Tensor], slots: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of each row's word, ``(rows,)``; ``slots`` and ``targets`` are ``(rows, masks)``."""
    assert classifier.verbalizer is not None
    left_to_right = classifier.verbalizer.order == "left_to_right"
    ids = inputs["input_ids"].clone()
    open_masks = targets != PADDING  # (rows, masks)
    totals = torch.zeros(len(ids), device=ids.device)
    while open_masks.any():
        live = open_masks.any(dim=1).nonzero()[:, 0]  # (live,)
        asked = open_masks[live].nonzero(as_tuple=True)  # two of (positions,)
        states = classifier.states_at(
            asked[0],
            slots[live][asked],
            input_ids=ids[live],
            attention_mask=inputs["attention_mask"][live],
            token_type_ids=inputs["token_type_ids"][live],
        )
        log_probabilities = logits_of(output_layer(classifier.model), states, None).float().log_softmax(dim=-1)
        own = log_probabilities.gather(1, targets[live][asked][:, None])[:, 0]  # (positions,)
        scores = torch.full(open_masks[live].shape, -torch.inf, device=ids.device)
        scores[asked] = own
        confidence = torch.where(open_masks[live], 0.0, -torch.inf) if left_to_right else scores
        chosen = confidence.argmax(dim=1)  # the first of equals
        totals[live] += scores.gather(1, chosen[:, None])[:, 0]
        ids[live, slots[live, chosen]] = targets[live, chosen]
        open_masks[live, chosen] = False
    return totals
