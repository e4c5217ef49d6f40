"""Rows of embeddings that a model got after it was loaded: a ladder's files hold them, since its backbone's do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils import CONFIG_NAME

from nlpkit.files import read_json
from nlpkit.ladder_side_tuning.ladder import Ladder, memory_of
from nlpkit.sources import find_file

PREFIX = "new_rows."


def new_rows(ladder: Ladder, state_dict: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The rows of a ladder's embeddings that the model that it was loaded from does not have.

    Args:
        ladder: a model with a ladder.
        state_dict: its weights, where they are gathered from several processes; by default the ladder's own.

    Returns:
        The last rows of the input embeddings and, where they are others, of a frozen head; empty where the model is as
        large as it was, or was not loaded from anywhere that can be looked up.
    """
    size = _size_at_the_source(ladder)
    if size is None or size == count_rows(ladder):
        return {}
    tables = _tables(ladder)
    gathered = state_dict or {}
    for name, weight in ladder.named_parameters(remove_duplicate=False):
        tables |= {of: gathered[name] for of, table in tables.items() if table is weight and name in gathered}
    return {PREFIX + name: table[size:] for name, table in tables.items()}


def is_resized(ladder: Ladder) -> bool:
    """Whether a ladder's embeddings have another number of rows than those of the model that it was loaded from."""
    size = _size_at_the_source(ladder)
    return size is not None and size != count_rows(ladder)


def count_rows(ladder: Ladder) -> int:
    """How many rows the input embeddings of a ladder have."""
    return len(_tables(ladder)["input"])


@torch.no_grad()
def resize(ladder: Ladder, rows: int, found: Mapping[str, Tensor]) -> None:
    """Give a ladder embeddings of its own with so many rows; the model that it shares weights with keeps its.

    Args:
        ladder: its embeddings are replaced.
        rows: how many they shall have.
        found: what ``new_rows`` gave.
    """
    kept = rows - max((len(table) for table in found.values()), default=0)
    own = {id(table): nn.Parameter(table.detach().clone()) for table in _tables(ladder).values()}
    for module in ladder.modules():
        for name, parameter in module._parameters.items():
            if id(parameter) in own:  # which transformers would change in place
                module._parameters[name] = own[id(parameter)]
    ladder.resize_token_embeddings(rows, mean_resizing=False)
    for name, table in _tables(ladder).items():
        if PREFIX + name in found:
            table[kept:] = found[PREFIX + name].to(table)
    trained = {id(parameter) for module in ladder.ladder_modules().values() for parameter in module.parameters()}
    for parameter in ladder.parameters():
        if id(parameter) not in trained:
            parameter.requires_grad_(False)


def _tables(ladder: Ladder) -> dict[str, Tensor]:
    """The input embeddings and, if a frozen head has a table of its own, that."""
    embeddings: Any = ladder.get_input_embeddings()
    head: Any = ladder.get_output_embeddings()
    found: dict[str, Tensor] = {"input": embeddings.weight}
    trained = {id(parameter) for module in ladder.ladder_modules().values() for parameter in module.parameters()}
    weight: Any = getattr(head, "weight", None)
    is_another = weight is not None and memory_of(weight) != memory_of(found["input"])
    if is_another and weight.shape[0] == len(found["input"]) and id(weight) not in trained:
        found["output"] = weight
    return found


def _size_at_the_source(ladder: Ladder) -> int | None:
    source = ladder.config.name_or_path
    if not source:
        return None
    try:
        path = find_file(source, CONFIG_NAME, local_files_only=True)
    except FileNotFoundError:
        return None
    size = None if path is None else read_json(path).get("vocab_size")
    return size if isinstance(size, int) else None
