"""What ``wordify`` must know of the model it starts from, and what it refuses."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import MODEL_FOR_MASKED_LM_MAPPING, PreTrainedConfig, PreTrainedModel

from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from nlpkit.wobert.wordifying.bert_state import BERT_TYPES, ROBERTA_TYPES
from nlpkit.wobert.wordifying.embedding_surgery import SPECIAL_ROLES

#: Model types whose encoder is a plain list of layers, named ``...layer.<i>``.
_LAYERED = ("bert", "wobert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "ernie", "mpnet")


def check_source(model: Any, tokenizer: Any) -> None:
    """Refuse what is no masked LM or encoder, and a tokenizer that is not the model's."""
    if not isinstance(model, PreTrainedModel) or not _is_masked_lm_type(model.config):
        raise TypeError(
            "wordify needs a BERT-like masked LM or encoder of transformers (BERT, RoBERTa, XLM-R, CamemBERT, "
            f"ELECTRA, ALBERT, DistilBERT, ...), got {type(model).__name__}"
        )
    embedding: Any = model.get_input_embeddings()
    if not isinstance(embedding, torch.nn.Embedding) or not embedding.weight.is_floating_point():
        raise TypeError(
            f"the input embedding of {type(model).__name__} is {type(embedding).__name__}; "
            "wordify needs a plain nn.Embedding of floats: load the model without quantisation"
        )
    rows, tokens = embedding.num_embeddings, len(tokenizer)
    # Some models pad their vocabulary to a round number of rows.
    if tokens > rows or rows - tokens > rows // 100:
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


def _is_masked_lm_type(config: PreTrainedConfig) -> bool:
    known = config.model_type in BERT_TYPES + ROBERTA_TYPES or type(config) in MODEL_FOR_MASKED_LM_MAPPING
    return known and not config.is_encoder_decoder and not getattr(config, "is_decoder", False)


def check_layers(model: PreTrainedModel, layers: Sequence[int] | None) -> tuple[int, ...]:
    """The layers to keep, all by default; refuses what the model has not."""
    count = model.config.num_hidden_layers
    if layers is None:
        return tuple(range(count))
    if model.config.model_type not in _LAYERED:
        raise ValueError(
            f"layers={layers!r}: cannot choose layers of {type(model).__name__}, only of {', '.join(_LAYERED)}; "
            "leave layers=None"
        )
    outside = [layer for layer in layers if not isinstance(layer, int) or not 0 <= layer < count]
    if outside or not layers:
        what = f"has {outside[0]!r}" if outside else "is empty"
        raise ValueError(f"layers={layers!r} {what}; indices of this model run from 0 to {count - 1}")
    if list(layers) != sorted(set(layers)):
        raise ValueError(f"layers={layers!r} must ascend without repeating, e.g. {tuple(sorted(set(layers)))}")
    return tuple(layers)


def input_names(model: PreTrainedModel) -> list[str]:
    """What the word tokenizer shall make for the word model: DistilBERT, for one, takes no token types."""
    if model.config.model_type in BERT_TYPES + ROBERTA_TYPES:
        return list(WoBertTokenizer.model_input_names)
    understood = inspect.signature(model.forward).parameters
    return [name for name in WoBertTokenizer.model_input_names if name in understood]


def vocabulary_parameters(model: PreTrainedModel) -> set[str]:
    """Names of the weights with a row for each token: input embedding, decoder, output bias."""
    embedding, decoder = model.get_input_embeddings(), model.get_output_embeddings()
    owned = {id(parameter) for module in (embedding, decoder) if module for parameter in module.parameters()}
    names = {name for name, parameter in model.named_parameters(remove_duplicate=False) if id(parameter) in owned}
    # BERT's head owns the output bias and shares it with its decoder, or not where nothing is tied.
    heads = {name.rpartition(".")[0].rpartition(".")[0] for name in names}
    biases = {f"{head}.bias" for head in heads if head}
    rows = embedding.num_embeddings
    return names | {name for name, tensor in model.state_dict().items() if name in biases and tensor.shape == (rows,)}


def is_tied(model: PreTrainedModel) -> bool:
    """Whether the decoder is the input embedding, or would be."""
    decoder = model.get_output_embeddings()
    return decoder is None or decoder.weight is model.get_input_embeddings().weight
