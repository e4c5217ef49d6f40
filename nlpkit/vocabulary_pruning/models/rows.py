"""Models with other rows: the weights with a row for each token are exchanged, everything else is copied."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from nlpkit.vocabulary_pruning.models.configs import set_rows

#: Makes the new weight of an old one, given its name and the dimension of the tokens.
NewRows = Callable[[str, Tensor, int], Tensor]


def vocabulary_tables(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> dict[str, int]:
    """Weights that grow with the vocabulary, and the dimension in which they do.

    Args:
        model_class: built twice without weights, with the vocabulary's size and one more.
        config: its settings.

    Returns:
        Names as in the state dict: the embedding, the head, its bias, ``final_logits_bias``, whatever there is.

    Raises:
        ValueError: the settings name no ``vocab_size``, or nothing grows with it.

    Example:
        >>> from transformers import BertConfig, BertForMaskedLM
        >>> tables = vocabulary_tables(BertForMaskedLM, BertConfig(hidden_size=8, num_hidden_layers=0,
        ...                                                        num_attention_heads=1, intermediate_size=8))
        >>> sorted(tables)[:3]
        ['bert.embeddings.word_embeddings.weight', 'cls.predictions.bias', 'cls.predictions.decoder.bias']
    """
    tables = {name: at for name, at in weights_and_tables(model_class, config).items() if at is not None}
    if not tables:
        raise ValueError(f"{model_class.__name__} has no weights that grow with vocab_size; it cannot be pruned")
    return tables


def weights_and_tables(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> dict[str, int | None]:
    """All weights of a class, and for those that grow with the vocabulary the dimension, as ``vocabulary_tables``."""
    shapes = [_shapes(model_class, config, more) for more in (0, 1)]
    found: dict[str, int | None] = {}
    for name, shape in shapes[0].items():
        grown = [new - old for old, new in zip(shape, shapes[1][name], strict=True)]
        found[name] = grown.index(1) if sum(grown) == 1 else None
    return found


def _shapes(model_class: type[PreTrainedModel], config: PreTrainedConfig, more: int) -> dict[str, torch.Size]:
    larger = copy.deepcopy(config)
    rows = getattr(larger.get_text_config(), "vocab_size", None)
    if rows is None:
        raise ValueError(f"the settings of {model_class.__name__} have no vocab_size; it cannot be pruned")
    set_rows(larger, rows, rows + more)
    return {name: tensor.shape for name, tensor in without_weights(model_class, larger).state_dict().items()}


def without_weights(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """A model on no device, of which only shapes and settings can be read."""
    with torch.device("meta"):
        return model_class(config)


def refuse_misfits(
    shapes: Mapping[str, Sequence[int]], model_class: type[PreTrainedModel], config: PreTrainedConfig
) -> None:
    """Refuse weights that the class would not load with these settings.

    Args:
        shapes: of the new weights; names that the class does not know are passed over.
        model_class: of the model.
        config: the new settings.

    Raises:
        ValueError: a weight has another shape.
    """
    for name, wanted in _shapes(model_class, config, 0).items():
        if name in shapes and tuple(shapes[name]) != tuple(wanted):
            raise ValueError(
                f"{name} of {model_class.__name__} would have the shape {tuple(shapes[name])}, and by its settings "
                f"{tuple(wanted)}: it has tables that do not grow with vocab_size alone, and cannot be pruned"
            )


def rows_of(model: PreTrainedModel) -> int:
    """How many rows a model's input embedding has."""
    embedding: Any = model.get_input_embeddings()
    return int(embedding.weight.shape[0])


def gathered(kept: Tensor) -> NewRows:
    """Takes rows by their ids.

    Args:
        kept: ids, shape ``(rows,)``.
    """
    return lambda _, weight, dimension: weight.index_select(dimension, kept.to(weight.device))


def model_with_rows(
    model: PreTrainedModel, tables: Mapping[str, int], new_rows: NewRows, rows: int
) -> PreTrainedModel:
    """A copy of a model with other rows. What is one weight stays one, what are two stay two.

    Args:
        model: stays as it is.
        tables: as ``vocabulary_tables`` gives them.
        new_rows: makes the new weights.
        rows: how many there are in them.

    Returns:
        The copy, of the same class, device, dtype and mode. Ids in its settings are those of the old vocabulary.

    Raises:
        ValueError: the model lacks one of the weights.
    """
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    tensors |= dict(model.named_buffers(remove_duplicate=False))
    memo: dict[int, Any] = {}
    for name, dimension in tables.items():
        if name not in tensors:
            raise ValueError(
                f"this {type(model).__name__} lacks {name}, which its class has; it was changed after it was built"
            )
        old = tensors[name]
        if id(old) in memo:  # tied
            continue
        new = new_rows(name, old.detach(), dimension).contiguous()
        memo[id(old)] = nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else new
    copied = copy.deepcopy(model, memo)
    for module in copied.modules():
        _say_size(module, rows_of(model), rows)
    return copied


def _say_size(module: nn.Module, before: int, rows: int) -> None:
    """Give a module the numbers that it keeps beside its weights."""
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.Embedding) and weight is not None:
        module.num_embeddings = weight.shape[0]
    elif isinstance(module, nn.Linear) and weight is not None:
        module.out_features = weight.shape[0]
    for name in ("vocab_size", "num_embeddings", "n_words"):
        if vars(module).get(name) == before:
            setattr(module, name, rows)
