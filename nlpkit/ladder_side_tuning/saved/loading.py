"""Reading a saved ladder, from a folder or the Hub, and finding the backbone that it was trained beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.quantizers.auto import AutoQuantizationConfig
from transformers.utils import ADAPTER_SAFE_WEIGHTS_NAME

from nlpkit.ladder_side_tuning.configuration import LadderConfig, read_adapter_config
from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.ladder_side_tuning.saved.fingerprint import backbone_fingerprint, frozen_head_fingerprint
from nlpkit.ladder_side_tuning.saved.new_rows import PREFIX, resize
from nlpkit.ladder_side_tuning.saved.settings import settings_of_heads
from nlpkit.sources import find_file, find_model

_WHERE = ("revision", "subfolder", "cache_dir", "token", "local_files_only", "force_download")
_GIVE_IT = "give the backbone: LadderModel.from_pretrained(backbone, folder)"
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
        """Load the model that the ladder was trained beside; see ``load_with_report``.

        Args:
            **hub: as there.
        """
        return self.load_with_report(**hub)[0]

    def load_with_report(
        self, loading: Mapping[str, Any] | None = None, config: PreTrainedConfig | None = None, **hub: Any
    ) -> tuple[PreTrainedModel, dict[str, Any]]:
        """Load the model that the ladder was trained beside, from where it was loaded then.

        Args:
            loading: arguments of the model's ``from_pretrained``, such as ``dtype`` or ``device_map``.
            config: of ``load_config``; by default without further settings.
            **hub: of where the ladder comes from, ``cache_dir``, ``token`` and ``local_files_only`` hold here, too.

        Returns:
            The plain model, and transformers' report of what was missing in its files.

        Raises:
            FileNotFoundError: it is not there any more.
            ValueError: it was made in memory, or is of a class that transformers does not keep.
        """
        shared: dict[str, Any] = {
            name: hub[name] for name in ("cache_dir", "token", "local_files_only") if name in hub
        }
        config = self.load_config(**shared)[0] if config is None else config
        class_name = self.settings["base_model_class"]
        # Here transformers keeps a model's classes, and nlpkit.auto puts nlpkit's own.
        module = import_module(f"transformers.models.{model_type_to_module_name(config.model_type)}")
        model_class: type[PreTrainedModel] | None = getattr(module, class_name, None)
        if model_class is None:
            raise ValueError(f"{module.__name__} has no {class_name}; {_GIVE_IT}")
        options: dict[str, Any] = {"dtype": self.settings["dtype"], "output_loading_info": True, **shared}
        if "quantization" in self.settings and not hasattr(config, "quantization_config"):
            options["quantization_config"] = AutoQuantizationConfig.from_dict(self.settings["quantization"])
        # Its annotation does not know that with output_loading_info it gives two.
        loaded: Any = model_class.from_pretrained(config.name_or_path, config=config, **options | dict(loading or {}))
        return loaded[0], loaded[1]

    def load_config(
        self, settings: Mapping[str, Any] | None = None, **hub: Any
    ) -> tuple[PreTrainedConfig, dict[str, Any]]:
        """The configuration of the model that the ladder was trained beside, with the head's settings.

        Args:
            settings: further ones, in place of those that were saved, such as ``id2label``.
            **hub: ``cache_dir``, ``token`` and ``local_files_only``.

        Returns:
            The configuration, and the settings that it does not know.

        Raises:
            FileNotFoundError: the model is not there any more.
            ValueError: it was made in memory, or the head has another number of labels than the settings.
        """
        source = self.settings["base_model_name_or_path"]
        if not source:
            raise ValueError(f"the ladder's backbone was not loaded from anywhere; {_GIVE_IT}")
        try:
            found = find_model(source, **hub)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the backbone of the ladder in {self.source} is gone: {error}; {_GIVE_IT}"
            ) from error
        head = self._labelled(settings or {})
        config, unknown = AutoConfig.from_pretrained(found, **head, **hub, return_unused_kwargs=True)
        return config, {name: value for name, value in unknown.items() if name in (settings or {})}

    def _labelled(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The head's settings, as they were saved or as they are given."""
        head = {**self.settings["head"], **settings}
        count = len(self.settings["head"].get("id2label") or ())
        for name in ("num_labels", "id2label", "label2id"):
            wanted = settings.get(name)
            found = wanted if wanted is None or name == "num_labels" else len(wanted)
            if found is not None and count and found != count:
                raise ValueError(
                    f"{name}={wanted!r} stands for {found} labels, and the head of the ladder in {self.source} was "
                    f"trained with {count}; leave it out, or train a ladder for these"
                )
        head.pop("num_labels", None)  # as id2label says
        if settings.get("label2id") is not None and settings.get("id2label") is None:
            head["id2label"] = {number: label for label, number in settings["label2id"].items()}
        if head.get("id2label"):  # JSON makes texts of numbers
            head["id2label"] = {int(number): label for number, label in head["id2label"].items()}
            if settings.get("label2id") is None:
                head["label2id"] = {label: number for number, label in head["id2label"].items()}
        return head

    def without_head(self, prefix: str) -> SavedLadder:
        """The part of the ladder that belongs to the bare model below the head.

        Args:
            prefix: the bare model's name in the one with a head.
        """
        start = f"{prefix}."
        modules = [name.removeprefix(start) for name in self.settings["modules_to_save"] if name.startswith(start)]
        state = {
            name.removeprefix(start): tensor
            for name, tensor in self.state.items()
            if name.startswith((start, PREFIX)) and name != f"{PREFIX}output"
        }
        settings = {**self.settings, "modules_to_save": modules, "frozen_head_fingerprint": None}
        settings["frozen_head_settings"] = None
        return SavedLadder(self.source, replace(self.config, modules_to_save=modules), settings, state)

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
        rows = {name: tensor for name, tensor in self.state.items() if name.startswith(PREFIX)}
        state = {name: _with_gates(name, tensor) for name, tensor in self.state.items() if name not in rows}
        if "vocabulary" in self.settings:
            resize(ladder, self.settings["vocabulary"], rows)
        self._check_backbone(ladder)
        targets = ladder.ladder_state_dict()
        missing, unexpected = sorted(targets.keys() - state.keys()), sorted(state.keys() - targets.keys())
        if missing or unexpected:
            example = f"lacks {missing[0]}" if missing else f"has {unexpected[0]}"
            raise ValueError(f"the ladder in {self.source} does not fit {kind}: it {example}")
        for name, target in targets.items():
            if target.shape != state[name].shape:
                raise ValueError(
                    f"the ladder in {self.source} has {name} of shape {tuple(state[name].shape)}, the model "
                    f"{tuple(target.shape)}; has its head as many labels?"
                )
        ladder.load_state_dict(state, strict=False)

    def _check_backbone(self, ladder: Ladder) -> None:
        kind, home = type(ladder).__name__, self.settings["base_model_name_or_path"]
        found, own = ladder.config.name_or_path, "its own backbone"
        advice = f"load it beside {home or own}"
        if home and found == home:
            advice = (
                f"they were loaded from {home} then and now, so either that has changed, or the model had been "
                "changed after it was loaded: save such a model, and build the ladder on what is loaded from there"
            )
        if ladder.dtype == torch.float16 != getattr(torch, self.settings["dtype"]):
            advice = (
                "float16 rounds them in another way than bfloat16, in which they are compared: load it with "
                f"dtype={self.settings['dtype']!r} or 'bfloat16', and call half() on the ladder"
            )
        if backbone_fingerprint(ladder) != self.settings["backbone_fingerprint"]:
            raise ValueError(
                f"the ladder in {self.source} was trained beside other weights than those of the given {kind}, or "
                f"with other settings; {advice}"
            )
        head = self.settings.get("frozen_head_fingerprint")
        if head is not None and frozen_head_fingerprint(ladder) != head:
            raise ValueError(
                f"the ladder in {self.source} was trained with another head on the same backbone, which it did not "
                f"train, than that of the given {kind}; {advice}"
            )
        given = settings_of_heads(ladder.config.to_dict())
        for name, value in (self.settings.get("frozen_head_settings") or {}).items():
            if given.get(name) != value:
                raise ValueError(
                    f"the ladder in {self.source} was trained with {name}={value!r}, by which its head answers, and "
                    f"the given {kind} has {name}={given.get(name)!r}; {advice}"
                )


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


def _with_gates(name: str, tensor: Tensor) -> Tensor:
    """A gate was a scalar once, which FSDP refuses."""
    return tensor.view(1) if name.endswith(".alpha") and not tensor.shape else tensor
