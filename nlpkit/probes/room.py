"""How many tokens a model has room for."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.checked_number import checked_number
from nlpkit.token_table import token_table

#: From here on a tokenizer's limit means that it knows none.
_NO_LIMIT = 1_000_000


def room_for_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None) -> int | None:
    """The longest text that a model takes, special tokens included; ``None`` where nothing limits it.

    Args:
        model: any. Models after RoBERTa count positions from the one behind the padding's, so that 514 positions are
            room for 512 tokens (huggingface/transformers #14243).
        tokenizer: its limit counts, too.

    Returns:
        Tokens.

    Example:
        >>> from transformers import RobertaConfig, RobertaModel
        >>> room_for_tokens(RobertaModel(RobertaConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        ...     max_position_embeddings=514)))
        512
    """
    limits = [] if tokenizer is None or tokenizer.model_max_length >= _NO_LIMIT else [tokenizer.model_max_length]
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and positions > 0:  # XLNet's -1 means none
        limits.append(positions - first_position(model))
    return min(limits, default=None)


def first_position(model: PreTrainedModel) -> int:
    """The position of a text's first token: where that of padding has a row, texts begin behind it, as in RoBERTa.

    Args:
        model: any.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> first_position(BertModel(BertConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)))
        0
    """
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    words = token_table(model)
    padding: list[int] = []
    for module in model.modules():  # by what it has, since quantised models have tables of their own kind
        table, place = getattr(module, "weight", None), getattr(module, "padding_idx", None)
        if module is not words and isinstance(place, int) and isinstance(table, torch.Tensor):
            padding += [place] if len(table) == positions else []
    return max((place + 1 for place in padding), default=0)


def checked_length(
    max_length: int | None, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, default: int = 512
) -> int:
    """How many tokens inputs may have: as many as there is room for, or fewer.

    Args:
        max_length: what the user wants; ``None`` means as many as there is room for.
        model: see ``room_for_tokens``.
        tokenizer: likewise.
        default: where nothing limits them.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is not above 0, or more than there is room for.
    """
    room = room_for_tokens(model, tokenizer)
    if max_length is None:
        return default if room is None else room
    checked_number("max_length", max_length, whole=True)
    if max_length < 1 or (room is not None and max_length > room):
        raise ValueError(
            f"max_length={max_length}, but {type(model).__name__} has room for {'any' if room is None else room} "
            "tokens; give a number from 1 to that, or leave max_length out"
        )
    return max_length


def padded_length(longest: int, room: int | None) -> int:
    """The length to pad to: a multiple of eight, because every new shape makes kernels anew, within the room.

    Example:
        >>> padded_length(9, None), padded_length(28, 30)
        (16, 30)
    """
    steps = -8 * (-longest // 8)
    return steps if room is None else max(longest, min(steps, room))
