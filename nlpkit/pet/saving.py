"""A saved classifier: the model's own folder, and what makes it a classifier in ``pet.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.files import whole_folder
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Verbalizer

#: Beside the model's own files in a saved folder.
SETTINGS_FILE = "pet.json"


class PromptedClassifier(Protocol):
    """What every classifier that asks a pattern holds."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pattern: Pattern
    verbalizer: Verbalizer | None
    max_length: int
    prior: Tensor | None


def save_classifier(folder: str | Path, classifier: PromptedClassifier, **more: Any) -> None:
    """Write model, tokenizer and settings, whole or not at all.

    Args:
        folder: made if it does not exist.
        classifier: the classifier.
        **more: settings that not every classifier has, JSON values.
    """
    settings = {
        "pattern": classifier.pattern.template,
        "verbalizer": classifier.verbalizer.to_dict() if classifier.verbalizer else None,
        "max_length": classifier.max_length,
        "prior": None if classifier.prior is None else classifier.prior.tolist(),
        **more,
    }
    with whole_folder(folder) as draft:
        classifier.model.save_pretrained(draft)
        classifier.tokenizer.save_pretrained(draft)
        (draft / SETTINGS_FILE).write_text(json.dumps(settings, ensure_ascii=False, indent=1) + "\n", "utf-8")


def read_settings(folder: str | Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a saved classifier, if the folder holds one, with those that are given in their place.

    Args:
        folder: of a model, or of a saved classifier.
        given: settings by name; ``None`` leaves the saved one.

    Returns:
        Settings with at least ``pattern`` and ``verbalizer``, the latter perhaps ``None``.

    Raises:
        ValueError: no pattern is known.
    """
    settings: dict[str, Any] = {"verbalizer": None}
    file = Path(folder) / SETTINGS_FILE
    if file.is_file():
        settings |= json.loads(file.read_text("utf-8"))
        settings["verbalizer"] = Verbalizer(**settings["verbalizer"]) if settings["verbalizer"] else None
    settings |= {name: value for name, value in given.items() if value is not None}
    if "pattern" not in settings:
        raise ValueError(f"{folder} holds no saved classifier; give a pattern, e.g. pattern='{{mask}}满意。{{text}}'")
    return settings
