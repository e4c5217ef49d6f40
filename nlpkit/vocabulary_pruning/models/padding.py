"""What follows the id of padding: modules that know it, and tables of positions that are counted from it."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from nlpkit.vocabulary_pruning.models.configs import parts_of, set_rows
from nlpkit.vocabulary_pruning.models.rows import vocabulary_tables, without_weights

_KNOWN_AS = ("padding_idx", "pad_token_id", "pad_index")


class Followers(NamedTuple):
    """What changes with the id of padding.

    Args:
        modules: names of modules, with the attributes that hold the id.
        positions: weights whose first position is the row behind that of padding, as RoBERTa has it.
    """

    modules: dict[str, list[str]]
    positions: list[str]


def followers_of_padding(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, old: int, new: int
) -> Followers:
    """Find what follows the id of padding, by building the model without weights with either id.

    Args:
        model_class: of the model.
        config: its settings.
        old: the id that padding had.
        new: the id that it has.

    Raises:
        ValueError: what follows cannot be moved: positions that are computed, or an id that the class has built in.
    """
    before, after = (_modules(model_class, config, padding, max(old, new) + 1) for padding in (old, new))
    tables = vocabulary_tables(model_class, config)
    found = Followers({}, [])
    for name, module in before.items():
        known = [attribute for attribute in _KNOWN_AS if vars(module).get(attribute) == old]
        follow = [attribute for attribute in known if vars(after[name])[attribute] == new]
        is_other_table = isinstance(module, nn.Embedding) and f"{name}.weight" not in tables
        is_computed = is_other_table and type(module) is not nn.Embedding
        is_computed |= any(buffer.is_floating_point() for buffer in module.buffers(recurse=False))
        if (follow and is_computed) or (known != follow and not is_other_table):
            raise ValueError(
                f"{name} of {model_class.__name__} counts from {old}, the id of padding, and cannot count from {new}: "
                "leave padding at its id"
            )
        if follow:
            found.modules[name] = follow
            if is_other_table:
                found.positions.append(f"{name}.weight")
    return found


def _modules(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, padding: int, least: int
) -> dict[str, nn.Module]:
    """The modules of a model with another id of padding, and rows enough for it."""
    other = copy.deepcopy(config)
    rows, before = other.get_text_config().vocab_size, other.get_text_config().pad_token_id
    for part in parts_of(other, rows):
        for name in ("pad_token_id", "pad_index"):
            if vars(part).get(name) == before:
                setattr(part, name, padding)
    set_rows(other, rows, max(rows, least))
    return dict(without_weights(model_class, other).named_modules())


def moved_positions(rows: int, old: int, new: int) -> Tensor:
    """Which rows a table of positions is made of when the id of padding moves.

    Towards the end there are positions that nothing was trained on, copies of the last, or the last ones are lost.

    Returns:
        Shape ``(rows,)``.

    Example:
        >>> moved_positions(5, old=1, new=0).tolist(), moved_positions(5, old=0, new=1).tolist()
        ([1, 2, 3, 4, 4], [0, 0, 1, 2, 3])
    """
    return (torch.arange(rows) + old - new).clamp(0, rows - 1)


@torch.no_grad()
def move_padding(model: PreTrainedModel, old: int | None, new: int | None) -> None:
    """Let the modules of a model know the new id of padding, and its positions begin behind it, in place.

    Args:
        model: with the new settings.
        old: the id that it had.
        new: the id that it has.

    Raises:
        ValueError: as of ``followers_of_padding``.
    """
    if old is None or new is None or old == new:
        return
    followers = followers_of_padding(type(model), model.config, old, new)
    for name, attributes in followers.modules.items():
        for attribute in attributes:
            setattr(model.get_submodule(name), attribute, new)
    for name in followers.positions:
        table = model.get_parameter(name)
        table.copy_(table[moved_positions(len(table), old, new).to(table.device)])
