"""Scores of label words the slow way: one example, one word, one forward pass through all logits at a time."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


def word_score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    before: str,
    after: str,
    word_ids: list[int],
    order: str,
    mean: bool,
) -> float:
    """Log-probability of a word's tokens between two texts, or its mean over them."""
    ids = tokenizer(before + tokenizer.mask_token * len(word_ids) + after)["input_ids"]
    places = [place for place, number in enumerate(ids) if number == tokenizer.mask_token_id]
    assert len(places) == len(word_ids)
    remaining, total = list(range(len(word_ids))), 0.0
    while remaining:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        logs = {n: float(torch.log_softmax(logits[places[n]].double(), -1)[word_ids[n]]) for n in remaining}
        if order == "parallel":
            total, remaining = sum(logs.values()), []
            continue
        number = remaining[0] if order == "left_to_right" else max(remaining, key=lambda n: logs[n])
        total += logs[number]
        ids[places[number]] = word_ids[number]
        remaining.remove(number)
    return total / len(word_ids) if mean else total


def combine(scores: list[float], aggregate: str) -> float:
    """One score of several words."""
    values = torch.tensor(scores, dtype=torch.float64)
    return float({"mean": values.mean, "max": values.max, "logsumexp": lambda: values.logsumexp(0)}[aggregate]())
