"""What WoBERT's models cannot take, told in a sentence where torch speaks of its own indices."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor

from nlpkit.training.precision import refuse_fp16_step

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Forward = TypeVar("Forward", bound=Callable[..., Any])


def explained(forward: Forward) -> Forward:
    """Decorate a model's ``forward``: if it fails on inputs that the model has no rows for, the error says which.

    A training step in fp16 weights, which would end in NaN, is refused.

    Args:
        forward: method of a model whose configuration is a BERT's.

    Note:
        No input is looked at before something has failed, so that neither a forward pass nor a compiled graph is
        slower for it. On a GPU, ids out of range are not found by this: the device stops before they can be read.

    Example:
        >>> from nlpkit.wobert import WoBertConfig, WoBertModel
        >>> config = WoBertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                       intermediate_size=8)
        >>> WoBertModel(config)(torch.tensor([[2, 9, 3]]))
        Traceback (most recent call last):
        ValueError: input_ids hold 9, but the model has rows for 0 to 8 (vocab_size=9); ...
    """

    @functools.wraps(forward)
    def run(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return forward(self, *args, **kwargs)
        refuse_fp16_step(self)
        try:
            return forward(self, *args, **kwargs)
        except Exception as error:
            fault = None
            with suppress(TypeError, RuntimeError):  # arguments of other names; a GPU that has stopped
                fault = find_fault(self.config, inspect.signature(forward).bind(self, *args, **kwargs).arguments)
            if fault is None:
                raise
            raise ValueError(fault) from error

    return cast(Forward, run)


def check_config(model_class: type[PreTrainedModel], config: Any) -> None:
    """Refuse a configuration that lacks settings of the model's own.

    Args:
        model_class: the model to be made.
        config: what it is to be made of.

    Raises:
        TypeError: it is none of the model's ``config_class``.
    """
    needed: Any = model_class.config_class
    if not isinstance(config, needed):
        advice = f": {needed.__name__}.from_dict(config.to_dict())" if hasattr(config, "to_dict") else ""
        raise TypeError(
            f"{model_class.__name__} needs a {needed.__name__}, got {type(config).__name__}; make one{advice}"
        )


def find_fault(config: PreTrainedConfig, inputs: Mapping[str, Any]) -> str | None:
    """Name what a model of this configuration cannot read of its inputs.

    Args:
        config: a BERT's.
        inputs: arguments of ``forward`` by name; those that are missing or ``None`` are not looked at.

    Returns:
        A sentence that ends with what would work, or ``None`` where nothing is wrong with ids, lengths and types.

    Example:
        >>> from nlpkit.wobert import WoBertConfig
        >>> find_fault(WoBertConfig(max_position_embeddings=4), {"input_ids": torch.ones(2, 5, dtype=torch.long)})
        'input_ids have 5 tokens per row, but the model has 4 positions; cut the texts: truncation=True, max_length=4'
    """
    for name, last in (("input_ids", -1), ("inputs_embeds", -2)):
        fault = _find_fault_of_shape(config, name, inputs.get(name), last, inputs.get("position_ids") is not None)
        if fault is not None:
            return fault
    for name, setting, advice in _TABLES:
        fault = _find_fault_of_ids(name, inputs.get(name), setting, getattr(config, setting), advice)
        if fault is not None:
            return fault
    return None


_TOKENS = "tokenize with the model's own tokenizer, or make room for added tokens: model.resize_token_embeddings(...)"
#: Columns of ids, the setting that says how many rows there are for them, and what to do about others.
_TABLES = (
    ("input_ids", "vocab_size", _TOKENS),
    ("character_ids", "vocab_size", _TOKENS),
    ("token_type_ids", "type_vocab_size", "give 0 for the first text and 1 for the second"),
    ("position_ids", "max_position_embeddings", "leave position_ids out, or cut the texts"),
)


def _find_fault_of_shape(
    config: PreTrainedConfig, name: str, values: Any, last: int, with_positions: bool
) -> str | None:
    if values is None:
        return None
    if not isinstance(values, Tensor):
        return f"{name} must be a tensor, got {type(values).__name__}; the tokenizer makes one: return_tensors='pt'"
    if values.dim() < 1 - last:
        return f"{name} of shape {tuple(values.shape)} must have a dimension for the rows of the batch: {name}[None]"
    if values.numel() == 0:
        return f"{name} of shape {tuple(values.shape)} hold nothing; give at least one row of at least one token"
    length, positions = values.shape[last], config.max_position_embeddings
    if length > positions and not with_positions:
        return (
            f"{name} have {length} tokens per row, but the model has {positions} positions; "
            f"cut the texts: truncation=True, max_length={positions}"
        )
    return None


def _find_fault_of_ids(name: str, values: Any, setting: str, rows: int, advice: str) -> str | None:
    if not isinstance(values, Tensor):
        return None
    if values.dtype not in (torch.long, torch.int):
        return f"{name} must be whole numbers (torch.long), not {values.dtype}"
    outside = values[(values < 0) | (values >= rows)]
    if len(outside) == 0:
        return None
    return f"{name} hold {int(outside[0])}, but the model has rows for 0 to {rows - 1} ({setting}={rows}); {advice}"
