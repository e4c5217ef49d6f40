"""Positions that are counted from the padding id, for a vocabulary with another padding id."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from nlpkit.wobert.wordifying.source_model import tables


def move_positions(
    source: PreTrainedModel, target: PreTrainedModel, state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Put the rows of positions where a model with another padding id looks for them.

    RoBERTa's kin give padding the position of its id, and the first token the next one. Rows before that of padding
    are never read: they go, or come to be, so that what is read stays in its place behind padding.

    Args:
        source: the model as it was.
        target: the word model, which has the source's positions still.
        state: the word model's weights; may lack some of the source's.

    Returns:
        The weights, and the settings that a model with these weights needs; none where no position is counted from
        the padding id.
    """
    if getattr(source.config, "max_position_embeddings", None) is None:
        return dict(state), {}
    by_position = {name: at for name, at in tables(source, "max_position_embeddings").items() if name in state}
    for name in by_position:
        module = name.rpartition(".")[0]
        old, new = (getattr(model.get_submodule(module), "padding_idx", None) for model in (source, target))
        if old is not None and new is not None and old != new:
            break
    else:
        return dict(state), {}
    moved = dict(state)
    for name, dimension in by_position.items():
        counted = getattr(source.get_submodule(name.rpartition(".")[0]), "padding_idx", None) == old
        moved[name] = _moved(state[name].movedim(dimension, 0), new - old, counted).movedim(0, dimension)
    return moved, {"max_position_embeddings": source.config.max_position_embeddings + new - old}


def _moved(rows: Tensor, by: int, counted: bool) -> Tensor:
    """Rows that begin ``by`` later, or, where their positions are not counted from padding, end later."""
    more = rows.new_zeros(max(0, by), *rows.shape[1:])
    if counted:
        return torch.cat([more, rows[max(0, -by) :]])
    return torch.cat([rows[: len(rows) + min(0, by)], more])
