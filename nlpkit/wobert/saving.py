"""Saved models that are all old or all new."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlpkit.files import SAVED_MODEL, whole_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel as _Model
else:
    _Model = object


class SavedWhole(_Model):
    """Mixin for models: ``save_pretrained`` changes an older folder at once or, whatever ends it, not at all.

    Put it before the model's class.
    """

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | PathLike[str], is_main_process: bool = True, **kwargs: Any
    ) -> None:
        """Save weights and configuration, as every model of transformers does.

        Args:
            save_directory: folder, made if it does not exist. Older weights in it go, shards, other formats
                and adapters included; other files stay.
            is_main_process: whether this process writes the folder.
            **kwargs: as for ``PreTrainedModel.save_pretrained``; with ``push_to_hub=True`` the repository is named
                after ``save_directory`` where no ``repo_id`` is given.

        Raises:
            NotADirectoryError: ``save_directory`` is a file.
        """
        if not is_main_process:
            super().save_pretrained(save_directory, is_main_process=False, **kwargs)
            return
        if kwargs.get("push_to_hub"):
            kwargs.setdefault("repo_id", Path(save_directory).name)
        # An adapter is saved beside the weights that it belongs to, and a variant beside the others.
        beside = getattr(self, "_hf_peft_config_loaded", False) or kwargs.get("variant") is not None
        with whole_folder(Path(save_directory), replacing=() if beside else SAVED_MODEL) as draft:
            super().save_pretrained(draft, **kwargs)
