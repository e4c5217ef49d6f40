"""BERT's and RoBERTa's weights and settings under WoBERT's names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from transformers import PreTrainedConfig

from nlpkit.wobert.configuration import WoBertConfig

#: Model types whose weights are WoBERT's but for their names, and RoBERTa's positions.
BERT_TYPES = ("bert", "wobert")
ROBERTA_TYPES = ("roberta", "xlm-roberta", "camembert")

_SHARED_SETTINGS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
    "classifier_dropout",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)
_HEAD_NAMES = {
    "lm_head.dense.": "cls.predictions.transform.dense.",
    "lm_head.layer_norm.": "cls.predictions.transform.LayerNorm.",
    "lm_head.decoder.": "cls.predictions.decoder.",
    "lm_head.bias": "cls.predictions.bias",
}


def word_bert_config(config: PreTrainedConfig) -> WoBertConfig:
    """The settings that WoBERT shares with a BERT or RoBERTa, positions and token types counted WoBERT's way.

    Args:
        config: of model type ``bert``, ``wobert``, ``roberta``, ``xlm-roberta`` or ``camembert``.

    Example:
        >>> from transformers import RobertaConfig
        >>> word_bert_config(RobertaConfig(max_position_embeddings=514, type_vocab_size=1)).max_position_embeddings
        512
    """
    settings = {name: getattr(config, name) for name in _SHARED_SETTINGS}
    settings["type_vocab_size"] = max(2, config.type_vocab_size)
    if config.model_type in ROBERTA_TYPES:
        settings["max_position_embeddings"] -= config.pad_token_id + 1
    if isinstance(config, WoBertConfig):
        settings["sparse_prediction"] = config.sparse_prediction
    return WoBertConfig(vocab_size=config.vocab_size, **settings)


def word_bert_state(config: PreTrainedConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a BERT or RoBERTa, with or without head, under the names of ``WoBertForMaskedLM``.

    RoBERTa's positions begin after ``pad_token_id``: its first rows go. Where there is one token type, as in RoBERTa,
    a second gets the same row, so that pairs, whose second part has type 1, are read as the source reads them.

    Args:
        config: the source's.
        state: the source's ``state_dict()``.

    Raises:
        ValueError: a RoBERTa whose head and layers use different activations, which BERT's settings cannot say.
    """
    named = {_word_bert_name(name): tensor for name, tensor in state.items()}
    if config.model_type in ROBERTA_TYPES:
        if "cls.predictions.bias" in named and config.hidden_act != "gelu":
            raise ValueError(
                f"this RoBERTa's layers use hidden_act={config.hidden_act!r} but its head always uses 'gelu'; "
                "WoBertForMaskedLM has one activation for both: pass the bare encoder (model.base_model) instead"
            )
        positions = "bert.embeddings.position_embeddings.weight"
        named[positions] = named[positions][config.pad_token_id + 1 :]  # (positions, hidden)
    types = "bert.embeddings.token_type_embeddings.weight"
    if len(named[types]) == 1:
        named[types] = named[types].repeat(2, 1)  # (2, hidden)
    return named


def part_name(name: str) -> str:
    """The part of a model that a weight belongs to, for reports.

    Example:
        >>> [part_name(name) for name in ("bert.pooler.dense.bias", "cls.seq_relationship.bias", "classifier.bias")]
        ['pooler', 'seq_relationship', 'classifier']
    """
    return name.removeprefix("bert.").removeprefix("cls.").split(".")[0]


def _word_bert_name(name: str) -> str:
    for old, new in _HEAD_NAMES.items():
        if name.startswith(old):
            return new + name[len(old) :]
    bare = name.removeprefix("bert.").removeprefix("roberta.")
    return f"bert.{bare}" if bare.startswith(("embeddings.", "encoder.", "pooler.")) else bare
