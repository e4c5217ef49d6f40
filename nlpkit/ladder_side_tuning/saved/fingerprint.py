"""Which weights a ladder stands on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedConfig

from nlpkit.ladder_side_tuning.blocks.dense_weights import comparable_parameters
from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.ladder_side_tuning.reading import own_weights
from nlpkit.ladder_side_tuning.saved.settings import settings_of_states


def tap_fingerprints(ladder: Ladder, state_dict: Mapping[str, Tensor] | None = None) -> dict[str, dict[int, str]]:
    """A digest for each tap of all that it depends on: weights, and settings that say what is done with them.

    Weights are rounded to bf16 first, so that a checkpoint is known again in any precision it is loaded in.

    Args:
        ladder: a model with a ladder.
        state_dict: its weights, where they are gathered from several processes; by default the ladder's own.

    Returns:
        For each stack by its name, 32 hexadecimal digits for each layer that is tapped.

    Note:
        Takes about two seconds per billion parameters.
    """
    digest = hashlib.blake2b(_settings(ladder), digest_size=16)
    ends = []
    for tensor in ladder.reading.weights(ladder, _Comparable(ladder, state_dict)):
        _add(digest, tensor)
        ends.append(digest.copy())
    return {
        stack: {layer: ends[ladder.reading.marks[stack, layer] - 1].hexdigest() for layer in layers}
        for stack, layers in ladder.tapped_layers().items()
    }


def backbone_fingerprint(ladder: Ladder, state_dict: Mapping[str, Tensor] | None = None) -> str:
    """A digest of all that the taps of a ladder depend on; that of the last one.

    Args:
        ladder: a model with a ladder.
        state_dict: as for ``tap_fingerprints``.

    Returns:
        32 hexadecimal digits.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> wide, narrow = (get_ladder_model(model, LadderConfig(reduction=r)) for r in (1, 4))
        >>> backbone_fingerprint(wide) == backbone_fingerprint(narrow)
        True
    """
    *_, last = tap_fingerprints(ladder, state_dict).values()
    return last[max(last)]


def frozen_head_fingerprint(ladder: Ladder, state_dict: Mapping[str, Tensor] | None = None) -> str:
    """A digest of what is neither trained nor read by the taps, and yet shapes the answers: a pretrained head.

    Args:
        ladder: a model with a ladder.
        state_dict: as for ``tap_fingerprints``.

    Returns:
        32 hexadecimal digits.
    """
    read = {id(tensor) for tensor in ladder.reading.weights(ladder)}
    roots = [stack.module(ladder) for stack in ladder.stacks] + list(ladder.ladder_modules().values())
    passed = {id(module) for root in roots if root is not ladder for module in root.modules()}
    digest, comparable = hashlib.blake2b(digest_size=16), _Comparable(ladder, state_dict)
    for module in ladder.modules():
        if id(module) not in passed:
            for name, tensor in own_weights(module).items():
                if id(tensor) not in read:
                    _add(digest, comparable(module)[name])
    return digest.hexdigest()


class _Comparable:
    """The weights of a module, as they are compared: dense, and whole."""

    def __init__(self, ladder: Ladder, state_dict: Mapping[str, Tensor] | None) -> None:
        # By the weight and not by its name, since of weights that are tied only one may have been gathered.
        named, gathered = ladder.named_parameters(remove_duplicate=False), state_dict or {}
        self._gathered = {id(weight): gathered[name] for name, weight in named if name in gathered}

    def __call__(self, module: nn.Module) -> dict[str, Tensor]:
        own = own_weights(module)
        if any(isinstance(weight, DTensor) for weight in own.values()):
            return {name: self._gathered.get(id(weight), weight) for name, weight in own.items()}
        return own | comparable_parameters(module)


def _settings(ladder: Ladder) -> bytes:
    configs: Iterable[PreTrainedConfig] = [stack.config(ladder) for stack in ladder.stacks]
    found: list[Any] = [settings_of_states(config.to_diff_dict()) for config in configs]
    # Where positions are counted from padding, they depend on its id; tables of embeddings merely know it.
    found.append(_ids_read(ladder, "padding_idx"))
    # Where masked tokens have no embedding, states depend on which they are; most models know no such id.
    found += [ids for ids in [_ids_read(ladder, "mask_token_id")] if ids]
    return json.dumps(found, sort_keys=True, default=str).encode()


def _ids_read(ladder: Ladder, attribute: str) -> list[int]:
    """The token ids that modules, other than tables of embeddings, read."""
    modules = [module for module in ladder.base_model.modules() if not isinstance(module, nn.Embedding)]
    return sorted({int(number) for m in modules if isinstance(number := getattr(m, attribute, None), int)})


def _add(digest: Any, tensor: Tensor) -> None:
    digest.update(str(tuple(tensor.shape)).encode())
    values = tensor.detach()
    values = values.to(torch.bfloat16).contiguous().view(torch.int16) if values.is_floating_point() else values
    digest.update(values.contiguous().cpu().numpy().data)
