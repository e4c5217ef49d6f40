"""A model that has other rows, with their ids in its settings and modules."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import PreTrainedModel

from nlpkit.vocabulary_pruning.models.configs import set_new_ids
from nlpkit.vocabulary_pruning.models.padding import move_padding
from nlpkit.vocabulary_pruning.models.rows import refuse_misfits


def give_new_ids(model: PreTrainedModel, new_ids: Mapping[int, int], rows: int, new_rows: int) -> None:
    """Put the new ids into a model's settings and modules, in place.

    Raises:
        ValueError: its class would not load its weights with the new settings, or padding cannot be moved.
    """
    padding = model.config.get_text_config().pad_token_id
    for settings in (model.config, getattr(model, "generation_config", None)):
        if settings is not None:
            set_new_ids(settings, new_ids, rows, new_rows)
    move_padding(model, padding, model.config.get_text_config().pad_token_id)
    refuse_misfits({name: weight.shape for name, weight in model.state_dict().items()}, type(model), model.config)
