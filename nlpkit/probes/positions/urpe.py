"""URPE: attention that can count, because its weights are multiplied by numbers of their own after the softmax."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from nlpkit.checked_number import checked_number
from nlpkit.compat import eager_attention_of, quiet_loading
from nlpkit.modes import evaluating
from nlpkit.probes.positions.constant_texts import vocabulary_size

#: The name under which transformers knows it, for ``model.set_attn_implementation``.
URPE = "urpe"


class DistanceWeights(nn.Module):
    """A number per head and distance, by which attention weights are multiplied; 1 at first.

    Source: arXiv 2205.13401 (the Toeplitz matrix C); kexue.fm/archives/9105.

    Args:
        heads: of the attention.
        max_distance: in tokens; what is farther away has the number of this distance.

    Example:
        >>> DistanceWeights(2, 4)(3, 5).shape
        torch.Size([2, 3, 5])
    """

    def __init__(self, heads: int, max_distance: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(heads, 2 * max_distance + 1))

    def forward(self, queries: int, keys: int) -> Tensor:
        """The numbers for the last ``queries`` of ``keys`` tokens, shape ``(heads, queries, keys)``."""
        places = torch.arange(keys, device=self.weight.device)
        reach = self.weight.shape[1] // 2
        distances = (places[None] - places[keys - queries :, None]).clamp(-reach, reach) + reach
        return self.weight[:, distances]


def urpe_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, Tensor]:
    """The attention of the model itself, whose weights are multiplied by those of distances where a layer has some.

    Args:
        module: the layer, as for any attention function of transformers.
        query: shape ``(batch, heads, queries, head size)``.
        key: shape ``(batch, key heads, keys, head size)``.
        value: likewise.
        attention_mask: additive, as ``transformers.masking_utils.eager_mask`` makes it, or ``None``.
        settings: dropout, scaling and whatever else the layer gives.

    Returns:
        The result, ``(batch, queries, heads, head size)``, and the weights after multiplication.

    Raises:
        ValueError: keys are in a cache of fixed size, in which distances are not those in memory.
    """
    states, weights = _own_attention(module)(module, query, key, value, attention_mask, **settings)
    distances = getattr(module, URPE, None)
    if distances is None:
        return states, weights
    queries, keys = weights.shape[-2:]
    if queries < keys and attention_mask is not None and (attention_mask[..., -1, -1] < 0).all():
        raise ValueError("URPE counts back from the last key, which a static cache keeps free: use a dynamic cache")
    weights = weights * distances(queries, keys).to(weights.dtype)
    repeated = value.repeat_interleave(weights.shape[1] // value.shape[1], dim=1)
    return (weights.to(value.dtype) @ repeated).transpose(1, 2).contiguous(), weights


AttentionInterface.register(URPE, urpe_attention)
AttentionMaskInterface.register(URPE, eager_mask)


def add_urpe(model: PreTrainedModel, max_distance: int = 128) -> list[str]:
    """Give every layer of self-attention weights of distances, which are 1, so that nothing changes before training.

    Experimental. What a stock softmax cannot do, count identical tokens without absolute positions, it can then.

    Source: arXiv 2205.13401; kexue.fm/archives/9105. There, layers share the numbers; here each has its own.

    Args:
        model: changed in place, its ``attn_implementation`` included. Attention across stacks stays as it is.
        max_distance: in tokens; farther ones share a number.

    Returns:
        Names of the layers.

    Raises:
        TypeError: ``max_distance`` is no integer.
        ValueError: the model has them already, or it does not compute its attention through transformers' interface,
            as RoFormer, DeBERTa, XLNet and Bloom, which multiply in code of their own; it is left as it was.

    Note:
        Multiplies after the softmax, which fused attention (sdpa, flash) cannot: attention maps are kept, as for
        ``"eager"``, and computed into the result twice. Setting another implementation later is an error in the next
        pass, as distances would be left out. Rows no longer sum to 1, which is the point; weights that are trained
        far from 1 change the scale of the states. Save as usual; ``load_urpe`` reads the weights back.

    Example:
        >>> from transformers import LlamaConfig, LlamaModel
        >>> model = LlamaModel(LlamaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                                intermediate_size=8))
        >>> add_urpe(model, max_distance=16)
        ['layers.0.self_attn']
        >>> model.layers[0].self_attn.urpe.weight.shape
        torch.Size([2, 33])
    """
    checked_number("max_distance", max_distance, least=1, whole=True)
    if any(isinstance(module, DistanceWeights) for module in model.modules()):
        raise ValueError(f"this {type(model).__name__} has weights of distances already")
    found = _self_attentions(model)
    if not found:
        raise ValueError(
            f"{type(model).__name__} multiplies attention weights and values in code of its own, which URPE does not "
            "reach: give a model whose attention goes through transformers' AttentionInterface, as BERT, T5 or Llama"
        )
    for name, heads in found.items():
        module = model.get_submodule(name)
        like = next(module.parameters())
        module.add_module(URPE, DistanceWeights(heads, max_distance).to(like.device, like.dtype))
        module.register_forward_pre_hook(_in_use)
    model.set_attn_implementation(URPE)
    return list(found)


def load_urpe(model: PreTrainedModel, folder: str | Path) -> list[str]:
    """Give a model the weights of distances that were saved with it.

    Args:
        model: just loaded from the same folder, by ``from_pretrained``, which leaves out what is not its own.
        folder: with the model's safetensors files.

    Returns:
        Names of the layers.

    Raises:
        FileNotFoundError: there are no safetensors files.
        ValueError: no weights of distances are in them, or others than the model has layers for.
    """
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{folder} has no safetensors files")
    saved: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, "pt") as tensors:
            names = [name for name in tensors.keys() if name.endswith(f".{URPE}.weight")]  # noqa: SIM118
            saved |= {name: tensors.get_tensor(name) for name in names}
    if not saved:
        raise ValueError(f"{folder} has no weights of distances (*.{URPE}.weight): was its model given add_urpe?")
    own = {f"{name}.{URPE}.weight" for name in _self_attentions(model)}
    prefix = f"{model.base_model_prefix}."
    # A model and the same one with a head call the same layers differently.
    fitting = {key: next((one for one in (key, key.removeprefix(prefix), prefix + key) if one in own), "")
               for key in saved}  # fmt: skip
    if set(fitting.values()) != own:
        raise ValueError(f"{folder} has weights of distances for {len(saved)} layers, others than the {len(own)} here")
    names = add_urpe(model, next(iter(saved.values())).shape[1] // 2)
    model.load_state_dict({fitting[key]: tensor for key, tensor in saved.items()}, strict=False)
    return names


def _in_use(module: Any, inputs: Any) -> None:
    used = module.config._attn_implementation
    if used != URPE:
        raise ValueError(f"attn_implementation={used!r} leaves out the weights of distances: set {URPE!r} again")


def _self_attentions(model: PreTrainedModel) -> dict[str, int]:
    """Layers that call an attention function for tokens of one text, with their heads: found by a pass."""
    before = model.config._attn_implementation
    base = model.base_model
    ids = torch.full((1, 3), vocabulary_size(model) - 1, device=model.device)
    other = {"decoder_input_ids": ids[:, :2]} if model.config.is_encoder_decoder else {}  # across stacks 2 meet 3
    heads: dict[nn.Module, int] = {}
    finding = _heads.set(heads)
    try:
        # Quiet: some models warn that they take no other attention.
        with quiet_loading(), evaluating(model), torch.inference_mode():
            model.set_attn_implementation(_SEARCH)
            base(input_ids=ids, attention_mask=torch.ones_like(ids), **other)
    finally:
        _heads.reset(finding)
        model.set_attn_implementation(before)
    return {name: heads[module] for name, module in model.named_modules() if module in heads}


def _found(module: nn.Module, query: Tensor, key: Tensor, *args: Any, **settings: Any) -> Any:
    """The layer's own attention; the layer is noted if it is one of self-attention that shows its weights."""
    states, weights = _own_attention(module)(module, query, key, *args, **settings)
    if query.shape[2] == key.shape[2] and isinstance(weights, Tensor) and weights.shape[1] == query.shape[1]:
        _heads.get()[module] = query.shape[1]
    return states, weights


def _own_attention(module: nn.Module) -> Callable[..., Any]:
    found = eager_attention_of(module)
    if found is None:
        raise ValueError(f"{type(module).__name__} has no attention of its own (eager) that URPE could multiply")
    return found


#: A layer's heads, while they are looked for.
_heads: ContextVar[dict[nn.Module, int]] = ContextVar("_heads")
_SEARCH = f"{URPE}_search"
AttentionInterface.register(_SEARCH, _found)
AttentionMaskInterface.register(_SEARCH, eager_mask)
