"""Freezing a model and putting a trainable ladder beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.assembly import build_ladder
from nlpkit.ladder_side_tuning.blocks.block_family import BlockFamily
from nlpkit.ladder_side_tuning.blocks.families import FAMILIES
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.initialisation.initialise import initialise
from nlpkit.ladder_side_tuning.modeling import LadderModel


def get_ladder_model(
    model: PreTrainedModel,
    config: LadderConfig | None = None,
    *,
    batches: Iterable[Mapping[str, Any]] | None = None,
    families: Sequence[BlockFamily] | None = None,
) -> LadderModel:
    """Freeze a model and put a trainable ladder beside it.

    Source: Sung, Cho and Bansal 2022, "LST: Ladder Side-Tuning for Parameter and Memory Efficient Transfer Learning".

    Args:
        model: any model of transformers, or made of one, whose blocks are of a known family. Its parameters are frozen
            in place; otherwise it stays as it is and can be used further, also beside other ladders.
        config: how to make the ladder; by default ``LadderConfig()``.
        batches: inputs of the model, for ``init="fisher"`` (with labels) and ``init="distill"``.
        families: kinds of block, by default ``FAMILIES``; add your own to support others.

    Returns:
        A model of the same class, with the same heads, inputs and outputs, which shares the given model's parameters
        in memory, except those of the head (or ``config.modules_to_save``), of which it has a trainable copy.

    Raises:
        TypeError: not a ``PreTrainedModel``, or a ladder already.
        ValueError: unknown blocks, or the configuration does not fit them, or ``batches`` are missing.

    Note:
        Of the backbone's activations, only the tapped states themselves are kept for the backward pass.

    Example:
        >>> import torch
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> model = BertForSequenceClassification(BertConfig(
        ...     vocab_size=9, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64))
        >>> ladder = get_ladder_model(model, LadderConfig(reduction=8, layers=2))
        >>> ladder(input_ids=torch.tensor([[1, 2, 3]])).logits.shape
        torch.Size([1, 2])
        >>> ladder.tapped_layers()
        {'bert.encoder': [1, 3]}
    """
    trainable = (
        [parameter for parameter in model.parameters() if parameter.requires_grad]
        if isinstance(model, nn.Module)
        else []
    )
    ladder = build_ladder(LadderModel, model, config or LadderConfig(), FAMILIES if families is None else families)
    try:
        initialise(ladder, model, batches)
    except ValueError:
        for parameter in trainable:  # a refused model stays as it was
            parameter.requires_grad_(True)
        raise
    return ladder
