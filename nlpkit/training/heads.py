"""A model's head, which begins at random beside pretrained weights, and the projections that LoRA is put on."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

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

    A head begins at random and often needs a higher rate than the pretrained weights under it.

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
    plain: Any = model
    if hasattr(plain, "get_base_model"):  # PEFT's wrapper
        plain = plain.get_base_model()
    head = {parameter for name in head_modules(plain) for parameter in plain.get_submodule(name).parameters()}
    if not any(parameter in head for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError(f"the optimizer trains no head of {type(plain).__name__} that begins at random")
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if parameter in head]
        if moved:
            group["params"] = [parameter for parameter in group["params"] if parameter not in head]
            optimizer.add_param_group({**group, "params": moved, "lr": rate})
