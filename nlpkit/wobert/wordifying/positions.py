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
    moved, settings = dict(state), {}
    for name in tables(source, "max_position_embeddings").keys() & state.keys():
        module = name.rpartition(".")[0]
        old, new = (getattr(model.get_submodule(module), "padding_idx", None) for model in (source, target))
        if old is None or new is None or old == new:
            continue
        rows = state[name]  # (positions, hidden)
        unread = rows.new_zeros(max(0, new - old), *rows.shape[1:])
        moved[name] = torch.cat([unread, rows[max(0, old - new) :]])
        settings["max_position_embeddings"] = len(moved[name])
    return moved, settings
