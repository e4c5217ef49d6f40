"""What a checkpoint holds of techniques and of a loss with parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from nlpkit.losses.loss import Loss
from nlpkit.training.technique import Technique

_FILE = "techniques.safetensors"


def save_state(folder: Path, techniques: Sequence[Technique], loss: Loss | None) -> None:
    """Write the state of techniques, by their place in the list, and of the loss into a checkpoint, if there is any.

    Args:
        folder: of the checkpoint.
        techniques: of the Trainer.
        loss: of the task, where it is known.
    """
    parts = {f"{place}": technique.state_dict() for place, technique in enumerate(techniques)}
    if loss is not None:
        parts["loss"] = loss.state_dict()
    state = {f"{part}.{name}": value.contiguous() for part, named in parts.items() for name, value in named.items()}
    if state:
        save_file(state, folder / _FILE)


def load_state(folder: Path, techniques: Sequence[Technique], loss: Loss | None) -> None:
    """Take over what ``save_state`` wrote, if there is any.

    Args:
        folder: of the checkpoint.
        techniques: of the Trainer, in the same order.
        loss: of the task.
    """
    if not (folder / _FILE).is_file():
        return
    state = load_file(folder / _FILE)

    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}

    for place, technique in enumerate(techniques):
        technique.load_state_dict(part(f"{place}."))
    if loss is not None and part("loss."):
        loss.load_state_dict(part("loss."))
