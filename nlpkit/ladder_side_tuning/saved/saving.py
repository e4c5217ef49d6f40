"""Writing a ladder: side weights only, in PEFT's file names, tied to the backbone by a fingerprint of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import ADAPTER_CONFIG_NAME, ADAPTER_SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_NAME, logging

from nlpkit.files import whole_folder, write_json, write_text
from nlpkit.ladder_side_tuning.configuration import LADDER_TYPE, refuse_folder_of_model
from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.ladder_side_tuning.saved.card import model_card
from nlpkit.ladder_side_tuning.saved.fingerprint import backbone_fingerprint, frozen_head_fingerprint
from nlpkit.ladder_side_tuning.saved.new_rows import count_rows, is_resized, new_rows
from nlpkit.ladder_side_tuning.saved.settings import settings_of_heads
from nlpkit.version import __version__

#: Settings of a model that belong to its head, so that the head is known when the backbone is loaded by name.
HEAD_SETTINGS = ("id2label", "label2id", "problem_type")
CARD = "README.md"

logger = logging.get_logger(__name__)


def save_ladder(ladder: Ladder, folder: str | PathLike[str], state_dict: Mapping[str, Tensor] | None = None) -> None:
    """Write a ladder without the backbone: ``adapter_config.json``, ``adapter_model.safetensors`` and a model card.

    Embeddings that were resized after the model was loaded are no part of what it was loaded from, so their new rows
    are written, too. A card that is there already stays. Beside a model that was loaded from nowhere, a warning says
    once that the folder alone cannot be opened.

    Args:
        ladder: a model with a ladder.
        folder: made if it does not exist. If it is one of the Trainer's checkpoints, the weights are written a second
            time as ``model.safetensors``, from which alone the Trainer resumes (checked on transformers 5.23).
        state_dict: weights to write in place of the ladder's own; those of the backbone are left out.

    Raises:
        FileExistsError: ``folder`` holds a whole model, such as the backbone.
        NotADirectoryError: ``folder`` is a file.
        ValueError: ``state_dict`` lacks weights of the ladder.
    """
    refuse_folder_of_model(folder)
    own = ladder.ladder_state_dict()
    state = own if state_dict is None else ladder.ladder_state_dict(state_dict)
    missing = sorted(own.keys() - state.keys())
    if missing:
        raise ValueError(f"state_dict lacks {missing[0]!r} of the ladder; give the weights of the whole model")
    if not ladder.config.name_or_path:
        logger.warning_once(
            "the model beside this ladder was loaded from nowhere, and a ladder's folder holds none of its weights: "
            "before you build a ladder, save the model and load it from its folder, or keep it to give it back "
            "(LadderModel.from_pretrained(backbone, folder))"
        )
    rows = new_rows(ladder, state_dict)
    settings: dict[str, Any] = {
        "peft_type": LADDER_TYPE,
        "base_model_name_or_path": ladder.config.name_or_path,
        "base_model_class": type(ladder).__name__.removeprefix("FSDP"),  # which sharding puts before it
        "backbone_fingerprint": backbone_fingerprint(ladder, state_dict),
        "frozen_head_fingerprint": frozen_head_fingerprint(ladder, state_dict),
        "frozen_head_settings": settings_of_heads(ladder.config.to_dict()),
        "dtype": str(ladder.dtype).removeprefix("torch."),
        "head": {name: getattr(ladder.config, name) for name in HEAD_SETTINGS},
        "modules_to_save": ladder.saved_modules,
        "ladder": ladder.ladder_config.to_dict() | {"modules_to_save": ladder.saved_modules},
        "nlpkit_version": __version__,
    }
    if is_resized(ladder):
        settings["vocabulary"] = count_rows(ladder)
    quantization = getattr(ladder.config, "quantization_config", None)
    if quantization is not None:
        settings["quantization"] = quantization if isinstance(quantization, dict) else quantization.to_dict()
    with whole_folder(Path(folder), replacing=("adapter_model*",)) as draft:
        tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
        if Path(folder).name.startswith(f"{PREFIX_CHECKPOINT_DIR}-"):
            save_file(tensors, draft / SAFE_WEIGHTS_NAME, metadata={"format": "pt"})
        tensors |= {name: table.detach().contiguous() for name, table in rows.items() if len(table)}
        save_file(tensors, draft / ADAPTER_SAFE_WEIGHTS_NAME, metadata={"format": "pt"})
        write_json(draft / ADAPTER_CONFIG_NAME, settings)
        if not (Path(folder) / CARD).exists():
            write_text(draft / CARD, model_card(ladder))
