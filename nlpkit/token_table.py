"""The table of a model's tokens, which not every model has: CANINE hashes characters, Perceiver reads bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def token_table(model: Any) -> nn.Module | None:
    """The module whose ``weight`` has a row for each token; ``None`` where a model has none.

    Args:
        model: any ``PreTrainedModel``.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        >>> token_table(BertModel(BertConfig(vocab_size=9, **sizes)))
        Embedding(9, 8, padding_idx=0)
    """
    try:
        table = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    return table if hasattr(table, "weight") else None


def token_rows(model: Any) -> Tensor:
    """The rows of a model's tokens, ``(vocabulary, dim)``.

    Args:
        model: any ``PreTrainedModel``.

    Raises:
        ValueError: it has none.
    """
    table: Any = token_table(model)
    if table is None:
        raise ValueError(
            f"{type(model).__name__} has no table of tokens, as models that hash characters or read bytes have none; "
            "use one that has, such as BERT's, RoBERTa's or WoBERT's"
        )
    rows: Tensor = table.weight
    return rows
