"""Several ladders on one backbone."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any


def answer_together(ladders: Mapping[str, Any], **batch: Any) -> dict[str, Any]:
    """Let several ladders on one backbone answer a batch, running the backbone once.

    Args:
        ladders: made from the same model, by name.
        **batch: inputs that all of them take.

    Returns:
        The output of each.

    Raises:
        ValueError: none are given, or they stand beside different backbones.

    Example:
        >>> import torch
        >>> from transformers import BertConfig, BertModel
        >>> from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> ladders = {str(r): get_ladder_model(model, LadderConfig(reduction=r)) for r in (2, 4)}
        >>> sorted(answer_together(ladders, input_ids=torch.tensor([[1, 2]])))
        ['2', '4']
    """
    if not ladders:
        raise ValueError("give at least one ladder")
    first_name, first = next(iter(ladders.items()))
    for name, ladder in ladders.items():
        if _memory_of_blocks(ladder) != _memory_of_blocks(first):
            raise ValueError(f"ladders {first_name!r} and {name!r} do not share a backbone; build both on one model")
    wanted = {
        stack.name: set(chain.from_iterable(ladder.tapped_layers()[stack.name] for ladder in ladders.values()))
        for stack in first.stacks
    }
    taps = first.tap(layers=wanted, **batch)
    return {name: ladder(**batch, taps=taps) for name, ladder in ladders.items()}


def _memory_of_blocks(ladder: Any) -> list[int]:
    return [p.data_ptr() for stack in ladder.stacks for rung in stack.blocks(ladder) for p in rung.block.parameters()]
