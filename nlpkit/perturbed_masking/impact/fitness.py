"""Which models tokens can be masked in, and read at each layer."""

from __future__ import annotations

from typing import Any

from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, PreTrainedModel

from nlpkit.token_table import token_table


def refuse_unfit(model: Any) -> None:
    """Refuse what cannot be measured.

    Args:
        model: whatever was given for a model.

    Raises:
        TypeError: it is none of transformers.
        ValueError: it is a decoder or has one; it has no weights; or its input is no table of token embeddings.
    """
    name = type(model).__name__
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"{name} is no model of transformers; of one with adapters around it, give merge_and_unload()")
    if model.device.type == "meta":
        raise ValueError(f"{name} is on the meta device and has no weights; load them")
    config: Any = model.config
    if config.is_encoder_decoder or getattr(config, "is_decoder", False) or _is_causal(config):
        raise ValueError(
            f"{name} is, or has, a decoder, which does not see both sides of a mask; use an encoder or a masked "
            "language model"
        )
    if not getattr(config, "num_hidden_layers", 0) or token_table(model) is None:
        raise ValueError(
            f"{name} is no stack of layers over a table of token embeddings, so that no token can be masked; use "
            "an encoder such as BERT, or a masked language model"
        )


def _is_causal(config: Any) -> bool:
    """Whether transformers knows this kind of model as a causal one only."""
    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING
