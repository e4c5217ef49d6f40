"""Weights that a saved folder lacks: what would come back random, found when it is saved and when it is opened."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils import ADAPTER_CONFIG_NAME, ADAPTER_SAFE_WEIGHTS_NAME

from nlpkit.files import read_json


def save_all_weights(model: Any, folder: Path, max_shard_size: int | str) -> None:
    """Save a model, and refuse an adapter without modules that its base model does not have either, as a new head.

    Args:
        model: of transformers or of peft. Where it is saved as an adapter, its base model is opened a second time, to
            see what it has; a ladder keeps its head.
        folder: what to save to.
        max_shard_size: as for any model of transformers.

    Raises:
        ValueError: a module would be in neither.
    """
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    config, weights = folder / ADAPTER_CONFIG_NAME, folder / ADAPTER_SAFE_WEIGHTS_NAME
    if not hasattr(model, "peft_config") or not (config.is_file() and weights.is_file()):
        return  # a whole model, or a ladder
    base = read_json(config).get("base_model_name_or_path")
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not base or not isinstance(plain, PreTrainedModel):
        return  # an adapter of a model from nowhere, which is refused where it is opened
    # Its annotation does not know that with output_loading_info it gives two.
    kind: Any = type(plain)
    asked = {"config": copy.deepcopy(plain.config), "ignore_mismatched_sizes": True}
    try:
        _, report = kind.from_pretrained(base, **asked, output_loading_info=True)
    except OSError:
        return  # gone, or not to be reached now; what was trained is saved
    with safe_open(weights, "pt") as file:
        kept = list(file.keys())
    new = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    lost = sorted(name for name in new if not _is_kept(name, kept))
    if lost:
        modules = sorted({name.rpartition(".")[0] for name in lost})
        raise ValueError(
            f"the adapter alone would be saved, without {lost[0]} (and {len(lost) - 1} more), which {base} does not "
            f"have either, so that they would come back random: name their modules in "
            f"LoraConfig(modules_to_save={modules}) before training, or save the whole model, "
            "model.merge_and_unload()"
        )


def refuse_missing_weights(source: str, missing: Iterable[str]) -> None:
    """Refuse a saved classifier whose weights are not all there.

    Args:
        source: where it was saved.
        missing: names of the weights that it lacks.

    Raises:
        ValueError: there are some.
    """
    names = sorted(missing)
    if names:
        raise ValueError(
            f"the classifier in {source} lacks {names[0]} (and {len(names) - 1} more), which would be random: "
            "save or fetch it again"
        )


def _is_kept(name: str, kept: Iterable[str]) -> bool:
    return any(key == name or key.endswith(f".{name}") for key in kept)
