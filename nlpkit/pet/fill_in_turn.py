"""Label words of several tokens, scored by filling one mask after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from nlpkit.pet.scoring import PADDING

#: Rows and columns of positions, and a model's inputs by name, to log-probabilities ``(positions, vocabulary)``.
LogProbabilitiesAt = Callable[..., Tensor]


def scores_in_turn(
    log_probabilities_at: LogProbabilitiesAt,
    batch: dict[str, Tensor],
    order: Literal["most_confident_first", "left_to_right"],
    mean_over_tokens: bool,
    rows_at_once: int = 128,
) -> Tensor:
    """Scores of words that are filled in token by token.

    Source: PET with several masks (Schick and Schuetze, 2021, arXiv 2009.07118, equation 4 for the most confident
    first); the chain rule for left to right.

    Args:
        log_probabilities_at: asks the model.
        batch: what ``ClozeCollator`` made, without labels.
        order: which mask is filled next.
        mean_over_tokens: divide by the number of tokens.
        rows_at_once: rows per forward pass.

    Returns:
        Nats, shape ``(batch, words)``.

    Note:
        Every word of every example is a row of its own, and each of its tokens a forward pass; words of fewer tokens
        leave the batch early.
    """
    words, variants, slots = batch["words"], batch["variants"], batch["slots"]
    examples, count, _ = words.shape
    row = torch.arange(examples, device=words.device)[:, None] * (len(slots) // examples) + variants  # (batch, words)
    inputs = {name: batch[name][row.flatten()] for name in ("input_ids", "attention_mask", "token_type_ids")}
    places = slots[row.flatten()]  # (batch * words, masks)
    flat = words.flatten(end_dim=1)  # (batch * words, masks)
    targets = torch.where(flat == PADDING, PADDING, batch["tokens"][flat.clamp(min=0)])
    totals = torch.cat(
        [
            _fill(
                log_probabilities_at,
                {name: tensor[part] for name, tensor in inputs.items()},
                places[part],
                targets[part],
                order == "left_to_right",
            )
            for part in torch.arange(len(flat), device=flat.device).split(rows_at_once)
        ]
    )
    if mean_over_tokens:
        totals = totals / (targets != PADDING).sum(dim=1)
    return totals.view(examples, count)


def _fill(
    log_probabilities_at: LogProbabilitiesAt,
    inputs: dict[str, Tensor],
    slots: Tensor,
    targets: Tensor,
    left_to_right: bool,
) -> Tensor:
    """Log-probability of each row's word, ``(rows,)``; ``slots`` and ``targets`` are ``(rows, masks)``."""
    ids = inputs["input_ids"].clone()
    open_masks = targets != PADDING  # (rows, masks)
    totals = torch.zeros((), device=ids.device)
    while open_masks.any():
        live = open_masks.any(dim=1).nonzero()[:, 0]  # (live,)
        asked = open_masks[live].nonzero(as_tuple=True)  # two of (positions,)
        log_probabilities = log_probabilities_at(
            asked[0],
            slots[live][asked],
            input_ids=ids[live],
            attention_mask=inputs["attention_mask"][live],
            token_type_ids=inputs["token_type_ids"][live],
        )
        own = log_probabilities.gather(1, targets[live][asked][:, None])[:, 0]  # (positions,)
        scores = own.new_full(open_masks[live].shape, -torch.inf)
        scores[asked] = own
        confidence = torch.where(open_masks[live], 0.0, -torch.inf) if left_to_right else scores
        chosen = confidence.argmax(dim=1)  # the first of equals
        totals = totals + own.new_zeros(len(ids)).index_add(0, live, scores.gather(1, chosen[:, None])[:, 0])
        ids[live, slots[live, chosen]] = targets[live, chosen]
        open_masks[live, chosen] = False
    return totals
