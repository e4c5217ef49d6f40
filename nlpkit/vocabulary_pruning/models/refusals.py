"""Models whose rows cannot be taken out: wrapped, quantised, with adapters, not in memory, or of another tokenizer."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel


def refuse_model(model: Any) -> None:
    """Refuse what is no plain model of transformers in memory.

    Raises:
        TypeError: it is wrapped, by peft, DDP, DeepSpeed or ``torch.compile``, or no model at all.
        ValueError: it is quantised, has adapters, is not in memory, or consists of models with vocabularies of their
            own.
    """
    if not isinstance(model, PreTrainedModel):
        inner = getattr(model, "module", None) or getattr(model, "_orig_mod", None)
        advice = "give the model inside it" if inner is not None else "give a model of transformers"
        if hasattr(model, "peft_config"):
            advice = "its adapters were trained on the old ids; merge them first: model.merge_and_unload()"
        raise TypeError(f"model is a {type(model).__name__}, which cannot be pruned: {advice}")
    name = type(model).__name__
    if getattr(model, "_hf_peft_config_loaded", False) or getattr(model, "peft_config", None):
        raise ValueError(f"{name} has adapters, which were trained on the old ids; merge or delete them first")
    if getattr(model, "is_quantized", False) or getattr(model.config, "quantization_config", None) is not None:
        raise ValueError(f"{name} is quantised; prune the model that it was made from, then quantise that")
    embedding = model.get_input_embeddings()
    if not isinstance(embedding, nn.Embedding) or not embedding.weight.is_floating_point():
        raise ValueError(
            f"the input embedding of {name} is {type(embedding).__name__}, not a plain nn.Embedding of floats; load "
            "the model without quantisation and adapters"
        )
    size = getattr(model.config.get_text_config(), "vocab_size", None)
    if size is not None and size != len(embedding.weight):
        raise ValueError(
            f"the settings of {name} have vocab_size={size}, its embedding {len(embedding.weight)} rows, so that "
            "such a model could not be loaded; mend its settings"
        )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError(f"weights of {name} are not in memory (meta device or offloaded); use prune_folder")
    if model.config.model_type in ("encoder-decoder", "vision-encoder-decoder", "speech-encoder-decoder"):
        raise ValueError(f"{name} consists of two models, each with a vocabulary of its own; prune them one by one")


def refuse_sizes(tokens: int, rows: int) -> None:
    """Refuse a tokenizer that is not the model's.

    Args:
        tokens: the largest id of the tokenizer, and one.
        rows: of the model.

    Raises:
        ValueError: fewer rows than tokens, or many more.
    """
    if tokens > rows:
        raise ValueError(
            f"the tokenizer has {tokens} tokens, but the model has {rows} rows; give the model's own tokenizer "
            "(for mT5 and umT5 what nlpkit.mt5.faithful_tokenizer makes: T5Tokenizer appends sentinels)"
        )
    # Models have some rows in store, to a multiple of 128 or 256, Qwen by a few hundred.
    if rows - tokens > max(1024, rows // 50):
        raise ValueError(
            f"the tokenizer has {tokens} tokens, but the model has {rows} rows; give the model's own tokenizer"
        )
