"""Freezing a model and putting a trainable ladder beside it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.families import FAMILIES, BlockFamily
from nlpkit.ladder_side_tuning.initialisation import initialise
from nlpkit.ladder_side_tuning.modeling import LadderModel, ladder_class
from nlpkit.ladder_side_tuning.side_network import build_side_network
from nlpkit.ladder_side_tuning.stacks import find_stacks


def get_ladder_model(
    model: PreTrainedModel,
    config: LadderConfig,
    *,
    batches: Iterable[Mapping[str, Any]] | None = None,
    families: Sequence[BlockFamily] = FAMILIES,
) -> Any:
    """Freeze a model and put a trainable ladder beside it.

    Source: Sung, Cho and Bansal 2022, "LST: Ladder Side-Tuning for Parameter and Memory Efficient Transfer Learning".

    Args:
        model: any model of transformers, or made of one, whose blocks are of a known family. Its parameters are frozen
            in place; otherwise it stays as it is and can be used further, also beside other ladders.
        config: how to make the ladder.
        batches: inputs of the model, for ``init="fisher"`` (with labels) and ``init="distill"``.
        families: kinds of block; add your own to support others.

    Returns:
        A model of the same class, with the same heads, inputs and outputs, which shares the given model's parameters
        in memory, but for the head (or ``config.modules_to_save``), of which it has a trainable copy.

    Raises:
        TypeError: not a ``PreTrainedModel``, or a ladder already.
        ValueError: unknown blocks, or the configuration does not fit them, or ``batches`` are missing.

    Note:
        No activation of the backbone is kept for the backward pass but the tapped states themselves.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> model = BertForSequenceClassification(BertConfig(
        ...     vocab_size=9, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64))
        >>> ladder = get_ladder_model(model, LadderConfig(reduction=8, layers=2))
        >>> ladder(input_ids=torch.tensor([[1, 2, 3]])).logits.shape
        torch.Size([1, 2])
        >>> ladder.tapped_layers()
        {'bert.encoder': [1, 3]}
    """
    ladder = build_ladder(model, config, families)
    initialise(ladder, model, batches)
    return ladder


def build_ladder(model: PreTrainedModel, config: LadderConfig, families: Sequence[BlockFamily] = FAMILIES) -> Any:
    """`get_ladder_model` without the initialisation: the side network has PyTorch's default weights.

    Args:
        model: as there.
        config: as there.
        families: as there.

    Returns:
        The ladder, in the model's mode.
    """
    if isinstance(model, LadderModel):
        raise TypeError("the model has a ladder already; several ladders are built on the plain model, one by one")
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"a ladder is built beside a transformers PreTrainedModel, not a {type(model).__name__}")
    stacks = find_stacks(model, families)
    saved = head_modules(model) if config.modules_to_save is None else list(config.modules_to_save)
    _check_names(model, saved)
    ladder = _copy_but_share_weights(model, saved)
    model_class: Any = type(model)
    ladder.__class__ = ladder_class(model_class)
    ladder.ladder_config, ladder.stacks, ladder.saved_modules = config, stacks, saved
    for stack in stacks:
        taps_only = stack.role == "encoder" and len(stacks) > 1
        build_side_network(ladder, stack, config, taps_only)
    # Not before everything fits: the given model is frozen by it.
    ladder.requires_grad_(False)
    for name, module in ladder.ladder_modules().items():
        module.requires_grad_(True)
        if name not in saved:
            # In fp32 also beside a backbone in half precision, whose steps would be too coarse for training.
            module.to(device=model.device, dtype=torch.promote_types(model.dtype, torch.float32))
    ladder.train(model.training)
    # The Trainer, which loads its checkpoints itself, then knows that the backbone's weights are not missing.
    ladder._keys_to_ignore_on_save = sorted(ladder.state_dict().keys() - ladder.ladder_state_dict().keys())
    return ladder


def head_modules(model: PreTrainedModel) -> list[str]:
    """What a ladder trains beside itself by default: a head that is not pretrained, and the pooler under it.

    Args:
        model: any model.

    Returns:
        Names of modules; empty for bare encoders, which have no head, and for language-model heads.

    Example:
        >>> from transformers import BertConfig, BertForTokenClassification
        >>> head_modules(BertForTokenClassification(BertConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)))
        ['classifier']
    """
    base = model.base_model
    if base is model or model.get_output_embeddings() is not None:
        return []
    head = [name for name, child in model.named_children() if child is not base and list(child.parameters())]
    pooler = [
        f"{model.base_model_prefix}.{name}"
        for name, child in base.named_children()
        if name == "pooler" and list(child.parameters())
    ]
    return pooler + head


def _copy_but_share_weights(model: PreTrainedModel, copied: Iterable[str]) -> Any:
    """A deep copy of the modules around the same tensors, but for those of the named modules, which are copied too."""
    own = {id(tensor) for name in copied for tensor in model.get_submodule(name).state_dict(keep_vars=True).values()}
    shared = chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared if id(tensor) not in own})


def _check_names(model: nn.Module, names: Iterable[str]) -> None:
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            top = ", ".join(child for child, _ in model.named_children())
            raise ValueError(f"modules_to_save names {name!r}; {type(model).__name__} has {top}, and parts of these")
