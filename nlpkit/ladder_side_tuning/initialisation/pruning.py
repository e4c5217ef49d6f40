"""Structured pruning: which rows and columns of a stack of blocks to keep, and the blocks made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from nlpkit.ladder_side_tuning.blocks.block_family import BlockFamily
from nlpkit.ladder_side_tuning.blocks.dense_weights import dense_parameters, is_quantised
from nlpkit.ladder_side_tuning.blocks.stacks import Stack
from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.modes import evaluating


def keep_largest(scores: Tensor, count: int) -> Tensor:
    """Indices of the highest scores, in ascending order; of equal ones the earlier.

    Args:
        scores: shape ``(..., size)``.
        count: how many of the last axis to keep.

    Returns:
        Shape ``(..., count)``.

    Example:
        >>> keep_largest(torch.tensor([0.1, 0.9, 0.5, 0.5]), 2)
        tensor([1, 2])
    """
    best: Tensor = scores.argsort(dim=-1, descending=True, stable=True)[..., :count]
    return best.sort(dim=-1).values


def keep_in_heads(scores: Tensor, size: int, heads: Tensor) -> Tensor:
    """Keep the same number of the highest scores in each of some heads.

    Args:
        scores: shape ``(heads, size of a head)``.
        size: what is kept of each.
        heads: numbers of those that are kept.

    Returns:
        Indices into the flattened scores in ascending order, shape ``(heads kept * size,)``.

    Example:
        >>> keep_in_heads(torch.tensor([[3.0, 1.0], [9.0, 9.0], [0.0, 2.0]]), size=1, heads=torch.tensor([0, 2]))
        tensor([0, 5])
    """
    starts = torch.arange(len(scores), device=scores.device)[:, None] * scores.shape[1]
    return (keep_largest(scores, size) + starts)[heads].flatten()


@torch.no_grad()
def magnitude_scores(model: nn.Module) -> dict[str, Tensor]:
    """The size of each weight as its importance.

    Args:
        model: any model.

    Returns:
        One score per weight, by its name; those of quantised layers have the shape of the matrix that they stand for.
    """
    return {
        f"{module_name}.{name}" if module_name else name: parameter.detach().abs().float()
        for module_name, module in model.named_modules()
        for name, parameter in dense_parameters(module).items()
    }


def squared_gradients(model: PreTrainedModel, batches: Iterable[Mapping[str, Any]]) -> dict[str, Tensor]:
    """The empirical Fisher information of each weight on labelled batches as its importance.

    Source: Sung, Cho and Bansal 2022, section 3.3, with batches of one; larger batches are cheaper and less exact.

    Args:
        model: must return a loss on the batches; in evaluation mode while it runs. Its gradients are left as they
            were.
        batches: inputs with labels.

    Returns:
        Sums of squared gradients, in fp32, by the name of the weight; 0 for weights without a gradient.

    Raises:
        ValueError: there are no batches, the model returns no loss on them, or it is quantised.

    Note:
        Takes the memory of full fine-tuning without the optimizer's.
    """
    if any(is_quantised(module) for module in model.modules()):
        raise ValueError(
            "init='fisher' needs gradients of all weights, and quantised ones have none; use 'magnitude' or 'random'"
        )
    parameters = dict(model.named_parameters())
    before = {name: (p.requires_grad, p.grad) for name, p in parameters.items()}
    scores = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    batch = None
    try:
        with evaluating(model.requires_grad_(True)):
            for batch in tqdm(batches, desc="measuring importance", unit="batch", leave=False):
                model.zero_grad(set_to_none=True)
                loss = model(**{name: value.to(model.device) for name, value in batch.items()}).loss
                if loss is None:
                    raise ValueError("init='fisher' needs batches with labels; the model returned no loss")
                loss.backward()
                for name, parameter in parameters.items():
                    if parameter.grad is not None:
                        scores[name] += parameter.grad.float().square()
        if batch is None:
            raise ValueError("init='fisher' needs at least one batch")
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(before[name][0])
            parameter.grad = before[name][1]
    return scores


class Part(NamedTuple):
    """A parameter of a block, dense."""

    module: str
    name: str
    values: Tensor
    spaces: tuple[str, ...]
    #: Whether its rows are inputs.
    is_transposed: bool


class PrunedStack:
    """A stack of blocks with some of its rows and columns chosen.

    Args:
        ladder: holds the frozen blocks.
        stack: which stack of it.
        scores: an importance for each weight, by its name in the plain model.
        source: what is kept of the encoder's residual stream, if the blocks attend to an encoder.

    Attributes:
        kept: indices by the name of their space.
        width: the backbone's.
    """

    def __init__(self, ladder: Ladder, stack: Stack, scores: Mapping[str, Tensor], source: Tensor | None) -> None:
        settings = stack.config(ladder)
        self.family: BlockFamily = stack.family
        self.blocks = [rung.block for rung in ladder.rungs(stack)]
        self.reduction: int = ladder.ladder_config.reduction
        self.width: int = getattr(settings, stack.family.width)
        self.heads = stack.family.count_heads(settings)
        self.fewer_heads, self.smaller_heads = stack.family.split(settings, self.reduction)
        prefix = f"{stack.name}." if stack.name else ""
        self.kept = {} if source is None else {"source": source}
        self._first: dict[str, str] = {}  # the parameter by which a space became known
        self._choose({index: f"{prefix}{stack.blocks_name}.{index}." for index in range(len(self.blocks))}, scores)

    def _choose(self, prefixes: Mapping[int, str], scores: Mapping[str, Tensor]) -> None:
        totals: dict[str, Tensor] = {}
        for index, block in enumerate(self.blocks):
            for part in self._parts(index, block):
                score = scores[prefixes[index] + part.name].to(torch.float32)
                for axis, space in enumerate(part.spaces):
                    if part.values.dim() == 2 and space and space not in self.kept:
                        self._add(totals, space, score.sum(dim=1 - axis), part)
        self._choose_heads(totals)
        for space in totals.keys() - self.kept.keys():
            self.kept[space] = keep_largest(totals[space], len(totals[space]) // self.reduction)

    def _add(self, totals: dict[str, Tensor], space: str, score: Tensor, part: Part) -> None:
        space, _, times = space.partition("*")
        score = score.view(int(times or 1), -1).sum(dim=0)
        if self.family.by_head_size and ":heads" in space:
            # Several heads of queries share one of keys and values, so only whole such groups can be compared.
            score = self.family.every(score.view(self.heads, -1), self.smaller_heads).sum(dim=1)
        if space in totals and totals[space].shape != score.shape:
            raise self._unknown(f"{self._first[space]} beside {part.name}")
        self._first.setdefault(space, part.name)
        totals[space] = totals[space] + score if space in totals else score

    def _choose_heads(self, totals: Mapping[str, Tensor]) -> None:
        """Keep the heads whose best part is the best, and that part of them."""
        count = self.heads // self.fewer_heads
        by_head = {space: total.view(self.heads, -1) for space, total in totals.items() if ":heads" in space}
        sizes = {space: max(1, score.shape[1] // self.smaller_heads) for space, score in by_head.items()}
        best = {space: score.topk(sizes[space]).values.sum(dim=1) for space, score in by_head.items()}
        if "numbers" in totals:
            self.kept["numbers"] = keep_largest(totals["numbers"] + sum(best.values()), count)
        if self.family.by_heads:  # an argument for each head is given by the stack, to all blocks the same
            self.kept["numbers"] = torch.arange(0, self.heads, self.fewer_heads)
        for space, score in by_head.items():
            heads = self.kept["numbers"] if "numbers" in self.kept else keep_largest(best[space], count)
            self.kept[space] = keep_in_heads(score, sizes[space], heads.to(score.device))

    def _indices(self, space: str, size: int) -> Tensor:
        """What is kept of an axis of a parameter."""
        if not space:
            return torch.arange(size)
        space, _, times = space.partition("*")
        if times:
            whole = size // int(times)
            return torch.cat([self._indices(space, whole) + part * whole for part in range(int(times))])
        if space == "head":
            return self.family.every(torch.arange(size), self.smaller_heads)
        if self.family.by_head_size and ":heads" in space:
            # Rotary positions fix which columns of a head belong together; the side blocks get every so many of them.
            groups = torch.arange(size).view(self.heads, -1)[self.kept[space].cpu()]
            return self.family.every(groups, self.smaller_heads).flatten()
        return self.kept[space].cpu()

    def _parts(self, index: int, block: nn.Module) -> Iterator[Part]:
        """The parameters of a block and the space of each of their axes."""
        for module_name, module in block.named_modules():
            prefix = f"{module_name}." if module_name else ""
            for name, values in dense_parameters(module).items():
                is_transposed = isinstance(module, Conv1D) and values.dim() == 2
                spaces = self._spaces(index, module_name)[:: -1 if is_transposed else 1]
                yield Part(module_name, prefix + name, values, spaces[: values.dim()], is_transposed)

    def _spaces(self, index: int, module_name: str) -> tuple[str, ...]:
        """The spaces of a module, each with the block and the attention that it is of."""
        scopes = {"heads": f"{index}.{_attention_of(module_name)}:heads", "inner": f"{index}:inner"}
        found = []
        for space in self.family.spaces_of(module_name):
            name, star, times = space.partition("*")
            found.append(scopes.get(name, name) + star + times)
        return tuple(found)

    def copy_block(self, index: int, narrow: nn.Module) -> None:
        """Fill a narrow block with the kept rows and columns of the block at that place."""
        targets = dict(narrow.named_parameters())
        # A relative position bias is in the backbone's first block, and in the first of the side blocks.
        for source in (index, 0) if index else (index,):
            for part in self._parts(source, self.blocks[source]) if targets else ():
                if part.name in targets:
                    values = self._slice(part.values, part.spaces)
                    # A Conv1D that is quantised becomes a linear layer.
                    turned = isinstance(narrow.get_submodule(part.module), Conv1D) and values.dim() == 2
                    targets.pop(part.name).copy_(values.T if turned != part.is_transposed else values)
        if targets:
            raise self._unknown(min(targets))

    def _unknown(self, what: str) -> ValueError:
        block = type(self.blocks[0]).__name__
        return ValueError(
            f"rows cannot be chosen from {what} of {block}, as where matrices are fused or hold LoRA: "
            "use init='random', merge LoRA first (merge_and_unload), or describe the block in a BlockFamily"
        )

    def copy_norm(self, norm: nn.Module, narrow: nn.Module) -> None:
        """Fill a narrow norm with the kept part of the one after the last block."""
        targets = dict(narrow.named_parameters())
        for name, parameter in norm.named_parameters():
            targets[name].copy_(self._slice(parameter, ("hidden",)))

    def _slice(self, parameter: Tensor, spaces: tuple[str, ...]) -> Tensor:
        for axis, space in enumerate(spaces):
            indices = self._indices(space, parameter.shape[axis]).to(parameter.device)
            parameter = parameter.index_select(axis, indices)
        return parameter


def _attention_of(module_name: str) -> str:
    """The part of a path that tells one attention of a block from another: all but the last projection."""
    return re.sub(r"(\.(self|output))?\.[^.]+$", "", module_name)
