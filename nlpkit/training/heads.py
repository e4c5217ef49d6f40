"""A model's head, which begins at random beside pretrained weights, and the projections that LoRA is put on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from nlpkit.training.task_loss.stock_losses import with_head

#: Queries and values, or the one projection that holds them, by the names that transformers' models give them.
LORA_TARGETS = (
    ("query", "value"), ("q_proj", "v_proj"), ("q", "v"), ("q_lin", "v_lin"), ("query_proj", "value_proj"),
    ("c_attn",), ("query_key_value",), ("Wqkv",), ("qkv_proj",), ("in_proj",),
)  # fmt: skip


def head_modules(model: PreTrainedModel) -> list[str]:
    """The modules that fine-tuning trains from scratch: a head that is not pretrained, and the pooler under it.

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


def head_parameters(model: nn.Module) -> set[nn.Parameter]:
    """The parameters of ``head_modules``.

    Args:
        model: with a head or without, a ladder, or PEFT's wrapper around a model.
    """
    inner = with_head(model)
    return {parameter for name in head_modules(inner) for parameter in inner.get_submodule(name).parameters()}


def split_by_rate(
    groups: Sequence[dict[str, Any]], rate_of: Callable[[nn.Parameter, float], float]
) -> list[dict[str, Any]]:
    """An optimizer's groups in parts that each have one learning rate.

    Args:
        groups: with the rate ``"lr"``; they are not changed.
        rate_of: the rate of a parameter, given that of its group.
    """
    parts: list[dict[str, Any]] = []
    for group in groups:
        by_rate: dict[float, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            by_rate.setdefault(rate_of(parameter, group["lr"]), []).append(parameter)
        parts += [{**group, "params": own, "lr": rate} for rate, own in by_rate.items()]
    return parts


def lora_targets(model: PreTrainedModel) -> list[str]:
    """Names of a model's query and value projections, or of one that holds them.

    Args:
        model: any model.

    Returns:
        For PEFT's ``target_modules``.

    Raises:
        ValueError: the model's projections have names that are not known here.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> lora_targets(BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                                   intermediate_size=8)))
        ['query', 'value']
    """
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    targets = next((target for target in LORA_TARGETS if set(target) <= names), None)
    if targets is None:
        raise ValueError(f"{type(model).__name__} has none of the projections {LORA_TARGETS}; name its own for LoRA")
    return list(targets)


def give_head_its_own_rate(model: nn.Module, optimizer: Optimizer, rate: float) -> None:
    """Move the parameters of the head to groups of their own, with another learning rate.

    A head begins at random and often needs a higher rate than the pretrained weights under it. ``LayerRates(1.0,
    head_rate=rate)`` does so as a technique, for models with blocks.

    Args:
        model: a model with a head, a ladder, or PEFT's wrapper around a model.
        optimizer: of its parameters; each group that holds some of the head's is split in two.
        rate: the learning rate of the head.

    Raises:
        ValueError: the model has no head that begins at random, or the optimizer does not train it.

    Note:
        Call it before the learning-rate schedule is made, with the Trainer: ``give_head_its_own_rate(model,
        trainer.create_optimizer(), rate)``.

    Example:
        >>> import torch
        >>> from transformers import BertConfig, BertForTokenClassification
        >>> model = BertForTokenClassification(BertConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
        >>> optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        >>> give_head_its_own_rate(model, optimizer, 1e-3)
        >>> [(len(group["params"]), group["lr"]) for group in optimizer.param_groups]
        [(21, 0.0001), (2, 0.001)]
    """
    head = head_parameters(model)
    if not any(parameter in head for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError(f"the optimizer trains no head of {type(with_head(model)).__name__} that begins at random")
    parts = split_by_rate(optimizer.param_groups, lambda parameter, usual: rate if parameter in head else usual)
    # The Trainer logs the rate of the first group.
    optimizer.param_groups = sorted(parts, key=lambda part: part["params"][0] in head)
