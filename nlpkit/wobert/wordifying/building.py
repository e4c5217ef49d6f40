"""Making the word model: its settings, its weights, and the check that it reads old tokens as its source does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from nlpkit.wobert.modeling import WoBertForMaskedLM
from nlpkit.wobert.wordifying.agreement import find_disagreement
from nlpkit.wobert.wordifying.bert_state import BERT_TYPES, ROBERTA_TYPES, part_name, word_bert_config, word_bert_state
from nlpkit.wobert.wordifying.embedding_surgery import SPECIAL_ROLES, log_unigram
from nlpkit.wobert.wordifying.positions import move_positions
from nlpkit.wobert.wordifying.source_model import is_tied

#: Settings of transformers' models that may be lists with an entry for each layer.
_BY_LAYER = ("layer_types", "attention_window")


def special_ids(
    config: PreTrainedConfig, tokenizer: Any, ids: Mapping[str, int], pieces: Sequence[tuple[int, ...]]
) -> dict[str, int | None]:
    """The configuration's ``..._token_id`` settings in the new vocabulary; ``None`` for tokens that are gone.

    Raises:
        ValueError: the model cannot do without a token that is gone.
    """
    new_ids = {row[0]: number for number, row in reversed(list(enumerate(pieces))) if len(row) == 1}
    new_ids |= {getattr(tokenizer, role): ids[token] for token, role in reversed(SPECIAL_ROLES.items())}
    settings = {
        name: new_ids.get(value)
        for name, value in config.to_dict().items()
        if name.endswith("_token_id") and isinstance(value, int)
    }
    for name in [name for name, value in settings.items() if value is None]:
        try:
            setattr(copy.copy(config), name, None)
        except Exception as error:  # huggingface_hub's, of settings that must be whole numbers
            token = tokenizer.convert_ids_to_tokens(getattr(config, name))
            raise ValueError(
                f"{type(config).__name__} needs a {name}, which is {token!r} in the source; add it to the vocabulary"
            ) from error
    return settings | {"pad_token_id": ids["[PAD]"]}


def layer_settings(config: PreTrainedConfig, layers: Sequence[int]) -> dict[str, Any]:
    """Settings of a model with these layers only: their number, and the lists with an entry for each layer."""
    lists = {name: getattr(config, name, None) for name in _BY_LAYER}
    chosen = {name: [value[at] for at in layers] for name, value in lists.items() if isinstance(value, list | tuple)}
    return chosen | {"num_hidden_layers": len(layers)}


def build_alike(
    model: PreTrainedModel,
    state: dict[str, Tensor],
    settings: dict[str, Any],
    pieces: Sequence[tuple[int, ...]],
    special: Sequence[tuple[int, int]],
    layers: Sequence[int] | None,
) -> tuple[PreTrainedModel, bool, tuple[str, ...]]:
    """The word model as ``_build`` gives it, seen to read old tokens as before, its positions moved if need be."""
    built = _build(model, state, settings)
    difference = find_disagreement(model, built[0], pieces, special, layers)
    if difference is None:
        return built
    moved, more = move_positions(model, built[0], state)
    if more:
        built = _build(model, moved, settings | more)
        difference = find_disagreement(model, built[0], pieces, special, layers)
        if difference is None:
            return built
    (old_pad, new_pad), *_ = special
    if layers is not None:
        advice = "leave layers=None, or choose others"
    elif old_pad != new_pad:
        advice = f"it may take id {old_pad} for padding whatever its settings say; give [PAD] that id"
    else:
        advice = "wordify cannot make it a word model"
    raise ValueError(f"{type(model).__name__} would no longer read the same tokens alike ({difference}): {advice}")


def _build(
    model: PreTrainedModel, state: dict[str, Tensor], settings: Mapping[str, Any]
) -> tuple[PreTrainedModel, bool, tuple[str, ...]]:
    """The word model, whether its MLM head is fresh, and the parts of the source that it lacks."""
    config = copy.deepcopy(model.config)
    target_class: type[PreTrainedModel] = type(model)
    if config.model_type in BERT_TYPES + ROBERTA_TYPES:
        target_class, config, state = WoBertForMaskedLM, word_bert_config(config), word_bert_state(config, state)
    for name, value in settings.items():
        setattr(config, name, value)
    config.tie_word_embeddings = is_tied(model)
    target = target_class(config)
    # What is saved as float16 would be loaded, and then trained, in float16.
    dtype = torch.float32 if model.dtype == torch.float16 else model.dtype
    target.to(dtype=dtype, device=model.device).train(model.training)  # type: ignore[call-arg]
    expected = target.state_dict()
    missing = expected.keys() - state.keys()
    misfits = [name for name, tensor in state.items() if name in expected and expected[name].shape != tensor.shape]
    misfits += [name for name in missing if not name.startswith("cls.predictions.")]
    if misfits:
        fewer = " and with these layers only" if "num_hidden_layers" in settings else ""
        raise TypeError(
            f"{type(model).__name__} has weights that wordify cannot carry over to {target_class.__name__} of another "
            f"vocabulary{fewer}: {', '.join(sorted(misfits))}"
        )
    target.load_state_dict(state, strict=False)
    dropped = tuple(dict.fromkeys(part_name(name) for name in state if name not in expected))
    return target, bool(missing), dropped


def start_head_bias(
    target: PreTrainedModel, fresh: bool, token_counts: Mapping[str, int] | None, ids: Mapping[str, int]
) -> str:
    """Set the output bias where the head is fresh; says where the bias comes from."""
    decoder = target.get_output_embeddings()
    if token_counts is None:
        return "zero" if fresh else "none" if decoder is None or decoder.bias is None else "source"
    if not fresh:
        raise ValueError(
            "token_counts sets the output bias of a fresh MLM head, but this model keeps its own; leave it out"
        )
    with torch.no_grad():
        decoder.bias.copy_(log_unigram(token_counts, ids))
    return "token counts"
