"""A pruned model with all its rows again."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from nlpkit.vocabulary_pruning.id_map import IdMap
from nlpkit.vocabulary_pruning.models.new_ids import give_new_ids
from nlpkit.vocabulary_pruning.models.rows import model_with_rows, rows_of, vocabulary_tables


def expand_vocabulary(pruned: PreTrainedModel, original: PreTrainedModel, ids: IdMap) -> PreTrainedModel:
    """Give a pruned model the rows back that were left out; all else is as the pruned model has it, trained or not.

    Args:
        pruned: the model; it stays as it is.
        original: the model before pruning, of the same class; of it only the left-out rows are taken.
        ids: the map, as ``PrunedVocabulary.id_map`` or ``IdMap.load(folder)``.

    Returns:
        A model for the old tokenizer.

    Raises:
        ValueError: the map is not of these two models, or the original lacks a weight.

    Note:
        Suppressed and bad words that were dropped with their tokens stay dropped. Rows that were trained and rows that
        were not stand beside each other: train on before comparing their logits.
    """
    if type(pruned) is not type(original):
        raise ValueError(
            f"the pruned model is a {type(pruned).__name__}, the original a {type(original).__name__}; give one of "
            "its class"
        )
    kept = torch.tensor(ids.kept)
    theirs: dict[str, Tensor] = dict(original.named_parameters(remove_duplicate=False))
    theirs |= dict(original.named_buffers(remove_duplicate=False))
    for name, model, rows in (("pruned", pruned, len(kept)), ("original", original, ids.old_rows)):
        if rows_of(model) != rows:
            raise ValueError(
                f"the {name} model has {rows_of(model)} rows, the map is of one with {rows}; give that model"
            )

    def with_left_out(name: str, weight: Tensor, dimension: int) -> Tensor:
        if name not in theirs:
            raise ValueError(f"the original has no {name}; give a model of the class {type(pruned).__name__}")
        whole = theirs[name].detach().to(weight.device, weight.dtype, copy=True)
        return whole.index_copy_(dimension, kept.to(weight.device), weight)

    tables = vocabulary_tables(type(pruned), pruned.config)
    expanded = model_with_rows(pruned, tables, with_left_out, ids.old_rows)
    give_new_ids(expanded, dict(enumerate(ids.kept)), len(kept), ids.old_rows)
    return expanded
