"""What a ladder must know of a kind of block: which settings are its widths, and which of its weights belong together.

The side network is built from the backbone's own block class with narrower widths, so nothing of any model is written
down twice. A new kind of block is one more `BlockFamily`, given to `get_ladder_model`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.training.attention import SDPA_IN_FP32


@dataclass(frozen=True)
class BlockFamily:
    """One kind of transformer block.

    Args:
        blocks: names of the block classes; subclasses are found too. A block is built as ``Block(config)``, with
            ``layer_idx`` and ``has_relative_attention_bias`` where its constructor has them.
        width: setting that holds the size of the residual stream.
        narrowed: all settings that are divided by the reduction; those that are ``None`` stay so.
        heads: setting that holds the number of attention heads, which stays.
        head_size: setting that holds the size of a head; ``None``: the width divided by the heads.
        attention_dropout: setting that holds the dropout of attention maps, if it is one by itself.
        final_norm: the stack's attribute that holds the norm after the last block, if there is one.
        carried: arguments that a block returns for the next one, in the order of its outputs after the first.
        by_head_size: arguments whose last axis is the size of a head; side blocks get every ``reduction``-th column.
        spaces: how the rows and columns of the block's matrices are tied together for structured pruning: a pattern
            of a module's name to the names of its output and input space. ``hidden`` is one for the whole stack,
            ``source`` is the ``hidden`` of the encoder, ``heads`` is one for each attention, ``inner`` for each block.
            A ``heads`` that ends in ``*3`` is three such spaces in a row. What no pattern finds lives in ``hidden``.
    """

    blocks: tuple[str, ...]
    width: str
    narrowed: tuple[str, ...]
    heads: str
    head_size: str | None = None
    attention_dropout: str | None = None
    final_norm: str | None = None
    carried: tuple[str, ...] = ()
    by_head_size: tuple[str, ...] = ()
    spaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def holds(self, block: nn.Module) -> bool:
        """Whether a block is of this kind."""
        return any(kind.__name__ in self.blocks for kind in type(block).__mro__)

    def size_of_head(self, config: Any) -> int:
        """The size of an attention head."""
        size = getattr(config, self.head_size, None) if self.head_size is not None else None
        return int(size or getattr(config, self.width) // getattr(config, self.heads))


_ATTENTION_BY_Q = {
    r"encoder_attn\.(k|v)_proj$": ("heads", "source"),
    r"(q|k|v)_proj$": ("heads", "hidden"),
    r"(out|o)_proj$": ("hidden", "heads"),
}

BERT = BlockFamily(
    blocks=("BertLayer", "RobertaLayer", "XLMRobertaLayer", "CamembertLayer", "ElectraLayer", "ErnieLayer"),
    width="hidden_size",
    narrowed=("hidden_size", "intermediate_size"),
    heads="num_attention_heads",
    attention_dropout="attention_probs_dropout_prob",
    spaces={
        r"(query|key|value)$": ("heads", "hidden"),
        r"attention\.output\.dense$": ("hidden", "heads"),
        r"intermediate\.dense$": ("inner", "hidden"),
        r"output\.dense$": ("hidden", "inner"),
    },
)
T5 = BlockFamily(
    blocks=("T5Block", "MT5Block"),
    width="d_model",
    narrowed=("d_model", "d_ff", "d_kv"),
    heads="num_heads",
    head_size="d_kv",
    final_norm="final_layer_norm",
    carried=("position_bias", "encoder_decoder_position_bias"),
    spaces={
        r"EncDecAttention\.(k|v)$": ("heads", "source"),
        r"\.(q|k|v)$": ("heads", "hidden"),
        r"\.o$": ("hidden", "heads"),
        r"\.wi(_\d)?$": ("inner", "hidden"),
        r"\.wo$": ("hidden", "inner"),
        r"relative_attention_bias$": ("", ""),
    },
)
BART_ENCODER = BlockFamily(
    blocks=("BartEncoderLayer", "MBartEncoderLayer", "PegasusEncoderLayer"),
    width="d_model",
    narrowed=("d_model", "encoder_ffn_dim"),
    heads="encoder_attention_heads",
    attention_dropout="attention_dropout",
    final_norm="layer_norm",
    spaces={**_ATTENTION_BY_Q, r"fc1$": ("inner", "hidden"), r"fc2$": ("hidden", "inner")},
)
BART_DECODER = BlockFamily(
    blocks=("BartDecoderLayer", "MBartDecoderLayer", "PegasusDecoderLayer"),
    width="d_model",
    narrowed=("d_model", "decoder_ffn_dim"),
    heads="decoder_attention_heads",
    attention_dropout="attention_dropout",
    final_norm="layer_norm",
    spaces=BART_ENCODER.spaces,
)
GPT2 = BlockFamily(
    blocks=("GPT2Block",),
    width="n_embd",
    narrowed=("n_embd", "hidden_size", "n_inner"),
    heads="n_head",
    attention_dropout="attn_pdrop",
    final_norm="ln_f",
    spaces={
        r"c_attn$": ("heads*3", "hidden"),
        r"attn\.c_proj$": ("hidden", "heads"),
        r"c_fc$": ("inner", "hidden"),
        r"mlp\.c_proj$": ("hidden", "inner"),
    },
)
LLAMA = BlockFamily(
    blocks=("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"),
    width="hidden_size",
    narrowed=("hidden_size", "intermediate_size", "head_dim"),
    heads="num_attention_heads",
    head_size="head_dim",
    attention_dropout="attention_dropout",
    final_norm="norm",
    by_head_size=("position_embeddings",),
    spaces={
        **_ATTENTION_BY_Q,
        r"(q|k)_norm$": ("head",),
        r"(gate|up)_proj$": ("inner", "hidden"),
        r"down_proj$": ("hidden", "inner"),
    },
)
FAMILIES = (BERT, T5, BART_ENCODER, BART_DECODER, GPT2, LLAMA)


class NarrowedConfig:
    """A view of a model's configuration in which only the widths differ.

    A view and not a copy: blocks read the kind of attention from their configuration when they run, and after
    ``model.set_attn_implementation`` the side blocks must follow, since they share the backbone's masks. Only where
    the backbone's attention is ``"sdpa"`` theirs is :func:`nlpkit.training.attention.sdpa_in_fp32`, which takes the
    same masks: narrow heads gain nothing from bf16, and its backward pass is several times slower on CPUs.

    Example:
        >>> from types import SimpleNamespace
        >>> config = SimpleNamespace(hidden_size=64, hidden_act="gelu")
        >>> narrowed = NarrowedConfig(config, {"hidden_size": 8})
        >>> config.hidden_act = "relu"
        >>> narrowed.hidden_size, narrowed.hidden_act
        (8, 'relu')
    """

    def __init__(self, config: Any, changed: Mapping[str, Any]) -> None:
        self.__dict__.update(changed)
        self._config = config

    @property
    def _attn_implementation(self) -> str | None:
        name: str | None = self._config._attn_implementation
        return SDPA_IN_FP32 if name == "sdpa" else name

    def __getattr__(self, name: str) -> Any:
        # Before _config is there (copying, unpickling) Python asks for special methods only.
        if name == "_config" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        return getattr(self._config, name)


@dataclass(frozen=True)
class Stack:
    """A stack of blocks found in a model.

    Args:
        name: path of the module that runs the blocks, e.g. ``"bert.encoder"``; empty if that is the model itself.
        blocks_name: its attribute that holds them.
        role: ``"encoder"`` or ``"decoder"``; the latter only in encoder-decoder models.
        family: their kind.
    """

    name: str
    blocks_name: str
    role: str
    family: BlockFamily

    def module(self, model: nn.Module) -> nn.Module:
        """The module that runs the blocks."""
        return model.get_submodule(self.name)

    def config(self, model: Any) -> Any:
        """The configuration that the blocks were built from: the module's own, or else the model's."""
        return getattr(self.module(model), "config", model.config)

    def blocks(self, model: nn.Module) -> nn.ModuleList:
        """The blocks."""
        blocks: nn.ModuleList = getattr(self.module(model), self.blocks_name)
        return blocks


def find_stacks(model: PreTrainedModel, families: Sequence[BlockFamily] = FAMILIES) -> list[Stack]:
    """Find the stacks of blocks in a model, the encoder before the decoder.

    Args:
        model: any model of transformers or made of one.
        families: the kinds of block to look for.

    Returns:
        One stack, or two for an encoder-decoder model.

    Raises:
        ValueError: none is of a known kind, or there are more than the model's kind explains.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> [(stack.name, stack.blocks_name, len(stack.blocks(model))) for stack in find_stacks(model)]
        [('encoder', 'layer', 2)]
    """
    found = list(_known_stacks(model, families))
    expected = 2 if model.config.is_encoder_decoder else 1
    if not found:
        supported = ", ".join(name for family in families for name in family.blocks)
        raise ValueError(
            f"{type(model).__name__} is made of {_likely_block(model)}, which no family describes; a ladder is built "
            f"beside {supported}. Describe its widths in a nlpkit.ladder_side_tuning.families.BlockFamily and pass "
            "families=(*FAMILIES, yours)"
        )
    if len(found) != expected:
        raise ValueError(
            f"{type(model).__name__} has {len(found)} stacks of blocks ({', '.join(name for name, _, _ in found)}); "
            f"expected {expected}. Build the ladder on one of its parts"
        )
    roles = ("encoder", "decoder")[:expected]
    return [Stack(name, blocks, role, family) for role, (name, blocks, family) in zip(roles, found, strict=True)]


def _known_stacks(model: nn.Module, families: Sequence[BlockFamily]) -> Iterator[tuple[str, str, BlockFamily]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module):
            family = next((family for family in families if family.holds(module[0])), None)
            if family is not None:
                parent, _, attribute = name.rpartition(".")
                yield parent, attribute, family


def _likely_block(model: nn.Module) -> str:
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    # A list within a block cannot hold more parameters than the list of blocks.
    largest = max(lists, key=lambda blocks: sum(p.numel() for p in blocks.parameters()), default=None)
    return "no list of blocks" if largest is None else type(largest[0]).__name__


def build_narrow_block(
    block: nn.Module, stack_config: Any, family: BlockFamily, config: LadderConfig, index: int, first: bool
) -> nn.Module:
    """Build a block of the same class as the backbone's at a fraction of its widths, with fresh weights.

    Args:
        block: the backbone's.
        stack_config: configuration that it was built from.
        family: its kind.
        config: of the ladder.
        index: its place in the stack.
        first: whether it is the first side block, which holds the relative position bias where the backbone has one.

    Returns:
        The block, in training mode.

    Raises:
        ValueError: the reduction does not divide a width or the size of a head.
    """
    reduction = config.reduction
    widths = {name: getattr(stack_config, name) for name in family.narrowed if hasattr(stack_config, name)}
    sizes = {**widths, "the size of a head": family.size_of_head(stack_config)}
    if family.by_head_size:
        # Rotary positions turn pairs of columns, one from each half.
        sizes["half the size of a head"] = family.size_of_head(stack_config) // 2
    for name, size in sizes.items():
        if size is not None and size % reduction:
            divisors = [number for number in range(2, size + 1) if all(not (s or 0) % number for s in sizes.values())]
            raise ValueError(
                f"reduction={reduction} does not divide {name}, {size}, of {type(block).__name__}; "
                f"use one of 1, {', '.join(map(str, divisors))}"
            )
    changed: dict[str, Any] = {name: None if size is None else size // reduction for name, size in widths.items()}
    if family.attention_dropout is not None:
        changed[family.attention_dropout] = config.attention_dropout
    parameters = inspect.signature(type(block)).parameters
    settings: dict[str, Any] = {"layer_idx": index, "has_relative_attention_bias": first}
    return type(block)(
        NarrowedConfig(stack_config, changed),
        **{name: value for name, value in settings.items() if name in parameters},
    )
