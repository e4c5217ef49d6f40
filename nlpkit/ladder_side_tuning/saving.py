"""Ladders on disk: side weights only, in PEFT's file names, tied to the backbone by a fingerprint of its weights."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import ADAPTER_CONFIG_NAME, ADAPTER_SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_NAME

import nlpkit
from nlpkit.files import written_whole
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.families import FAMILIES, BlockFamily
from nlpkit.ladder_side_tuning.modeling import build_ladder

#: Stands where PEFT writes the name of its method.
LADDER_TYPE = "LADDER_SIDE_TUNING"
#: Settings of a model that belong to its head, so that the head is known when the backbone is loaded by name.
HEAD_SETTINGS = ("id2label", "label2id", "problem_type")


def backbone_fingerprint(ladder: Any) -> str:
    """A digest of the weights that a ladder stands on: the embeddings of tokens and the frozen blocks.

    Weights are rounded to bf16 first, so that a checkpoint is known again in any precision it is loaded in.

    Args:
        ladder: a model with a ladder.

    Returns:
        32 hexadecimal digits.

    Note:
        Takes about two seconds a billion parameters.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> wide, narrow = (build_ladder(model, LadderConfig(reduction=r)) for r in (1, 4))
        >>> backbone_fingerprint(wide) == backbone_fingerprint(narrow)
        True
    """
    rungs = [rung for stack in ladder.stacks for rung in stack.blocks(ladder)]
    modules = [ladder.get_input_embeddings(), *(rung.block for rung in rungs)]
    digest = hashlib.blake2b(digest_size=16)
    for parameter in (parameter for module in modules for parameter in module.parameters()):
        digest.update(str(tuple(parameter.shape)).encode())
        digest.update(parameter.detach().to(torch.bfloat16).contiguous().view(torch.int16).cpu().numpy().data)
    return digest.hexdigest()


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
        "nlpkit_version": nlpkit.__version__,
    }
    with written_whole(folder) as draft:
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
        backbone: the plain model, with a head of the same kind; its parameters are frozen in place and shared. ``None``
            loads the one that the ladder was trained beside, from where it was loaded then.
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
    model_class: Any = getattr(nlpkit if class_name in nlpkit.__all__ else transformers, class_name, None)
    if model_class is None:
        raise ValueError(f"neither nlpkit nor transformers has a {class_name}; give load_ladder_model the backbone")
    config = AutoConfig.from_pretrained(source, **settings["head"])
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
