"""Which matrices of a model's blocks stand behind an activation, as the second of a feed-forward layer does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import activations

from nlpkit.optimizers.blocks import block_stacks
from nlpkit.optimizers.one_token import run_one_token

#: Functions of torch that are activations where a model has no module for one.
_ACTIVATIONS = frozenset(
    {"celu", "elu", "gelu", "hardswish", "leaky_relu", "mish", "relu", "relu_", "relu6", "selu", "silu", "tanh"}
)
#: Functions whose result is no longer what an activation gave, however it was scaled, dropped out or gated.
_PRODUCTS = frozenset(
    {"__matmul__", "__rmatmul__", "addmm", "baddbmm", "bilinear", "bmm", "conv1d", "conv2d", "einsum", "linear",
     "matmul", "mm", "scaled_dot_product_attention"}
)  # fmt: skip


def behind_activation(model: nn.Module, matrices: Iterable[str]) -> set[str]:
    """The matrices whose input is what an activation gave, within one block.

    It is seen by running a text of a single token: what an activation gives is followed through dropout, norms and
    products number by number, as with a gate, to the matrix that takes it. Widths tell nothing where a feed-forward
    layer is as wide as the model, or as all heads of its attention.

    Args:
        model: any model; none is run where it has no such matrix.
        matrices: names of matrices, of which those outside of repeated blocks are behind no activation.

    Returns:
        Some of the names. Places that the token does not reach, as of experts that it is not sent to, are told by
        those of the same name but for numbers.

    Raises:
        ValueError: the model does not run on ``input_ids``, or matrices are not reached, nor their like.

    Example:
        >>> from transformers import T5Config, T5Model
        >>> model = T5Model(T5Config(vocab_size=9, d_model=8, d_kv=4, num_heads=2, d_ff=8, num_layers=1))
        >>> block = "encoder.block.0.layer"
        >>> behind_activation(model, [f"{block}.0.SelfAttention.o", f"{block}.1.DenseReluDense.wo"])
        {'encoder.block.0.layer.1.DenseReluDense.wo'}
    """
    blocks = {
        f"{stack}.{place}": block for stack, found in block_stacks(model).items() for place, block in enumerate(found)
    }
    asked = [name for name in matrices if any(name.startswith(f"{block}.") for block in blocks)]
    if not asked:
        return set()
    seen = _seen(model, list(blocks.values()), asked)
    places = {_place(name): behind for name, behind in seen.items()}
    unknown = [name for name in asked if _place(name) not in places]
    if unknown:
        raise ValueError(
            f"{type(model).__name__} does not run {', '.join(unknown)} for a token, so that it is not seen which of "
            f"them stand behind an activation: give their scales, etas={{{unknown[0] + '.weight'!r}: ...}}, "
            "sqrt(2 / inputs) there and sqrt(1 / inputs) elsewhere"
        )
    return {name for name in asked if seen.get(name, places[_place(name)])}


def _place(name: str) -> str:
    return re.sub(r"\d+", "*", name)


def _seen(model: nn.Module, blocks: list[nn.Module], asked: list[str]) -> dict[str, bool]:
    """Whether each matrix that has run was given what an activation gave."""
    seen: dict[str, bool] = {}
    flow = _Flow()

    def look(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def before(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            seen[name] = seen.get(name, False) or flow.holds(inputs)

        return before

    try:
        with ExitStack() as hooks:
            for block in blocks:  # what a model does to its embeddings is no feed-forward layer's
                hooks.callback(block.register_forward_pre_hook(lambda *_: flow.forget()).remove)
            for module in model.modules():
                if _is_activation(module):
                    hooks.callback(module.register_forward_hook(lambda *found: flow.add(found[-1])).remove)
            for name in asked:
                hooks.callback(model.get_submodule(name).register_forward_pre_hook(look(name)).remove)
            hooks.enter_context(flow)
            run_one_token(model)
    except Exception as error:
        raise ValueError(
            f"which matrices of {type(model).__name__} stand behind an activation is seen by running a token through "
            f"it, and that has failed ({error}): give the scales of its blocks' matrices by name, etas={{'*.weight': "
            "...}, sqrt(2 / inputs) behind an activation and sqrt(1 / inputs) elsewhere"
        ) from error
    return seen


def _is_activation(module: nn.Module) -> bool:
    kind = type(module)
    softmax = isinstance(module, nn.Softmax | nn.LogSoftmax | nn.Softmin | nn.MultiheadAttention)
    return not softmax and kind.__module__ in (activations.__name__, nn.modules.activation.__name__)


class _Flow(TorchFunctionMode):
    """Follows what activations gave through everything but products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[int, Tensor] = {}  # kept, so that no other tensor gets its number

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _ACTIVATIONS or (name not in _PRODUCTS and self.holds((args, kwargs or {}))):
            self.add(result)
        return result

    def add(self, found: object) -> None:
        """Whatever tensors there are in a result."""
        self._held |= {id(tensor): tensor for tensor in _tensors(found)}

    def holds(self, given: object) -> bool:
        """Whether any tensor in it came from an activation."""
        return any(id(tensor) in self._held for tensor in _tensors(given))

    def forget(self) -> None:
        """Begin anew."""
        self._held.clear()


def _tensors(found: object) -> Iterable[Tensor]:
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, dict):
        yield from _tensors(tuple(found.values()))
    elif isinstance(found, list | tuple):
        for part in found:
            yield from _tensors(part)
