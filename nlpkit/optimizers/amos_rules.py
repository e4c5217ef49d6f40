"""What Amos must be told of each tensor: the scale its entries are to reach, and which of them share a slot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from torch import nn
from transformers.pytorch_utils import Conv1D

from nlpkit.checked_number import checked_number
from nlpkit.optimizers.behind_activation import behind_activation
from nlpkit.optimizers.blocks import block_stacks, is_matrix, owners, sizes


class AmosRule(NamedTuple):
    """How Amos treats a tensor.

    Args:
        parameter: its name.
        rule: which rule has matched.
        eta: the scale that its entries are to reach.
        slot_axis: the axis along which each index has a slot of its own; ``None`` means one slot for the tensor.
    """

    parameter: str
    rule: str
    eta: float
    slot_axis: int | None


def amos_rules(model: nn.Module, etas: Mapping[str, float] | None = None) -> list[AmosRule]:
    """The rule for each trained tensor of a model.

    Source: the BERTs of google-research/jestimator: 1 for gains of norms, 1/2 for biases and for embeddings within a
    block, which are biases by relative position, ``sqrt(2 / d)`` for other embeddings, ``sqrt(2 / inputs)`` for the
    matrix behind the activation of a feed-forward layer (see ``behind_activation``), ``sqrt(1 / inputs)`` for other
    matrices; a slot for each row of an embedding and each output of a matrix, one for anything else. LoRA's rules are
    ours: A is a matrix; B is such that ``scaling * B A`` has entries of the scale of a matrix.

    Args:
        model: any model, or PEFT's wrapper around one. Tied matrices are embeddings.
        etas: scales of your own, by names with wildcards (``"*.router.weight"``); the first that matches counts.

    Returns:
        One rule a tensor, in the order of ``named_parameters``: print them, to see what has matched.

    Raises:
        ValueError: tensors without a rule; blocks whose matrices have no scale in ``etas`` and do not run on a token;
            or an entry of ``etas`` that matches none or is not above 0.

    Example:
        >>> for rule in amos_rules(nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 2), nn.LayerNorm(2))):
        ...     print(rule.parameter, rule.rule, rule.eta, rule.slot_axis)
        0.weight embedding 0.5 0
        1.weight matrix 0.35... 0
        1.bias bias 0.5 None
        2.weight norm 1.0 None
        2.bias bias 0.5 None
    """
    own = {name: checked_number(f"etas[{name!r}]", eta, above=0) for name, eta in (etas or {}).items()}
    found: list[AmosRule] = []
    unmatched: list[str] = []
    unused = set(own)
    trained = list(owners(model))
    matrices = {name.removesuffix(".weight") for name, _, modules in trained if _is_plain_matrix(name, modules)}
    told = {name for name in matrices if any(fnmatchcase(f"{name}.weight", pattern) for pattern in own)}
    behind = behind_activation(model, sorted(matrices - told))
    for name, parameter, modules in trained:
        rule = _rule(name, parameter, modules, behind, model)
        if pattern := next((pattern for pattern in own if fnmatchcase(name, pattern)), None):
            unused.discard(pattern)
            rule = AmosRule(name, "given", own[pattern], None if rule is None else rule.slot_axis)
        if rule is None:
            unmatched.append(f"{name} {tuple(parameter.shape)}")
        else:
            found.append(rule)
    if unmatched:
        raise ValueError(
            f"Amos has no scale for {', '.join(unmatched)}: give one by name, "
            f"etas={{{unmatched[0].split(' ')[0]!r}: 0.5}}"
        )
    if unused:
        raise ValueError(f"etas: {', '.join(sorted(unused))} match no trained tensor of {type(model).__name__}")
    return found


def amos_param_groups(model: nn.Module, etas: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """Groups for ``Amos``: tensors that share a rule, in which the names are kept.

    Args:
        model: as for ``amos_rules``.
        etas: likewise.

    Returns:
        Parameter groups with ``"eta"``, ``"slot_axis"``, ``"rule"`` and ``"names"``, and no weight decay.

    Raises:
        ValueError: as ``amos_rules``.

    Example:
        >>> [(group["rule"], group["names"]) for group in amos_param_groups(nn.Linear(4, 4))]
        [('matrix', ['weight']), ('bias', ['bias'])]
    """
    parameters = dict(model.named_parameters())
    groups: dict[tuple[str, float, int | None], dict[str, Any]] = {}
    for name, rule, eta, slot_axis in amos_rules(model, etas):
        new = {"params": [], "names": [], "rule": rule, "eta": eta, "slot_axis": slot_axis, "weight_decay": 0.0}
        group = groups.setdefault((rule, eta, slot_axis), new)
        group["params"].append(parameters[name])
        group["names"].append(name)
    return list(groups.values())


def _rule(
    name: str, parameter: nn.Parameter, modules: list[nn.Module], behind: set[str], model: nn.Module
) -> AmosRule | None:
    leaf = name.rpartition(".")[2]
    module = modules[0]
    if any(isinstance(holder, nn.Embedding) for holder in modules):
        if any(name.startswith(f"{stack}.") for stack in block_stacks(model)):
            return AmosRule(name, "relative position", 0.5, 0)
        return AmosRule(name, "embedding", math.sqrt(2 / parameter.shape[1]), 0)
    if parameter.dim() == 1 and (leaf == "bias" or leaf.endswith("_bias")):
        return AmosRule(name, "bias", 0.5, None)
    if parameter.dim() == 1 and leaf == "weight" and type(module).__name__.endswith("Norm"):
        return AmosRule(name, "norm", 1.0, None)
    if leaf == "weight" and is_matrix(module):
        inputs = sizes(module)[1]
        axis = 1 if isinstance(module, Conv1D) else 0
        if ".lora_B." in f".{name}":
            return AmosRule(name, "lora B", 1 / (_lora_scaling(name, model) * math.sqrt(inputs)), axis)
        if ".lora_A." in f".{name}":
            return AmosRule(name, "lora A", math.sqrt(1 / inputs), axis)
        if name.removesuffix(".weight") in behind:
            return AmosRule(name, "matrix behind an activation", math.sqrt(2 / inputs), axis)
        return AmosRule(name, "matrix", math.sqrt(1 / inputs), axis)
    return None


def _is_plain_matrix(name: str, modules: list[nn.Module]) -> bool:
    """Whether a tensor is the weight of a matrix, and none of an embedding or of LoRA."""
    lora = ".lora_A." in f".{name}" or ".lora_B." in f".{name}"
    tied = any(isinstance(holder, nn.Embedding) for holder in modules)
    return name.endswith("weight") and is_matrix(modules[0]) and not lora and not tied


def _lora_scaling(name: str, model: nn.Module) -> float:
    place, _, rest = name.partition(".lora_B.")
    layer: Any = model.get_submodule(place)
    return layer.scaling[rest.partition(".")[0]]
