"""Which tensors Muon moves, and in which parts, and which are left to AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from torch import nn
from transformers.pytorch_utils import Conv1D

from nlpkit.optimizers.blocks import block_stacks, is_matrix, owners, sizes
from nlpkit.optimizers.fused import fused_sizes


class MuonRoute(NamedTuple):
    """Where a tensor goes.

    Args:
        parameter: its name.
        optimizer: that moves it.
        why: what the tensor is.
        parts: numbers of outputs of the matrices in it, each of which Muon orthogonalises for itself.
        outputs_axis: of the tensor; 1 in GPT-2's ``Conv1D``.
    """

    parameter: str
    optimizer: Literal["muon", "adamw"]
    why: str
    parts: tuple[int, ...] = ()
    outputs_axis: int = 0


def muon_routes(
    model: nn.Module, *, adamw: Sequence[str] = (), blocks: Mapping[str, Sequence[int]] | None = None
) -> list[MuonRoute]:
    """The route of each trained tensor of a model.

    Muon moves the matrices inside the model's repeated blocks; embeddings, positions, heads, tied or not, norms,
    biases and whatever stands outside the blocks are left to AdamW.

    Source: arXiv 2502.16982 and kexue.fm/archives/11416 for what is whose; matrices that hold several, as fused
    queries, keys and values, are orthogonalised one by one: see ``fused_sizes``.

    Args:
        model: any model that ``nn.ModuleList`` s of blocks make up; not one with LoRA.
        adamw: names with wildcards of tensors that are left to AdamW, whatever they are.
        blocks: numbers of outputs of the parts of fused matrices, by the module's name, with wildcards: for layouts
            that cannot be told.

    Returns:
        One route a tensor, in the order of ``named_parameters``: print them, to see what goes where.

    Raises:
        ValueError: the model has LoRA's factors, no blocks, a tensor of blocks that is neither a matrix nor a vector,
            or a fused matrix whose parts cannot be told.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> routes = muon_routes(BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1,
        ...                                           num_attention_heads=2, intermediate_size=16)))
        >>> [route.parameter for route in routes if route.optimizer == "muon"][-1]
        'encoder.layer.0.output.dense.weight'
    """
    if lora := next((name for name, module in model.named_modules() if hasattr(module, "lora_A")), None):
        raise ValueError(
            f"{lora} has LoRA's factors: an orthogonalised step of a factor is none of the product. Use AdamW or Amos"
        )
    stacks = block_stacks(model)
    if not stacks:
        raise ValueError(f"{type(model).__name__} has no nn.ModuleList of blocks, so none of its matrices is hidden")
    routes, matrices = [], {}
    for name, parameter, modules in owners(model):
        if why := _why_adamw(name, parameter, modules, stacks, adamw):
            routes.append(MuonRoute(name, "adamw", why))
        elif is_matrix(modules[0]) and modules[0].weight is parameter:
            routes.append(MuonRoute(name, "muon", "matrix"))
            matrices[name] = modules[0]
        else:
            raise ValueError(
                f"{name} {tuple(parameter.shape)} is inside the blocks, but neither a vector nor the weight of a "
                f"matrix: leave it to AdamW, adamw=[{name!r}]"
            )
    parts = _parts_of(model, matrices, blocks or {})
    return [
        route if route.parameter not in matrices else _divided(route, matrices[route.parameter], parts)
        for route in routes
    ]


def _why_adamw(
    name: str, parameter: nn.Parameter, modules: list[nn.Module], stacks: Iterable[str], adamw: Sequence[str]
) -> str:
    if any(fnmatchcase(name, pattern) for pattern in adamw):
        return "given"
    if any(isinstance(module, nn.Embedding) for module in modules):
        return "embedding"
    if parameter.dim() < 2:
        return "vector"
    return "" if any(name.startswith(f"{stack}.") for stack in stacks) else "outside the blocks"


def _parts_of(
    model: nn.Module, matrices: Mapping[str, nn.Module], blocks: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """The parts of matrices that have several, by the name of the weight."""
    found: dict[str, tuple[int, ...]] = {}
    for pattern, parts in blocks.items():
        chosen = [name for name in matrices if fnmatchcase(name.removesuffix(".weight"), pattern)]
        if not chosen:
            raise ValueError(f"blocks: {pattern} matches no matrix that Muon moves")
        for name in chosen:
            if sum(parts) != sizes(matrices[name])[0]:
                raise ValueError(
                    f"blocks: {list(parts)} do not add up to the {sizes(matrices[name])[0]} outputs of {name}"
                )
            found[name] = tuple(parts)
    looked_at = {matrix for name, matrix in matrices.items() if name not in found}
    fused = fused_sizes(model, looked_at)
    return found | {f"{name}.weight": tuple(parts) for name, parts in fused.items()}


def _divided(route: MuonRoute, matrix: nn.Module, parts: Mapping[str, tuple[int, ...]]) -> MuonRoute:
    own = parts.get(route.parameter)
    why = route.why if own is None else f"{len(own)} matrices in one"
    axis = 1 if isinstance(matrix, Conv1D) else 0
    return route._replace(why=why, parts=own or (sizes(matrix)[0],), outputs_axis=axis)
