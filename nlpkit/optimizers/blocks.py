"""The repeated blocks of a model, found by what they are: items of its outermost ``nn.ModuleList`` s."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


def block_stacks(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The stacks of blocks of a model: an encoder has one, an encoder-decoder two.

    Args:
        model: any model, or PEFT's wrapper around one.

    Returns:
        The blocks of each stack, from the bottom, by the stack's name. Lists within a block, as T5 has them, and
        lists without parameters are no stacks.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> block_stacks(BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        ...                                   intermediate_size=8))).keys()
        dict_keys(['encoder.layer'])
    """
    found: dict[str, list[nn.Module]] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{stack}.") for stack in found)
        if isinstance(module, nn.ModuleList) and not inside and any(True for _ in module.parameters()):
            found[name] = list(module)
    return found


def is_matrix(module: nn.Module) -> bool:
    """Whether a module multiplies by its weight: ``nn.Linear``, or the ``Conv1D`` of GPT-2."""
    return isinstance(module, nn.Linear | Conv1D)


def sizes(module: nn.Module) -> tuple[int, int]:
    """Numbers of outputs and inputs of a matrix, whichever way round its weight is stored."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    rows, columns = weight.shape
    return (columns, rows) if isinstance(module, Conv1D) else (rows, columns)


def owners(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, list[nn.Module]]]:
    """Trained parameters by name, each with all modules that hold it: two, where it is tied."""
    holding: dict[nn.Parameter, list[nn.Module]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            holding.setdefault(parameter, []).append(module)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter, holding[parameter]
