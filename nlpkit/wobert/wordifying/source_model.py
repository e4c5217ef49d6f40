"""What ``wordify`` must know of the model it starts from, and what it refuses."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from nlpkit.probes.room import room_for_tokens as room_for_tokens
from nlpkit.token_table import token_table
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from nlpkit.wobert.wordifying.bert_state import BERT_TYPES, ROBERTA_TYPES
from nlpkit.wobert.wordifying.embedding_surgery import SPECIAL_ROLES


def check_source(model: Any, tokenizer: Any) -> None:
    """Refuse what is no encoder with a table of tokens, and a tokenizer that is not the model's."""
    if not isinstance(model, PreTrainedModel):
        raise no_encoder(model, "which is no model of transformers")
    if model.config.is_encoder_decoder:
        raise no_encoder(model, "which has a decoder")
    embedding: Any = token_table(model)
    missing = [name for name in ("vocab_size", "num_hidden_layers") if not hasattr(model.config, name)]
    if embedding is None or missing:
        raise no_encoder(model, f"which has no {missing[0] if missing else 'table of tokens'}")
    if not isinstance(embedding, torch.nn.Embedding) or not embedding.weight.is_floating_point():
        raise TypeError(
            f"the input embedding of {type(model).__name__} is {type(embedding).__name__}; "
            "wordify needs a plain nn.Embedding of floats: load the model without quantisation"
        )
    rows, tokens = embedding.num_embeddings, len(tokenizer)
    # Some models pad their vocabulary to a round number of rows, or by some rows more.
    if tokens > rows or rows - tokens > max(rows // 100, 127 if rows % 8 == 0 else 0):
        raise ValueError(
            f"the tokenizer has {tokens} tokens but the model's embedding has {rows} rows; "
            "pass the model's own tokenizer"
        )
    for token, role in SPECIAL_ROLES.items():
        if getattr(tokenizer, role) is None:
            raise ValueError(
                f"the tokenizer has no {role.removesuffix('_id')} to become {token}; "
                f"set it, e.g. tokenizer.{role.removesuffix('_id')} = '<...>', to a token of its vocabulary"
            )


def no_encoder(model: Any, reason: str) -> TypeError:
    """The error for models of other kinds."""
    return TypeError(
        "wordify needs a BERT-like masked LM or encoder of transformers (BERT, RoBERTa, XLM-R, CamemBERT, "
        f"ELECTRA, ALBERT, DistilBERT, ...), got {type(model).__name__}, {reason}"
    )


def check_layers(model: PreTrainedModel, layers: Sequence[int] | None) -> tuple[int, ...]:
    """The layers to keep, all by default; refuses what the model has not."""
    count = model.config.num_hidden_layers
    if layers is None:
        return tuple(range(count))
    if layer_list(model) is None:
        raise ValueError(
            f"layers={layers!r}: {type(model).__name__} has no single list of {count} layers to choose from; "
            "leave layers=None"
        )
    outside = [layer for layer in layers if not isinstance(layer, int) or not 0 <= layer < count]
    if outside or not layers:
        what = f"has {outside[0]!r}" if outside else "is empty"
        raise ValueError(f"layers={layers!r} {what}; indices of this model run from 0 to {count - 1}")
    if list(layers) != sorted(set(layers)):
        raise ValueError(f"layers={layers!r} must ascend without repeating, e.g. {tuple(sorted(set(layers)))}")
    return tuple(layers)


def layer_list(model: PreTrainedModel) -> str | None:
    """Name of the encoder's list of layers; ``None`` where there is none, or several that could be meant."""
    count = model.config.num_hidden_layers
    lists = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == count and name.endswith(("layer", "layers"))
    ]
    return lists[0] if len(lists) == 1 else None


def input_names(model: PreTrainedModel, tokenizer: Any) -> list[str]:
    """What the word tokenizer makes for the word model.

    Token types only where the model takes two of them and its own tokenizer marks the second text of a pair.
    """
    if model.config.model_type in BERT_TYPES + ROBERTA_TYPES:
        return list(WoBertTokenizer.model_input_names)
    understood = set(inspect.signature(model.forward).parameters)
    if getattr(model.config, "type_vocab_size", 2) < 2 or not any(tokenizer("1", "1").get("token_type_ids", ())):
        understood.discard("token_type_ids")
    return [name for name in WoBertTokenizer.model_input_names if name in understood]


def tables(model: PreTrainedModel, setting: str) -> dict[str, int]:
    """Weights that grow by one with a setting of the model, and the dimension in which they do.

    Args:
        model: any; its class is built anew, without weights.
        setting: ``"vocab_size"`` gives the weights with a row for each token, wherever the model keeps them.
    """
    larger = copy.deepcopy(model.config)
    setattr(larger, setting, getattr(larger, setting) + 1)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in type(model)(larger).state_dict().items()}
    found: dict[str, int] = {}
    for name, tensor in model.state_dict().items():
        grown = [new - old for new, old in zip(shapes.get(name, tensor.shape), tensor.shape, strict=True)]
        if sum(grown) == 1:
            found[name] = grown.index(1)
    return found


def is_tied(model: PreTrainedModel) -> bool:
    """Whether the decoder is the input embedding, or would be."""
    decoder = model.get_output_embeddings()
    return decoder is None or decoder.weight is model.get_input_embeddings().weight
