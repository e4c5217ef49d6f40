"""Ladders on disk: side weights only, in PEFT's file names, tied to the backbone by a fingerprint of its weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import ADAPTER_CONFIG_NAME, ADAPTER_SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_NAME

from nlpkit.files import whole_folder
from nlpkit.ladder_side_tuning.building import build_ladder
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.families import FAMILIES, BlockFamily
from nlpkit.ladder_side_tuning.fingerprint import backbone_fingerprint
from nlpkit.version import __version__

#: Stands where PEFT writes the name of its method.
LADDER_TYPE = "LADDER_SIDE_TUNING"
#: Settings of a model that belong to its head, so that the head is known when the backbone is loaded by name.
HEAD_SETTINGS = ("id2label", "label2id", "problem_type")


def save_ladder(ladder: Any, folder: str | Path) -> None:
    """Write a ladder: ``adapter_config.json`` and ``adapter_model.safetensors``, without the backbone.

    Args:
        ladder: a model with a ladder.
        folder: made if it does not exist. If it is one of the Trainer's checkpoints, the weights are written a second
            time as ``model.safetensors``, from which alone the Trainer resumes (checked on transformers 5.23).

    Raises:
        NotADirectoryError: ``folder`` is a file.
    """
    state = {name: tensor.detach().contiguous() for name, tensor in ladder.ladder_state_dict().items()}
    settings = {
        "peft_type": LADDER_TYPE,
        "base_model_name_or_path": ladder.config.name_or_path,
        "base_model_class": type(ladder).__name__,
        "backbone_fingerprint": backbone_fingerprint(ladder),
        "dtype": str(ladder.dtype).removeprefix("torch."),
        "head": {name: getattr(ladder.config, name) for name in HEAD_SETTINGS},
        "modules_to_save": ladder.saved_modules,
        "ladder": ladder.ladder_config.to_dict() | {"modules_to_save": ladder.saved_modules},
        "nlpkit_version": __version__,
    }
    with whole_folder(folder) as draft:
        save_file(state, draft / ADAPTER_SAFE_WEIGHTS_NAME, metadata={"format": "pt"})
        (draft / ADAPTER_CONFIG_NAME).write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", "utf-8")
        if Path(folder).name.startswith(f"{PREFIX_CHECKPOINT_DIR}-"):
            shutil.copyfile(draft / ADAPTER_SAFE_WEIGHTS_NAME, draft / SAFE_WEIGHTS_NAME)


def load_ladder_model(
    folder: str | Path, backbone: PreTrainedModel | None = None, *, families: Sequence[BlockFamily] = FAMILIES
) -> Any:
    """Load a ladder and stand it beside its backbone.

    Args:
        folder: what `save_ladder`, ``save_pretrained`` or the Trainer wrote.
        backbone: the plain model, with a head of the same kind; its parameters are frozen in place and shared.
            ``None`` loads the one that the ladder was trained beside, from where it was loaded then.
        families: kinds of block, as `get_ladder_model` was given.

    Returns:
        The ladder, in evaluation mode.

    Raises:
        FileNotFoundError: there is no ladder in the folder.
        ValueError: the files are damaged or hold something else, or the backbone is another one.
    """
    settings = _read_settings(Path(folder))
    state = _read_weights(Path(folder))
    if backbone is None:
        backbone = _load_backbone(settings)
    known = dict(backbone.named_modules())
    missing = [name for name in settings["modules_to_save"] if name not in known]
    if missing:
        raise ValueError(
            f"the ladder in {folder} was trained with a {settings['base_model_class']} and has its {missing[0]}, "
            f"which the given {type(backbone).__name__} lacks"
        )
    ladder = build_ladder(backbone, LadderConfig.from_dict(settings["ladder"]), families)
    if backbone_fingerprint(ladder) != settings["backbone_fingerprint"]:
        raise ValueError(
            f"the ladder in {folder} was trained beside other weights than those of the given "
            f"{type(backbone).__name__}; load it beside {settings['base_model_name_or_path'] or 'its own backbone'}"
        )
    _load_state(ladder, state, folder)
    return ladder.eval()


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / ADAPTER_CONFIG_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {ADAPTER_CONFIG_NAME}; give the folder of a saved ladder")
    try:
        settings: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON ({error}); save the ladder again") from error
    if settings.get("peft_type") != LADDER_TYPE:
        raise ValueError(f"{folder} holds a {settings.get('peft_type')} adapter, not a ladder; load it with peft")
    return settings


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / ADAPTER_SAFE_WEIGHTS_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {ADAPTER_SAFE_WEIGHTS_NAME}; was it copied whole?")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or cut off ({error}); copy or save the ladder again") from error


def _load_backbone(settings: Mapping[str, Any]) -> PreTrainedModel:
    source, class_name = settings["base_model_name_or_path"], settings["base_model_class"]
    if not source:
        raise ValueError(
            "the ladder's backbone was not loaded from anywhere; give it as load_ladder_model(.., backbone)"
        )
    config = AutoConfig.from_pretrained(source, **settings["head"])
    # Here transformers keeps a model's classes, and nlpkit.auto puts nlpkit's own.
    module = import_module(f"transformers.models.{model_type_to_module_name(config.model_type)}")
    model_class: Any = getattr(module, class_name, None)
    if model_class is None:
        raise ValueError(
            f"{module.__name__} has no {class_name}; give the backbone as load_ladder_model(.., backbone)"
        )
    model: PreTrainedModel = model_class.from_pretrained(source, config=config, dtype=settings["dtype"])
    return model


def _load_state(ladder: Any, state: Mapping[str, Tensor], folder: str | Path) -> None:
    targets = ladder.ladder_state_dict()
    missing, unexpected = sorted(targets.keys() - state.keys()), sorted(state.keys() - targets.keys())
    if missing or unexpected:
        example = f"lacks {missing[0]}" if missing else f"has {unexpected[0]}"
        raise ValueError(f"the ladder in {folder} does not fit {type(ladder).__name__}: it {example}")
    for name, target in targets.items():
        if target.shape != state[name].shape:
            raise ValueError(
                f"the ladder in {folder} has {name} of shape {tuple(state[name].shape)}, the model "
                f"{tuple(target.shape)}; has its head as many labels?"
            )
    ladder.load_state_dict(dict(state), strict=False)
