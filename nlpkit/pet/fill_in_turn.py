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
        Each token of the words is a step, and in a step every distinct input is one row of a forward pass: words that
        begin alike share their rows, and words of fewer tokens leave early.
    """
    words, variants, slots = batch["words"], batch["variants"], batch["slots"]
    examples, count, _ = words.shape
    row = torch.arange(examples, device=words.device)[:, None] * (len(slots) // examples) + variants  # (batch, words)
    row = row.flatten()
    inputs = {name: batch[name][row] for name in ("input_ids", "attention_mask", "token_type_ids")}
    flat = words.flatten(end_dim=1)  # (batch * words, masks)
    targets = torch.where(flat == PADDING, PADDING, batch["tokens"][flat.clamp(min=0)])
    totals = _fill(log_probabilities_at, row, inputs, slots[row], targets, order == "left_to_right", rows_at_once)
    if mean_over_tokens:
        totals = totals / (targets != PADDING).sum(dim=1)
    return totals.view(examples, count)


def _fill(
    log_probabilities_at: LogProbabilitiesAt,
    origin: Tensor,
    inputs: dict[str, Tensor],
    slots: Tensor,
    targets: Tensor,
    left_to_right: bool,
    rows_at_once: int,
) -> Tensor:
    """Log-probability of each row's word, ``(rows,)``.

    Args:
        log_probabilities_at: asks the model.
        origin: the cloze that each row began as, ``(rows,)``.
        inputs: of the model, ``(rows, length)``.
        slots: columns of the masks, ``(rows, masks)``.
        targets: tokens of the words, padded, ``(rows, masks)``.
        left_to_right: fill the first mask, not the most certain one.
        rows_at_once: rows per forward pass.
    """
    ids = inputs["input_ids"].clone()
    open_masks = targets != PADDING  # (rows, masks)
    totals = torch.zeros((), device=ids.device)
    while open_masks.any():
        live = open_masks.any(dim=1).nonzero()[:, 0]  # (live,)
        asked = open_masks[live]  # (live, masks)
        if left_to_right:
            asked = asked & (asked.cumsum(dim=1) == 1)
        state = torch.cat([origin[live, None], ids[live].gather(1, slots[live].clamp(min=0)), asked.long()], dim=1)
        of_live = state.unique(dim=0, return_inverse=True)[1]  # (live,)
        places = torch.arange(len(live), device=ids.device)
        firsts = places.new_full((int(of_live.max()) + 1,), len(live)).scatter_reduce(0, of_live, places, "amin")
        scores: Tensor | None = None
        for part, first in zip(places[: len(firsts)].split(rows_at_once), firsts.split(rows_at_once), strict=True):
            sharing = ((of_live >= part[0]) & (of_live <= part[-1])).nonzero()[:, 0]  # (some of live,)
            found = asked[first].nonzero(as_tuple=True)  # two of (positions,)
            log_probabilities = log_probabilities_at(
                found[0],
                slots[live[first]][found],
                input_ids=ids[live[first]],
                attention_mask=inputs["attention_mask"][live[first]],
                token_type_ids=inputs["token_type_ids"][live[first]],
            )  # (positions, vocabulary)
            place = torch.zeros_like(asked[first], dtype=torch.long)  # (distinct, masks): which position
            place[found] = torch.arange(len(found[0]), device=ids.device)
            own = log_probabilities[place[of_live[sharing] - part[0]], targets[live[sharing]].clamp(min=0)]
            if scores is None:
                scores = own.new_full(asked.shape, -torch.inf)
            scores[sharing] = own.masked_fill(~asked[sharing], -torch.inf)
        assert scores is not None
        chosen = scores.argmax(dim=1)  # the first of equals
        totals = totals + scores.new_zeros(len(ids)).index_add(0, live, scores.gather(1, chosen[:, None])[:, 0])
        ids[live, slots[live, chosen]] = targets[live, chosen]
        open_masks[live, chosen] = False
    return totals
