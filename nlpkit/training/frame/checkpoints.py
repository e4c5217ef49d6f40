"""What a checkpoint holds of techniques and of a loss with parameters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from nlpkit.losses.loss import Loss
from nlpkit.training.technique import Technique

logger = logging.getLogger(__name__)

_FILE = "techniques.safetensors"
#: Of a loss with parameters, beside the model.
LOSS = "loss.safetensors"


def save_state(folder: Path, techniques: Sequence[Technique], loss: Loss | None) -> None:
    """Write the state of techniques, by their names, and of the loss into a checkpoint, if there is any.

    Args:
        folder: of the checkpoint; made if it is not there, so that this may be written before all else.
        techniques: of the Trainer.
        loss: of the task, where it is known.
    """
    parts = {technique.name: technique.state_dict() for technique in techniques}
    if loss is not None:
        parts[_name_of(loss)] = loss.state_dict()
    state = {f"{part}/{name}": value.contiguous() for part, named in parts.items() for name, value in named.items()}
    if state:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(state, folder / _FILE)


def save_loss(folder: Path, loss: Loss | None) -> None:
    """Write a loss that has learnt something beside the model: ``loss.load_state_dict(load_file(folder / LOSS))``.

    Args:
        folder: of the model.
        loss: that was given to the Trainer.
    """
    if loss is not None and any(True for _ in loss.parameters()):
        save_file({name: value.contiguous() for name, value in loss.state_dict().items()}, folder / LOSS)


def load_state(folder: Path, techniques: Sequence[Technique], loss: Loss | None) -> None:
    """Take over what ``save_state`` wrote; what either lacks is told: it begins anew, or stays behind.

    Args:
        folder: of the checkpoint.
        techniques: of the Trainer, in any order.
        loss: of the task.

    Raises:
        ValueError: a state does not fit, since it was written with other settings.
    """
    state = load_file(folder / _FILE) if (folder / _FILE).is_file() else {}
    keepers = [technique for technique in techniques if type(technique).state_dict is not Technique.state_dict]
    for technique in keepers:
        _load(technique, technique.name, state, folder)
    if loss is not None and loss.state_dict():
        _load(loss, _name_of(loss), state, folder)
    known = {technique.name for technique in techniques} | ({_name_of(loss)} if loss is not None else set())
    for name in sorted({key.partition("/")[0] for key in state} - known):
        logger.warning("%s has the state of %s, which is not in this run and stays behind", folder, name)


def _name_of(loss: Loss) -> str:
    return f"loss {type(loss).__name__}"


def _load(keeper: Technique | Loss, name: str, state: dict[str, Tensor], folder: Path) -> None:
    own = {key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")}
    if not own and isinstance(keeper, Technique) and not keeper.active:
        return  # without weight it is not there, and has left nothing
    if not own:
        kept = sorted({key.partition("/")[0] for key in state})
        logger.warning("%s begins anew: %s has the state of %s", name, folder, ", ".join(kept) or "no technique")
        return
    try:
        keeper.load_state_dict(own)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"the state of {name} in {folder} does not fit, as if it had been written with other settings: {error}"
        ) from error
