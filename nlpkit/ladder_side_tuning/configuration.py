"""What a ladder is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from transformers.utils import ADAPTER_CONFIG_NAME, CONFIG_NAME

from nlpkit.files import WEIGHTS, read_json, write_json
from nlpkit.sources import find_file

Layers = float | Sequence[int] | None

#: Stands where PEFT writes the name of its method.
LADDER_TYPE = "LADDER_SIDE_TUNING"
MERGES = ("gate", "add")
INITS = ("random", "magnitude", "fisher", "distill")


@dataclass
class LadderConfig:
    """How narrow the side network is, where it taps the backbone, how the two merge, and how it begins.

    Source: Sung, Cho and Bansal 2022, "LST: Ladder Side-Tuning for Parameter and Memory Efficient Transfer Learning";
    the variant that adds is kexue.fm/archives/9138.

    Args:
        reduction: the backbone's widths divided by the side network's. Heads become smaller by this factor or, as far
            as it does not divide their size, fewer: at 6, twelve heads of 64 become the blog's four of 32.
        layers: which layers have a block beside them. ``None``: all. A whole number: that many, evenly spread, as in
            the paper (9 of 12 leaves out 0, 4 and 8). Below 1: that share of them. Indices: those. For encoder-decoder
            models also a mapping with ``"encoder"`` and ``"decoder"``. Empty, with ``whole_from``: none, so that there
            is no side network.
        merge: ``"gate"`` mixes a tap into the side state with a learnt weight before each block; ``"add"`` adds it
            after each block.
        init: the first weights of the side network. ``"random"``; ``"magnitude"``: the rows of the backbone with the
            largest weights; ``"fisher"``: those with the largest squared gradients on your batches; ``"distill"``: by
            magnitude, then trained to give the backbone's last states on your batches without labels.
        temperature: of the gates, which are ``sigmoid(alpha / temperature)``; a low one lets them move fast.
        dropout: before the projection up. Inside the side blocks it is the backbone's, except on attention maps.
        attention_dropout: on the attention maps of the side blocks. At 0 fused kernels can be used, which store no
            attention maps, otherwise the largest part of what a ladder stores. Where the backbone has one setting for
            all dropout (T5), that one is used.
        modules_to_save: names of modules of the model to train and save beside the ladder; they must lie behind the
            blocks, where gradients come. ``None``: the head, unless it is a pretrained language-model head, and a
            pooler. Empty: none.
        whole_from: a layer, from 1 on, from which on layers are trained whole, with all that follows them; the ladder
            stands beside the layers below and adds to the last frozen states. ``tune_from`` is this without a ladder.

    Raises:
        ValueError: a value out of range; the message says which values are possible.

    Example:
        >>> LadderConfig(reduction=4, layers=9).merge
        'gate'
    """

    reduction: int = 8
    layers: Layers | Mapping[str, Layers] = None
    merge: Literal["gate", "add"] = "gate"
    init: Literal["random", "magnitude", "fisher", "distill"] = "magnitude"
    temperature: float = 0.1
    dropout: float = 0.1
    attention_dropout: float = 0.0
    modules_to_save: Sequence[str] | None = None
    whole_from: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.reduction, int) or self.reduction < 1:
            raise ValueError(f"reduction={self.reduction!r} must be a whole number from 1; the paper uses 8")
        if self.merge not in MERGES:
            raise ValueError(f"merge={self.merge!r} is unknown; use one of {', '.join(map(repr, MERGES))}")
        if self.init not in INITS:
            raise ValueError(f"init={self.init!r} is unknown; use one of {', '.join(map(repr, INITS))}")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature={self.temperature!r} must be above 0; the paper uses 0.1")
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must lie in [0, 1)")
        if isinstance(self.modules_to_save, str):
            raise ValueError(f"modules_to_save={self.modules_to_save!r} must be a list of names")
        if self.whole_from is not None and (not isinstance(self.whole_from, int) or self.whole_from < 1):
            raise ValueError(f"whole_from={self.whole_from!r} must be the number of a layer, from 1 on")
        if self.whole_from is not None and self.init == "distill" and self.has_side_network:
            raise ValueError("init='distill' learns last states, which layers trained whole change; use 'magnitude'")

    @property
    def has_side_network(self) -> bool:
        """Whether any layer has a block beside it."""
        return self.whole_from is None or not (isinstance(self.layers, Sequence) and not self.layers)

    def layers_of(self, role: str) -> Layers:
        """The ``layers`` setting of a stack.

        Args:
            role: ``"encoder"`` or ``"decoder"``.

        Returns:
            ``None``, a number or indices.

        Raises:
            ValueError: the setting is a mapping that lacks the role.
        """
        if not isinstance(self.layers, Mapping):
            return self.layers
        if role not in self.layers:
            raise ValueError(f"layers={self.layers!r} says nothing about the {role}; add it")
        return self.layers[role]

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> LadderConfig:
        """Build a configuration from the values of ``to_dict``.

        Args:
            settings: one value per field; unknown names are refused, since they change what a ladder computes.

        Raises:
            ValueError: a name is unknown.
        """
        unknown = sorted(settings.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r} of a ladder; was it saved by a later nlpkit?")
        return cls(**settings)

    def save_pretrained(self, save_directory: str | PathLike[str]) -> None:
        """Write the settings as ``adapter_config.json``, as a ``PeftConfig`` does.

        Args:
            save_directory: folder, made if it does not exist.

        Raises:
            FileExistsError: the folder holds a saved ladder or another adapter, whose settings would be lost, or a
                whole model.
        """
        refuse_folder_of_model(save_directory)
        path = Path(save_directory) / ADAPTER_CONFIG_NAME
        if path.exists() and set(read_json(path)) != {"peft_type", "ladder"}:
            raise FileExistsError(f"{path} belongs to a saved adapter; save the settings to another folder")
        write_json(path, {"peft_type": LADDER_TYPE, "ladder": self.to_dict()})

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike[str], **hub: Any) -> LadderConfig:
        """Read the settings of a saved ladder, or those that ``save_pretrained`` wrote.

        Args:
            pretrained_model_name_or_path: a folder, or a repository on the Hub.
            **hub: for a repository: ``revision``, ``subfolder``, ``cache_dir``, ``token``, ``local_files_only``.

        Returns:
            The configuration.

        Raises:
            FileNotFoundError: there is no such folder or repository, or no ``adapter_config.json`` in it.
            ValueError: the file is damaged, or holds the settings of another kind of adapter.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> with TemporaryDirectory() as folder:
            ...     LadderConfig(reduction=4).save_pretrained(folder)
            ...     LadderConfig.from_pretrained(folder).reduction
            4
        """
        _, settings = read_adapter_config(pretrained_model_name_or_path, **hub)
        return cls.from_dict(settings["ladder"])


def refuse_folder_of_model(folder: str | PathLike[str]) -> None:
    """Refuse to write a ladder into the folder of a whole model, which would be taken for a ladder from then on.

    Args:
        folder: to write to.

    Raises:
        FileExistsError: it holds a model's configuration and weights.
    """
    if (Path(folder) / CONFIG_NAME).is_file() and any(next(Path(folder).glob(name), None) for name in WEIGHTS):
        raise FileExistsError(
            f"{folder} holds a whole model, which would not load any more beside a ladder's {ADAPTER_CONFIG_NAME}; "
            "save the ladder to a folder of its own"
        )


def read_adapter_config(source: str | PathLike[str], **hub: Any) -> tuple[Path, dict[str, Any]]:
    """Read the ``adapter_config.json`` of a ladder.

    Args:
        source: a folder, or a repository on the Hub.
        **hub: as for ``nlpkit.sources.find_file``.

    Returns:
        The file, and what it holds; the settings of ``LadderConfig`` are those under ``"ladder"``.

    Raises:
        FileNotFoundError: there is no such folder or repository, or no such file in it.
        ValueError: the file is damaged, or belongs to another kind of adapter.
    """
    path = find_file(source if isinstance(source, str) else Path(source), ADAPTER_CONFIG_NAME, **hub)
    if path is None:
        raise FileNotFoundError(f"{source} holds no {ADAPTER_CONFIG_NAME}; give the folder of a saved ladder")
    settings = read_json(path)
    if settings.get("peft_type") != LADDER_TYPE:
        raise ValueError(f"{source} holds a {settings.get('peft_type')} adapter, not a ladder; load it with peft")
    if not isinstance(settings.get("ladder"), dict):
        raise ValueError(f"{path} lacks the settings of its ladder; save the ladder again")
    return path, settings
