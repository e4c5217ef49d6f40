"""What a ladder is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Layers = float | Sequence[int] | None

MERGES = ("gate", "add")
INITS = ("random", "magnitude", "fisher", "distill")


@dataclass
class LadderConfig:
    """How narrow the side network is, where it taps the backbone, how the two merge, and how it begins.

    Source: Sung, Cho and Bansal 2022, "LST: Ladder Side-Tuning for Parameter and Memory Efficient Transfer Learning";
    the variant that adds is kexue.fm/archives/9138.

    Args:
        reduction: the backbone's widths divided by the side network's. Heads get smaller by it or, as far as it does
            not divide their size, fewer: at 6, twelve heads of 64 become the blog's four of 32.
        layers: which layers keep a block beside them. ``None``: all. A number: so many, evenly spread, as the paper
            does (9 of 12 leaves out 0, 4 and 8); below 1 such a share of them. Indices: those. For encoder-decoder
            models also a mapping with ``"encoder"`` and ``"decoder"``.
        merge: ``"gate"`` mixes a tap into the side state with a learnt weight before each block; ``"add"`` adds it
            after each block.
        init: where the side network begins. ``"random"``; ``"magnitude"``: the rows of the backbone with the largest
            weights; ``"fisher"``: those with the largest squared gradients on your batches; ``"distill"``: by
            magnitude, then trained to give the backbone's last states on your batches without labels.
        temperature: of the gates, which are ``sigmoid(alpha / temperature)``; small ones let them move fast.
        dropout: before the projection up. Inside the side blocks it is the backbone's, but for the next one.
        attention_dropout: of the side blocks' attention. Without it the fused kernels serve, which keep no attention
            maps, the largest part of what a ladder keeps. Where the backbone has one setting for all dropout (T5),
            that holds.
        modules_to_save: names of modules of the model to train and save beside the ladder. ``None``: the head,
            unless it is a pretrained language-model head, and a pooler. Empty: none.

    Raises:
        ValueError: a value out of range; the message says which are in it.

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
        """Build a configuration from ``to_dict``'s values.

        Args:
            settings: a value a field; unknown names are refused, since they change what a ladder computes.

        Raises:
            ValueError: a name is unknown.
        """
        unknown = sorted(settings.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"a ladder has no setting {unknown[0]!r}; was it saved by a later nlpkit?")
        return cls(**settings)
