"""Reading a saved ladder, from a folder or the Hub, and finding the backbone that it was trained beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.utils import ADAPTER_SAFE_WEIGHTS_NAME

from nlpkit.ladder_side_tuning.configuration import LadderConfig, read_adapter_config
from nlpkit.ladder_side_tuning.fingerprint import backbone_fingerprint
from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.sources import find_file, find_model

_WHERE = ("revision", "subfolder", "cache_dir", "token", "local_files_only", "force_download")
#: What ``save_ladder`` writes beside the configuration.
_NEEDED = ("base_model_name_or_path", "base_model_class", "backbone_fingerprint", "dtype", "head", "modules_to_save")


@dataclass(frozen=True)
class SavedLadder:
    """A ladder as it was saved, not yet beside a backbone.

    Args:
        source: where it was read from, for messages.
        config: how it is made.
        settings: of its backbone and head, by name.
        state: its weights, by name.
    """

    source: str | Path
    config: LadderConfig
    settings: Mapping[str, Any]
    state: Mapping[str, Tensor]

    def load_backbone(self, **hub: Any) -> PreTrainedModel:
        """Load the model that the ladder was trained beside, from where it was loaded then.

        Args:
            **hub: of where the ladder comes from, ``cache_dir``, ``token`` and ``local_files_only`` hold here, too.

        Returns:
            The plain model.

        Raises:
            FileNotFoundError: it is not there any more.
            ValueError: it was made in memory, or is of a class that transformers does not keep.
        """
        source, class_name = self.settings["base_model_name_or_path"], self.settings["base_model_class"]
        give_it = "give the backbone: LadderModel.from_pretrained(backbone, folder)"
        if not source:
            raise ValueError(f"the ladder's backbone was not loaded from anywhere; {give_it}")
        shared = {name: hub[name] for name in ("cache_dir", "token", "local_files_only") if name in hub}
        try:
            found = find_model(source, **shared)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the backbone of the ladder in {self.source} is gone: {error}; {give_it}"
            ) from error
        config = AutoConfig.from_pretrained(found, **self.settings["head"], **shared)
        # Here transformers keeps a model's classes, and nlpkit.auto puts nlpkit's own.
        module = import_module(f"transformers.models.{model_type_to_module_name(config.model_type)}")
        model_class: type[PreTrainedModel] | None = getattr(module, class_name, None)
        if model_class is None:
            raise ValueError(f"{module.__name__} has no {class_name}; {give_it}")
        return model_class.from_pretrained(found, config=config, dtype=self.settings["dtype"], **shared)

    def check_modules(self, backbone: nn.Module) -> None:
        """Refuse a backbone without the modules that were trained beside the ladder.

        Args:
            backbone: the plain model.

        Raises:
            ValueError: it lacks one.
        """
        known = dict(backbone.named_modules())
        missing = [name for name in self.settings["modules_to_save"] if name not in known]
        if missing:
            raise ValueError(
                f"the ladder in {self.source} was trained with a {self.settings['base_model_class']} and has its "
                f"{missing[0]}, which the given {type(backbone).__name__} lacks"
            )

    def fill(self, ladder: Ladder) -> None:
        """Put the saved weights into a fresh ladder.

        Args:
            ladder: built with ``config``.

        Raises:
            ValueError: its backbone is another one, or the weights do not fit.
        """
        kind = type(ladder).__name__
        if backbone_fingerprint(ladder) != self.settings["backbone_fingerprint"]:
            raise ValueError(
                f"the ladder in {self.source} was trained beside other weights than those of the given {kind}; load "
                f"it beside {self.settings['base_model_name_or_path'] or 'its own backbone'}"
            )
        targets = ladder.ladder_state_dict()
        missing, unexpected = sorted(targets.keys() - self.state.keys()), sorted(self.state.keys() - targets.keys())
        if missing or unexpected:
            example = f"lacks {missing[0]}" if missing else f"has {unexpected[0]}"
            raise ValueError(f"the ladder in {self.source} does not fit {kind}: it {example}")
        for name, target in targets.items():
            if target.shape != self.state[name].shape:
                raise ValueError(
                    f"the ladder in {self.source} has {name} of shape {tuple(self.state[name].shape)}, the model "
                    f"{tuple(target.shape)}; has its head as many labels?"
                )
        ladder.load_state_dict(dict(self.state), strict=False)


def read_ladder(source: str | Path, **hub: Any) -> SavedLadder:
    """Read what ``save_ladder`` wrote.

    Args:
        source: a folder, or a repository on the Hub.
        **hub: for a repository: ``revision``, ``subfolder``, ``cache_dir``, ``token``, ``local_files_only``,
            ``force_download``.

    Returns:
        Settings and weights.

    Raises:
        FileNotFoundError: there is no such folder or repository, or no ladder in it.
        TypeError: an unknown argument.
        ValueError: a file is damaged, or holds something else.
    """
    unknown = sorted(hub.keys() - set(_WHERE))
    if unknown:
        raise TypeError(
            f"unknown argument {unknown[0]!r}; known are {', '.join(_WHERE)}. Load the backbone as you want it, and "
            "give it as LadderModel.from_pretrained(backbone, folder)"
        )
    path, settings = read_adapter_config(source, **hub)
    config = LadderConfig.from_dict(settings["ladder"])
    missing = [name for name in _NEEDED if name not in settings]
    if missing:
        raise ValueError(
            f"{path} lacks {missing[0]!r}: it is a configuration, not a saved ladder; make a ladder with "
            "get_ladder_model(model, LadderConfig.from_pretrained(folder))"
        )
    weights = find_file(source, ADAPTER_SAFE_WEIGHTS_NAME, **hub)
    if weights is None:
        raise FileNotFoundError(f"{source} holds no {ADAPTER_SAFE_WEIGHTS_NAME}; was it copied whole?")
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise ValueError(f"{weights} is damaged or cut off ({error}); copy or save the ladder again") from error
    return SavedLadder(source, config, settings, state)
