"""Names of weights: as files have them, and as the class does that reads the files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, rename_source_key


def names_in_class(model: PreTrainedModel) -> Callable[[str], str | None]:
    """Tells of the name of a weight in a file what the class calls it, as ``from_pretrained`` would (5.23).

    Args:
        model: of the class; may be without weights.

    Returns:
        A function that returns ``None`` for weights that the class does not have, or makes of several.

    Example:
        >>> import torch
        >>> from transformers import BertConfig, BertForMaskedLM
        >>> with torch.device("meta"):
        ...     model = BertForMaskedLM(BertConfig(num_hidden_layers=0))
        >>> named = names_in_class(model)
        >>> named("embeddings.word_embeddings.weight"), named("qa_outputs.weight")
        ('bert.embeddings.word_embeddings.weight', None)
    """
    transforms = get_model_conversion_mapping(model)
    converters = [one for one in transforms if isinstance(one, WeightConverter)]
    renamings: list[Any] = [one for one in transforms if not isinstance(one, WeightConverter)]
    of_class = model.state_dict()
    # Files of a larger class have one part more in front, and those of another head have the base model's.
    tails = {_tail(name): name for name in of_class if "." in _tail(name)}

    def named(name: str) -> str | None:
        found, converted = rename_source_key(name, renamings, converters, model.base_model_prefix, of_class)
        if converted is not None:
            return None
        return found if found in of_class else tails.get(_tail(found), tails.get(found))

    return named


def _tail(name: str) -> str:
    return name.split(".", 1)[-1]
