"""Matrices that are several in one: queries, keys and values, or gate and input, told by what they do."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.optimizers.blocks import block_stacks, is_matrix, sizes
from nlpkit.optimizers.one_token import run_one_token


def fused_sizes(model: nn.Module, only: Container[nn.Module] | None = None) -> dict[str, list[int]]:
    """How the outputs of each fused matrix of a model's blocks are divided.

    A matrix may be fused if it has more outputs than any matrix beside it has inputs, since what stands behind it
    then takes part of them. Which parts is seen by running a text of a single token: its attention is 1 whatever
    queries and keys are, so that noise in their place changes nothing, to the bit, and noise in the place of values
    does.

    Args:
        model: where a token can be run as ``model(input_ids=...)``; none is, where nothing may be fused.
        only: the matrices to look at; ``None`` means all.

    Returns:
        By the name of the matrix, the numbers of outputs of its parts, in order: three of queries, keys and values, or
        two halves, a gate and what it opens for.

    Raises:
        ValueError: a matrix is fused in another way, as where queries, keys and values alternate by head, or the
            model does not run on ``input_ids``.

    Example:
        >>> from transformers import GPT2Config, GPT2Model
        >>> fused_sizes(GPT2Model(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2)))
        {'h.0.attn.c_attn': [8, 8, 8]}
    """
    found: dict[str, list[int]] = {}
    known: dict[tuple[object, ...], list[int]] = {}  # blocks of a stack are alike
    for stack, blocks in block_stacks(model).items():
        for place, block in enumerate(blocks):
            for inner, matrix, widths in _candidates(block):
                if only is not None and matrix not in only:
                    continue
                kind, name = (stack, inner, sizes(matrix)), f"{stack}.{place}.{inner}"
                if kind not in known:
                    known[kind] = _parts(model, name, matrix, widths)
                found[name] = known[kind]
    return found


def _candidates(block: nn.Module) -> Iterator[tuple[str, nn.Module, list[int]]]:
    """Matrices with more outputs than anything beside them has inputs, and the numbers of those inputs."""
    matrices = {name: module for name, module in block.named_modules() if is_matrix(module)}
    for name, module in matrices.items():
        outputs, inputs = sizes(module)
        beside = _beside(name, matrices)
        if outputs > max([inputs, *beside]) and beside:
            yield name, module, sorted(set(beside), reverse=True)


def _beside(name: str, matrices: dict[str, nn.Module]) -> list[int]:
    """Inputs of the other matrices in the smallest module around this one that has others."""
    around = name
    while around:
        around = around.rpartition(".")[0]
        prefix = f"{around}." if around else ""
        found = [sizes(matrix)[1] for other, matrix in matrices.items() if other != name and other.startswith(prefix)]
        if found:
            return found
    return []


def _parts(model: nn.Module, name: str, matrix: nn.Module, widths: list[int]) -> list[int]:
    outputs = sizes(matrix)[0]
    plain = _run(model, matrix, name)

    def matters(first: int, last: int) -> bool:
        return not torch.equal(_run(model, matrix, name, slice(first, last)), plain)

    for width in widths:
        keys, odd = divmod(outputs - width, 2)
        if keys and not odd and not matters(0, width + keys) and matters(width + keys, outputs):
            return [width, keys, keys]
    if any(2 * width == outputs for width in widths):
        return [outputs // 2, outputs // 2]
    raise ValueError(
        f"{name} has {outputs} outputs, and what stands behind it takes {max(widths)}: it holds several matrices, but "
        f"neither queries, keys and values in this order nor two halves. Give the sizes of its parts, "
        f"blocks={{{name!r}: [...]}}, or leave it to AdamW: adamw=[{name + '.*'!r}]"
    )


def _run(model: Any, matrix: nn.Module, name: str, noisy: slice | None = None) -> Tensor:
    """What a model makes of one token, with noise in some outputs of a matrix."""
    run: list[bool] = []

    def add_noise(_: nn.Module, inputs: object, output: Tensor) -> Tensor:
        run.append(True)
        if noisy is None:
            return output
        noise = torch.zeros_like(output)
        noise[..., noisy] = 1 + torch.arange(noise[..., noisy].shape[-1], device=noise.device) % 3
        return output + noise

    handle = matrix.register_forward_hook(add_noise)
    try:
        found: Tensor = run_one_token(model)[0]
    except Exception as error:
        raise ValueError(
            f"{name} may hold several matrices, which is told by running a token through the model, and that has "
            f"failed ({error}): give the sizes of its parts, blocks={{{name!r}: [...]}}"
        ) from error
    finally:
        handle.remove()
    if not run:
        raise ValueError(f"{name} is not run by {type(model).__name__}: give the sizes of its parts, blocks=")
    return found
